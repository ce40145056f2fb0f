"""Practice before work: each task answered once a round, told whether it was right, and enough of them right to begin.

Its answers are no labels, and are nobody's but the annotator's own and those who run the project.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select

from critic.feedback import KINDS
from critic.records import Response
from service.labels.tasks import roles, tasking
from service.refusals import Conflict
from service.store.database import Row
from service.store.tables import now, practice, tasks


@dataclass(frozen=True, slots=True)
class PracticeStanding:
    """Where an annotator stands: the tasks, whether each that was answered in this round was right, and what is needed.

    ``passed`` says that a round was good enough, this one or one before.
    """

    tasks: Sequence[str]
    answered: dict[str, bool]
    needed: int
    round: int
    passed: bool

    @property
    def next(self) -> str | None:
        """The task that comes next in this round; None where it is over."""
        return next((task for task in self.tasks if task not in self.answered), None)

    @property
    def right(self) -> int:
        """How many were right in this round."""
        return sum(self.answered.values())


def standing(connection: Connection, project: Row, annotator: str) -> PracticeStanding:
    """Where an annotator stands. Without practice tasks they have passed."""
    ids = list(connection.execute(_OF_PROJECT, {"project": project["id"]}).scalars())
    if not ids:
        return PracticeStanding((), {}, 0, 1, True)
    needed = math.ceil(roles.settings_of(project["settings"]).pass_share * len(ids))
    mine = select(practice.c.task, practice.c.round, practice.c.is_right).where(practice.c.annotator == annotator)
    rounds: dict[int, dict[str, bool]] = {}
    for row in connection.execute(mine.where(practice.c.task.in_(ids))):
        rounds.setdefault(row.round, {})[row.task] = row.is_right
    last = max(rounds, default=1)
    passed = any(len(said) == len(ids) and sum(said.values()) >= needed for said in rounds.values())
    return PracticeStanding(ids, rounds.get(last, {}), needed, last, passed)


_OF_PROJECT = (
    select(tasks.c.id)
    .where(tasks.c.project == bindparam("project"), tasks.c.role == roles.PRACTICE)
    .order_by(tasks.c.position)
)


def must_be_done(connection: Connection, project: Row, annotator: str) -> None:
    """Raise `Conflict` for somebody who has not passed a project's practice."""
    if not standing(connection, project, annotator).passed:
        raise Conflict("practice comes first in this project", f"Practise on its page: /label/{project['id']}.")


def answered(connection: Connection, project: Row, task: Row, annotator: str, label: dict[str, Any]) -> bool:
    """Store an answer, a label in the item's own order, and say whether it was right. The project must be locked.

    Who answers again after a round was over begins the next. Raises `Conflict` for one that was answered in this round.
    """
    where = standing(connection, project, annotator)
    round = where.round if where.next is not None else where.round + 1
    if where.next is not None and task["id"] in where.answered:
        raise Conflict("you have answered this practice task", "Go on to the next one.")
    kind = KINDS[project["kind"]]
    responses = [Response.model_validate(response) for response in task["responses"]]
    is_right = roles.is_right(kind.model_validate(label), kind.model_validate(task["expected"]), responses)
    row = {
        "task": task["id"],
        "annotator": annotator,
        "round": round,
        "label": label,
        "is_right": is_right,
        "at": now(),
    }
    connection.execute(practice.insert(), row)
    return is_right


def stored(
    connection: Connection, project: str, task: Row, annotator: str, said: dict[str, Any]
) -> tuple[bool, PracticeStanding]:
    """Store what was said: whether it was right, and where the annotator stands now. Raises `NotFound`, `Conflict`."""
    locked = tasking.lock(connection, project)
    is_right = answered(connection, locked, task, annotator, said)
    return is_right, standing(connection, locked, annotator)
