"""``cai evaluate groups``: how far groups differ, and who loses under each way to bring them together."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

import typer

from base.errors import InputError
from critic.feedback import ComparisonLabel, Feedback
from critic.settings.labels.people import GroupsSettings
from critic.statistics.alarms import OF_REPORT
from critic.statistics.groups.aggregations import AGGREGATIONS, Profile
from critic.statistics.groups.clusters import clusters
from critic.statistics.groups.losers import Loss, WayOutcome, outcomes
from critic.statistics.groups.support import Apart, apart
from critic.statistics.intervals import FEW, Figure
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.measure.labels import read_labels
from service.cli.shown.display import clean
from service.cli.shown.voice import Quiet, say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NOBODY = "without group or annotator"
GIVE_BOTH = "Give feedback with both."


@expand
def groups(
    settings: GroupsSettings,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Show how far groups of annotators differ, and who loses under each way of deciding for all. No model is asked.

    Where no label has a group, groups are sought in the votes alone, as Polis does.
    """
    names = settings.by or tuple(AGGREGATIONS)
    if unknown := [name for name in names if name not in AGGREGATIONS]:
        raise InputError(f"there is no way {unknown[0]!r}", where="--by", fix=f"There are {', '.join(AGGREGATIONS)}.")
    read, left_out = _comparisons(settings.labels, settings.limit, settings.column)
    profile, apart = _profile(read, settings.labels, left_out)
    by_way = outcomes(profile, names)
    if as_json:
        typer.echo(json.dumps(_json(profile, apart, by_way, left_out), indent=2, allow_nan=False))
    else:
        _print(profile, apart, by_way, left_out)


def _comparisons(source: str, limit: int | None, column: str | None) -> tuple[list[Feedback], dict[str, int]]:
    """The comparisons that say who gave them, and how many labels of other kinds or nobody's were left out."""
    timed, refused = read_labels(source, column)
    kept = []
    left_out = {"unreadable rows": len(refused), "other kinds": 0, NOBODY: 0, "not read": 0}
    for one in islice(timed, limit):
        label = one.label
        if not isinstance(label.label, ComparisonLabel):
            left_out["other kinds"] += 1
        elif label.annotator is None:
            left_out[NOBODY] += 1
        elif label.label.first_is_better is None:
            left_out["not read"] += 1
        else:
            kept.append(label)
    return kept, left_out


def _profile(labels: Sequence[Feedback], source: str, left_out: dict[str, int]) -> tuple[Profile, Apart]:
    """What everybody of a group said, and how far the groups differ; groups that nobody named are found."""
    named = [label for label in labels if label.group is not None]
    if named:
        left_out[NOBODY] += len(labels) - len(named)
        profile = _scored(named, {})
        return profile, _apart(profile)
    if not labels:
        raise InputError("no comparison has a group and an annotator", where=source, fix=GIVE_BOTH)
    together = _scored(labels, {})
    opinions = clusters(_votes(together))
    if opinions.refusal:
        raise InputError(
            "no comparison has a group and an annotator",
            where=source,
            fix=f"{GIVE_BOTH} They were sought in the votes alone, too. {opinions.refusal}",
        )
    people = sorted({label.annotator for label in labels if label.annotator is not None})
    of = {
        name: f"group {number + 1}" for name, number in zip(people, opinions.group.tolist(), strict=True) if number >= 0
    }
    kept = [label for label in labels if label.annotator in of]
    left_out["by people who labelled too little"] = len(labels) - len(kept)
    told = f"{opinions.count} groups were found in the votes alone (silhouette {opinions.silhouette:.2f})"
    return _scored(kept, of), Apart(None, None, f"{told}: that they vote differently is what makes them groups.")


