"""How often each annotator is right on gold: items among their work whose answer is known, which nobody can tell."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection, select

from critic.feedback import KINDS, Label
from critic.records import Response
from critic.statistics.people.course import gold
from service.answers.agreement import ShareFigure
from service.labels.label_query import StoredFeedback
from service.labels.tasks.roles import GOLD, is_right
from service.review.agreement.shares import share_as_told
from service.store.tables import items, tasks


class GoldFigures(BaseModel):
    """One annotator's answers to gold items: how many, and the share that is right."""

    annotator: str
    right: ShareFigure | None


class Golden:
    """Marks answers to gold items, item by item."""

    def __init__(self, expected: Mapping[str, tuple[tuple[Response, ...], Label]]) -> None:
        """``expected`` has the responses and the right label of each gold item."""
        self._expected = expected
        self._right: dict[str, list[bool]] = {}

    def add(self, labels: Sequence[StoredFeedback]) -> None:
        """Add one item's labels."""
        known = self._expected.get(labels[0].item)
        if known is None:
            return
        responses, right = known
        order = [response.text for response in responses]
        for label in labels:
            if label.source == "human" and label.annotator is not None and label.task is not None:
                said = label.in_order_of(order).label
                self._right.setdefault(label.annotator, []).append(is_right(said, right, responses))

    def figures(self) -> list[GoldFigures]:
        """Return each annotator's, by id."""
        return [
            GoldFigures(annotator=name, right=share_as_told(gold(right))) for name, right in sorted(self._right.items())
        ]


def expected_of(connection: Connection, project: str, kind: str, form: Any) -> dict[str, Any]:
    """The responses and the right label of each gold item of a project."""
    query = select(tasks.c.item, tasks.c.expected, items.c.responses).join(items, items.c.id == tasks.c.content)
    known = {}
    for row in connection.execute(query.where(tasks.c.project == project, tasks.c.role == GOLD)):
        responses = tuple(Response.model_validate(response) for response in row.responses)
        label = KINDS[kind].model_validate(KINDS[kind].complete(row.expected, form))
        known[row.item] = responses, label
    return known
