"""Figures from few human and many AI labels, and how many more human labels would reach a wanted width.

Two ways stand beside each other: prediction-powered inference, and for win rates Rogan and Gladen's, who take the
judge's yes and no and its known errors. Where items were routed to people, their recorded probabilities make the
figure (`critic.statistics.prediction.routing.rounds_mean`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from critic.evaluation.powered.columns import FigureColumns, What
from critic.statistics.intervals import FEW, Figure, few
from critic.statistics.prediction import ppi
from critic.statistics.prediction.planner import LabelPlan, plan
from critic.statistics.prediction.rogan_gladen import prevalence
from critic.statistics.prediction.routing import Round, rounds_mean
from critic.statistics.reliability.ratings import Floats


@dataclass(frozen=True, slots=True)
class Draw:
    """What `critic.evaluation.powered.route` drew: each item's probability, and ``shown``, the items for people."""

    chances: Mapping[str, float]
    shown: frozenset[str]


@dataclass(frozen=True, slots=True)
class Estimate:
    """One figure. ``powered`` is from both kinds of labels, ``human`` from people's alone, ``judge`` the judge's own.

    ``screened`` is Rogan and Gladen's. A figure is None where there is a sentence in ``why_not`` instead, by its name.
    ``saved`` is by how much narrower the first interval is than people's alone. ``labelled`` and ``judged`` count
    items, ``prompts`` those with people's labels.
    """

    what: What
    of: str
    group: str | None
    labelled: int
    judged: int
    prompts: int
    powered: Figure | None
    human: Figure | None
    judge: float | None
    screened: Figure | None
    saved: float | None
    weight: float | None
    is_routed: bool
    why_not: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PlannedLabels:
    """How many human labels reach a width, for one figure; a sentence in ``why_not`` where nothing can be planned."""

    what: What
    of: str
    group: str | None
    labelled: int
    plan: LabelPlan | None
    why_not: str


def estimate(columns: FigureColumns, draws: Sequence[Draw] = ()) -> Estimate:
    """Return a figure. Without ``draws`` the items with people's labels are taken for an even draw of all items."""
    why_not: dict[str, str] = {}
    judged = np.concatenate((columns.judge, columns.rest))
    prompts = len(set(columns.prompts))
    made = Estimate(
        what=columns.what,
        of=columns.of,
        group=columns.group,
        labelled=columns.human.size,
        judged=judged.size,
        prompts=prompts,
        powered=None,
        human=None,
        judge=float(judged.mean()) if judged.size else None,
        screened=None,
        saved=None,
        weight=None,
        is_routed=bool(draws),
        why_not=why_not,
    )
    if prompts < FEW:
        why_not["powered"] = few(prompts, "prompt") + " Have people label more." if prompts else _NOBODY
        return made
    if draws:
        return replace(made, powered=_routed(columns, draws, why_not))
    both = ppi.mean(columns.human, columns.judge, columns.rest, columns.prompts, columns.rest_prompts)
    screened = _screened(columns, why_not)
    return replace(made, powered=both.figure, human=both.human, screened=screened, saved=both.saved, weight=both.weight)


_NOBODY = "No item that a judge has an opinion on was labelled by people."


def _routed(columns: FigureColumns, draws: Sequence[Draw], why_not: dict[str, str]) -> Figure | None:
    """The mean over all items that were there when they were drawn; a sentence where people have not labelled all."""
    every = dict(zip((*columns.items, *columns.rest_items), (*columns.judge, *columns.rest), strict=True))
    place = {item: number for number, item in enumerate(columns.items)}
    rounds, kept = [], set()
    for draw in draws:
        if unknown := [item for item in every if item not in draw.chances]:
            why_not["powered"] = (
                f"{len(unknown):,} items were not there when items were drawn, the first: {unknown[0]}."
            )
            return None
        if missing := [item for item in every if item in draw.shown and item not in place]:
            why_not["powered"] = (
                f"People have not labelled {len(missing):,} of the items drawn: a figure needs all of them."
            )
            return None
        # Labels of items that were not drawn would count for items like them, which they were not drawn to stand for.
        own = [number for item, number in place.items() if item in draw.shown]
        chances = [draw.chances[columns.items[number]] for number in own]
        rounds.append(Round(columns.human[own], columns.judge[own], chances, list(every.values())))
        kept.update(own)
    mean = rounds_mean(rounds)
    low, high = max(0.0, mean.low), min(1.0, mean.high)
    return Figure(min(1.0, max(0.0, mean.estimate)), low, high, len(kept), len({columns.prompts[i] for i in kept}))


def _screened(columns: FigureColumns, why_not: dict[str, str]) -> Figure | None:
    """Rogan and Gladen's, of items on which both prefer a side."""
    if columns.what != "win rate":
        why_not["screened"] = "An accuracy is no share of the judge's own answers."
        return None
    clear = (columns.human != 0.5) & (columns.judge != 0.5)
    rest = columns.rest[columns.rest != 0.5]
    try:
        return prevalence(_sides(columns.human[clear]), _sides(columns.judge[clear]), _sides(rest))
    except ValueError as error:
        why_not["screened"] = f"{str(error)[0].upper()}{str(error)[1:]}."
        return None


def _sides(values: Floats) -> Floats:
    return (values > 0.5).astype(np.float64)


def planned(columns: FigureColumns, width: float) -> PlannedLabels:
    """Return how many labels a figure needs for a 95 % interval of ``width``, a number above 0 (ValueError)."""
    made = None
    why_not = ""
    if len(set(columns.prompts)) < FEW:
        why_not = (few(len(set(columns.prompts)), "prompt") or _NOBODY) + " A plan needs them as its pilot."
    elif not columns.rest.size:
        why_not = "No judge has labelled more items than people have: there is nothing that its labels could add."
    else:
        made = plan(columns.human, columns.judge, columns.rest.size, width, columns.prompts)
    return PlannedLabels(columns.what, columns.of, columns.group, columns.human.size, made, why_not)


@dataclass(frozen=True, slots=True)
class AccuracyDifference:
    """By how much the first judge's accuracy is above the second's, on the very same items."""

    first: str
    second: str
    group: str | None
    figure: Figure


def differences(columns: Sequence[FigureColumns]) -> list[AccuracyDifference]:
    """Return each two judges' difference in accuracy, where enough prompts have people's labels and both judged."""
    made = []
    accuracies = [one for one in columns if one.what == "accuracy"]
    for first, second in combinations(accuracies, 2):
        if first.group == second.group and (figure := _difference(first, second)) is not None:
            made.append(AccuracyDifference(first.of, second.of, first.group, figure))
    return made


def _difference(first: FigureColumns, second: FigureColumns) -> Figure | None:
    mine, other = _common(first.items, second.items)
    rest, other_rest = _common(first.rest_items, second.rest_items)
    prompts = [first.prompts[place] for place in mine]
    if len(set(prompts)) < FEW:
        return None
    human = first.human[mine], second.human[other]
    judge = first.judge[mine], second.judge[other]
    others = first.rest[rest], second.rest[other_rest]
    return ppi.difference(human, judge, others, prompts, [first.rest_prompts[place] for place in rest]).figure


def _common(mine: Sequence[str], other: Sequence[str]) -> tuple[list[int], list[int]]:
    """The places of the items that both have, in the first's order."""
    there = {item: place for place, item in enumerate(other)}
    both = [(place, there[item]) for place, item in enumerate(mine) if item in there]
    ours = [place for place, _ in both]
    return ours, [place for _, place in both]
