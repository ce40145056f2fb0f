"""What is estimated from few human and many AI labels: for each figure its columns of numbers, by item.

A win rate is how often people prefer a model's answer to what it stands against, ties as a half. A judge's accuracy is
how often it prefers the side that most people do, a half where either prefers none; what a judge says of its own
accuracy, the probability of the side that it prefers, is known of every item, and so can serve as the many labels
(Boyeau, Angelopoulos, Yosef, Malik and Jordan, AutoEval Done Right, 2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from critic.evaluation.powered.items import ComparedItem, Gathered, by_group
from critic.evaluation.trust.figures import right
from critic.statistics.reliability.ratings import Floats

What = Literal["win rate", "accuracy"]


@dataclass(frozen=True, slots=True, eq=False)
class FigureColumns:
    """One figure's numbers: of items with people's labels, ``human`` and ``judge`` (n,); of all others ``rest`` (N,).

    ``prompts`` and ``rest_prompts`` are their clusters, ``items`` and ``rest_items`` their ids. ``of`` is the model or
    the judge that it is a figure of, ``group`` whose labels it is by.
    """

    what: What
    of: str
    group: str | None
    human: Floats
    judge: Floats
    rest: Floats
    prompts: Sequence[str]
    rest_prompts: Sequence[str]
    items: Sequence[str]
    rest_items: Sequence[str]


def columns_of(gathered: Gathered, models: Sequence[str], *, pool: bool = False) -> list[FigureColumns]:
    """Return the columns of each model's win rate and each judge's accuracy, by group of people.

    Items that no judge has an opinion on are left out: nothing carries people's labels over to the rest.
    """
    made = []
    for group in by_group(gathered, pool):
        for model in models:
            made.append(_columns("win rate", model, group, gathered.items))
        for judge in gathered.judges:
            made.append(_columns("accuracy", judge, group, gathered.items))
    return made


def values(what: What, of: str, group: str | None, one: ComparedItem) -> tuple[float | None, float] | None:
    """Return what people and the judge say of an item; the first is None where people were not asked.

    None where the item says nothing of ``of``.
    """
    share = one.share(group)
    if what == "accuracy":
        said = one.probability(group, of)
        if said is None:
            return None
        return None if share is None else _right(said, share), max(said, 1 - said)
    sign, probability = one.sign_of(of), one.probability(group)
    if sign == 0 or probability is None:
        return None
    if sign < 0:
        return (None if share is None else 1 - share), 1 - probability
    return share, probability


def _right(probability: float, share: float) -> float:
    return 0.5 if share == 0.5 else right(probability, share)


def _columns(what: What, of: str, group: str | None, items: Sequence[ComparedItem]) -> FigureColumns:
    labelled, others = [], []
    for one in items:
        said = values(what, of, group, one)
        if said is None:
            continue
        human, judge = said
        place = one.item.prompt.key, one.item.id, judge
        if human is None:
            others.append(place)
        else:
            labelled.append((*place, human))
    rest = np.array([judge for *_, judge in others], np.float64)
    prompts = [prompt for prompt, *_ in labelled]
    rest_prompts = [prompt for prompt, *_ in others]
    rest_items = [item for _, item, _ in others]
    by_people = np.array([human for *_, human in labelled], np.float64)
    by_judge = np.array([judge for _, _, judge, _ in labelled], np.float64)
    return FigureColumns(
        what=what,
        of=of,
        group=group,
        human=by_people,
        judge=by_judge,
        rest=rest,
        prompts=prompts,
        rest_prompts=rest_prompts,
        items=[item for _, item, *_ in labelled],
        rest_items=rest_items,
    )