def _scored(labels: Iterable[Feedback], sought: Mapping[str, str]) -> Profile:
    """Scores of both answers, in the order of each item's first label; of a person's labels of an item the last.

    ``sought`` has the groups of people whose labels name none.
    """
    orders: dict[str, list[str]] = {}
    rows: dict[tuple[str, str], tuple[float, str]] = {}
    for label in labels:
        order = orders.setdefault(label.item, [response.text for response in label.responses])
        turned = label.in_order_of(order).label
        assert isinstance(turned, ComparisonLabel) and label.annotator is not None
        first = turned.first_is_better
        assert first is not None
        rows[label.item, label.annotator] = first, label.group or sought.get(label.annotator, "")
    places = {item: f"{place:09}" for place, item in enumerate(orders)}  # so that items keep the file's order
    worths = [(first, 1 - first) for first, _ in rows.values()]
    items = [places[item] for item, _ in rows]
    groups = [group for _, group in rows.values()]
    return Profile.of(worths, items, groups, [annotator for _, annotator in rows])


def _votes(profile: Profile) -> "NDArray[np.float64]":
    """Return (P, I), people by name: 1 where one is for the first answer, -1 for the second, 0, NaN if not asked."""
    import numpy as np

    votes = np.full((int(profile.person.max()) + 1, profile.items), np.nan)
    votes[profile.person, profile.item] = np.sign(profile.scores[:, 0] - profile.scores[:, 1])
    return votes


def _apart(profile: Profile) -> Apart:
    import numpy as np

    of = np.zeros(int(profile.person.max()) + 1, int)
    of[profile.person] = profile.group
    return apart(_votes(profile), np.array(profile.groups)[of])


def _json(profile: Profile, apart: Apart, by_way: Sequence[WayOutcome], left_out: dict[str, int]) -> dict[str, Any]:
    people = dict(zip(profile.groups, profile.people().tolist(), strict=True))
    ways = {}
    for one in by_way:
        ways[one.aggregation.name] = {
            "says": one.aggregation.says,
            "undecided": one.undecided,
            "loser": one.loser.group if one.loser is not None else None,
            "groups": {loss.group: _loss(loss) for loss in one.losses},
        }
    return {
        "items": profile.items,
        "people": people,
        "apart": asdict(apart),
        "ways": ways,
        "left_out": dict(_some(left_out)),
    }


def _loss(loss: Loss) -> dict[str, Any]:
    if loss.refusal:
        return {"refusal": loss.refusal}
    return {name: _plain(getattr(loss, name)) for name in ("overruled", "regret")}


def _plain(figure: Figure | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {key: value if math.isfinite(value) else None for key, value in asdict(figure).items()}


def _print(profile: Profile, apart: Apart, by_way: Sequence[WayOutcome], left_out: dict[str, int]) -> None:
    people = ", ".join(f"{name} {n:,}" for name, n in zip(profile.groups, profile.people().tolist(), strict=True))
    say(clean(f"{profile.items:,} items; people by group: {people}"))
    if apart.refusal:
        say(clean(apart.refusal))
    elif apart.p is not None:
        differ = "vote differently" if apart.p < OF_REPORT / 2 else "do not vote differently beyond chance"
        say(f"the groups {differ} (p = {apart.p:.3f})")
    for one in by_way:
        say(clean(f"{one.aggregation.name}: {one.aggregation.says}; undecided: {one.undecided:,}"))
        for loss in one.losses:
            say(clean(f"  {loss.group}: {_said(loss)}"))
        if one.loser is not None:
            say(clean(f"  {one.loser.group} loses"))
    for reason, count in _some(left_out):
        say(f"left out: {count:,} ({reason})")


def _said(loss: Loss) -> str:
    if loss.refusal:
        return loss.refusal
    parts = []
    if (figure := loss.overruled) is None:
        parts.append("prefers neither answer of any item")
    elif figure.is_of_few:
        parts.append(f"prefers one answer of {figure.n:,} items: nothing can be said of fewer than {FEW}")
    else:
        parts.append(f"overruled in {_percent(figure)}")
    if (regret := loss.regret) is not None:
        parts.append(f"regret {regret.estimate:.2f} ({regret.low:.2f} to {regret.high:.2f}) of {regret.n:,}")
    return ", ".join(parts)


def _percent(figure: Figure) -> str:
    return f"{100 * figure.estimate:.0f} % ({100 * figure.low:.0f} to {100 * figure.high:.0f}) of {figure.n:,} items"


def _some(counts: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    return ((reason, count) for reason, count in counts.items() if count)
