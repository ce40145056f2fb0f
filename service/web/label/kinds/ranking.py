"""Several answers, put in order."""

from collections.abc import Mapping
from typing import Any

from critic.feedback.kinds.ranking import dense
from service.web.label.fields import Fields, after, letters
from service.web.label.kinds.base import Asked, KindPage, missing, whole


class RankingPage(KindPage):
    """A number for each answer: equals share one, and an answer without one is not ranked."""

    kind = "ranking"

    def values(self, asked: Asked, fields: Fields) -> dict[str, Any]:
        """See `KindPage`. Answers stand in the order that was given to them before, if any."""
        ranks = _ranks(asked, fields)
        last = len(ranks) + 1
        order = sorted(range(len(ranks)), key=lambda place: ranks[place] or last)
        return {"ranks": ranks, "order": order, "one_key": False}

    def label(self, asked: Asked, fields: Fields) -> Any:
        """See `KindPage`. Numbers that were left out between others are closed up: 1, 3 is 1, 2."""
        ranks = _ranks(asked, fields)
        places = [place for place, rank in enumerate(ranks) if rank is not None]
        if len(places) < 2:
            raise missing("fewer than two answers are ranked", "Give at least two answers a number.")
        closed = dict(zip(places, dense([float(ranks[place] or 0) for place in places]), strict=True))
        return {"ranks": [closed.get(place) for place in range(len(ranks))]}

    def fields(self, label: Mapping[str, Any]) -> Fields:
        """See `KindPage`."""
        return [(f"rank:{place}", "" if rank is None else str(rank)) for place, rank in enumerate(label["ranks"])]

    def said(self, asked: Asked, label: Mapping[str, Any]) -> str:
        """See `KindPage`: from the best, equals joined."""
        names = letters(len(label["ranks"]))
        ranks = sorted({rank for rank in label["ranks"] if rank is not None})
        groups = []
        for one in ranks:
            groups.append([names[place] for place, rank in enumerate(label["ranks"]) if rank == one])
        return " > ".join(" = ".join(group) for group in groups)


def _ranks(asked: Asked, fields: Fields) -> list[int | None]:
    given = after(fields, "rank:")
    said = [given.get(str(place), "") for place in range(len(asked.responses))]
    return [whole(rank, "a rank") if rank else None for rank in said]
