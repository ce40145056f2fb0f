"""A judge's figures beside people's: all that its report shows and its certificate holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np

from base.digest import unit_interval
from critic.evaluation.trust.asking import JudgeAnswer
from critic.evaluation.trust.people import People
from critic.evaluation.trust.traits import FAMILY, LENGTH, TRAITS, difference, own_family
from critic.statistics.alarms import faults
from critic.statistics.intervals import Figure, Share
from critic.statistics.judges.calibration_error import calibration_error
from critic.statistics.judges.ceiling import Ceiling, ceiling
from critic.statistics.judges.leanings import Leaning, controlled_accuracy, first_position, leaning
from critic.statistics.judges.maps import Isotonic, Temperature, curve, isotonic, mended, temperature
from critic.statistics.policies.change import mean_change
from critic.statistics.reliability.coefficient import figure
from critic.statistics.reliability.kappa import cohen
from critic.statistics.reliability.ratings import Floats

FITTED = 0.5  # the share of the prompts with people's labels that a map is fitted on; it is tested on the others
FEWEST_FITTED = 50  # labelled items, below which no map is fitted: it would be of chance
MOST_NAMED = 10
POSITION = "first position"
LOW_MASS = 0.5  # of a vote: less is on all the choices than beside them


@dataclass(frozen=True, slots=True)
class MendedCalibration:
    """A map, and the calibration error before and after it, on prompts that it was not fitted on."""

    map: Temperature | Isotonic
    before: Figure
    after: Figure
    fitted_on: int


@dataclass(frozen=True, slots=True)
class Part:
    """A judge's accuracy in a part of the items: by a principle alone, or by the labels of one group of people."""

    accuracy: Figure | None
    unreadable: int


@dataclass(frozen=True, slots=True)
class Retested:
    """Items asked twice: how far the probability moved, and how often the better side changed."""

    items: int
    spread: Figure | None
    turned: int


@dataclass(frozen=True, slots=True)
class TrustFigures:
    """Everything; a figure is None where there was nothing to observe."""

    items: int
    prompts: int
    labels: int
    annotators: int
    ties: int
    unreadable: int
    accuracy: Figure | None
    kappa: Figure | None
    ceiling: Ceiling
    length_controlled: Figure | None
    same_position: Figure | None
    leanings: Mapping[str, Leaning]
    mass: Figure | None
    low_mass: Figure | None
    retest: Retested
    calibration_error: Figure | None
    curve: tuple[tuple[float, float, int], ...]
    mended: Mapping[str, MendedCalibration]
    principles: Mapping[str, Part]
    groups: Mapping[str, Part]
    most_different: tuple[JudgeAnswer, ...]
    faults: tuple[str, ...] = field(default=())

    def named(self) -> dict[str, Figure]:
        """The figures that a bound can be set on, by name."""
        given: dict[str, Figure | None] = {
            "accuracy": self.accuracy,
            "kappa": self.kappa,
            "human_agreement": self.ceiling.agreement,
            "human_kappa": self.ceiling.kappa,
            "length_controlled_accuracy": self.length_controlled,
            "same_position": self.same_position,
            "label_mass": self.mass,
            "low_mass": self.low_mass,
            "retest_spread": self.retest.spread,
            "calibration_error": self.calibration_error,
        }
        given |= {f"calibration_error_{name}": one.after for name, one in self.mended.items()}
        given |= {f"leaning_to_{name.replace(' ', '_')}": one.excess for name, one in self.leanings.items()}
        return {name: value for name, value in given.items() if value is not None}


def judge_figures(answers: Sequence[JudgeAnswer], people: People, judge: str) -> TrustFigures:
    """Return the figures of a judge's answers to ``people``'s items; ``judge`` is its model's name."""
    read = [answer for answer in answers if answer.probability is not None]
    decided = [answer for answer in read if answer.item.share != 0.5]
    prompts = [answer.item.prompt.key for answer in read]
    f, y = _columns(read)
    leanings = _leanings(read, f, y, judge)
    tests = {name: lean.p for name, lean in leanings.items()}
    return TrustFigures(
        items=len(answers),
        prompts=len(set(people.prompts())),
        labels=people.labels,
        annotators=len(people.annotators),
        ties=sum(item.share == 0.5 for item in people.items),
        unreadable=len(answers) - len(read),
        accuracy=_accuracy(decided),
        kappa=_kappa(decided),
        ceiling=ceiling(people.ratings(ties=False), _clusters(people)),
        length_controlled=_length_controlled(decided),
        same_position=_same_position(read),
        leanings=leanings,
        mass=_mass(read),
        low_mass=_low_mass(read),
        retest=_retested(read),
        calibration_error=calibration_error(f, y, prompts),
        curve=tuple(curve(f, y)) if read else (),
        mended=_mended(read),
        principles=_by_principle(answers),
        groups=_by_group(answers, people.groups),
        most_different=_most_different(read),
        faults=faults(tests),
    )


def right(probability: float, share: float) -> float:
    """1 where the judge prefers the side that most people do, 0 where the other, a half where it prefers none."""
    if abs(probability - 0.5) < 1e-12:
        return 0.5
    return float((probability > 0.5) == (share > 0.5))


def _columns(answers: Sequence[JudgeAnswer]) -> tuple[Floats, Floats]:
    """The judge's probabilities, and people's shares."""
    said = np.array([_p(answer) for answer in answers])
    return said, np.array([answer.item.share for answer in answers])


def _p(answer: JudgeAnswer) -> float:
    if answer.probability is None:
        raise ValueError("an answer that could not be read has no probability")
    return answer.probability


def _clusters(people: People) -> np.ndarray[Any, Any]:
    """The prompts' numbers, by item; those of items without preferences are never looked at."""
    with_preference = [item for item in people.items if set(item.said.values()) - {0.5}]
    return np.unique([item.prompt.key for item in with_preference], return_inverse=True)[1]


def _accuracy(decided: Sequence[JudgeAnswer]) -> Figure | None:
    share = Share()
    for _, answers in groupby(_by_prompt(decided), key=lambda answer: answer.item.prompt.key):
        for answer in answers:
            share.count(right(_p(answer), answer.item.share))
        share.end_cluster()
    return share.figure()


def _by_prompt(answers: Sequence[JudgeAnswer]) -> list[JudgeAnswer]:
    return sorted(answers, key=lambda answer: answer.item.prompt.key)


def _kappa(decided: Sequence[JudgeAnswer]) -> Figure | None:
    """The judge's agreement with most people beyond chance, on items where it prefers one side."""
    clear = [answer for answer in decided if _p(answer) != 0.5]
    mine = np.array([_p(answer) > 0.5 for answer in clear], np.int64)
    theirs = np.array([answer.item.share > 0.5 for answer in clear], np.int64)
    return figure(cohen(mine, theirs), len(clear), [answer.item.prompt.key for answer in clear])


def _length_controlled(decided: Sequence[JudgeAnswer]) -> Figure | None:
    if not decided:
        return None
    f, y = _columns(decided)
    rights = [right(p, share) for p, share in zip(f.tolist(), y.tolist(), strict=True)]
    longer = [difference(TRAITS[LENGTH], answer.item) for answer in decided]
    return controlled_accuracy(rights, y, longer, [answer.item.prompt.key for answer in decided])


def _leanings(read: Sequence[JudgeAnswer], f: Floats, y: Floats, judge: str) -> dict[str, Leaning]:
    if not read:
        return {}
    prompts = [answer.item.prompt.key for answer in read]
    prefers = np.where(f > 0.5, 1.0, np.where(f < 0.5, 0.0, 0.5))
    most = np.where(y > 0.5, 1.0, np.where(y < 0.5, 0.0, 0.5))
    traits = {}
    for name, trait in TRAITS.items():
        traits[name] = [difference(trait, answer.item) for answer in read]
    traits[FAMILY] = [own_family(judge, answer.item) for answer in read]
    by_trait = {name: leaning(prefers, most, values, prompts) for name, values in traits.items()}
    by_trait[POSITION] = _position(read)
    return {name: one for name, one in by_trait.items() if one is not None}


def _position(read: Sequence[JudgeAnswer]) -> Leaning | None:
    given, swapped, prompts = [], [], []
    for answer in read:
        for first, second in _both_orders(answer):
            given.append(first)
            swapped.append(second)
            prompts.append(answer.item.prompt.key)
    return first_position(given, swapped, prompts)


def _both_orders(answer: JudgeAnswer) -> list[tuple[float, float]]:
    """For each principle whether its vote prefers what the page shows first, in either order: 1, 0 or a half."""
    pairs = []
    keyed = sorted(answer.votes, key=lambda vote: (vote.judge, vote.mode, vote.principle or ""))
    for _, votes in groupby(keyed, key=lambda vote: (vote.judge, vote.mode, vote.principle or "")):
        odds = {vote.order: vote.log_odds for vote in votes}
        given, swapped = odds.get("given"), odds.get("swapped")
        if given is None or swapped is None:
            continue
        pairs.append((_side(given), _side(-swapped)))  # votes are of the item's order, whatever the page showed first
    return pairs


def _side(odds: float) -> float:
    return 0.5 if odds == 0 else float(odds > 0)


def _same_position(read: Sequence[JudgeAnswer]) -> Figure | None:
    share = Share()
    for _, answers in groupby(_by_prompt(read), key=lambda answer: answer.item.prompt.key):
        for answer in answers:
            for given, swapped in _both_orders(answer):
                share.count(given == swapped != 0.5)
        share.end_cluster()
    return share.figure()


def _mass(read: Sequence[JudgeAnswer]) -> Figure | None:
    masses = [(vote.mass, answer.item.prompt.key) for answer in read for vote in answer.votes if vote.mass is not None]
    prompts = [prompt for _, prompt in masses]
    return _mean([mass for mass, _ in masses], prompts)


def _mean(values: Sequence[float], prompts: Sequence[str]) -> Figure | None:
    """The mean of values from 0 to 1, whose interval has a width even where all are the same."""
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    change = mean_change(np.clip(values, 0.0, 1.0), [numbers[prompt] for prompt in prompts])
    return None if change is None else replace(change, low=max(0.0, change.low))


def _low_mass(read: Sequence[JudgeAnswer]) -> Figure | None:
    share = Share()
    for _, answers in groupby(_by_prompt(read), key=lambda answer: answer.item.prompt.key):
        for answer in answers:
            for vote in answer.votes:
                if vote.mass is not None:
                    share.count(vote.mass < LOW_MASS)
        share.end_cluster()
    return share.figure()


def _retested(read: Sequence[JudgeAnswer]) -> Retested:
    twice = [(_p(answer), answer.again) for answer in read if answer.again is not None]
    distances = [abs(one - other) for one, other in twice]
    spread = _mean(distances, [str(place) for place in range(len(twice))])
    turned = sum((one - 0.5) * (other - 0.5) < 0 for one, other in twice)
    return Retested(len(twice), spread, turned)


def _mended(read: Sequence[JudgeAnswer]) -> dict[str, MendedCalibration]:
    """Fit both maps on the prompts of one half, and test them on those of the other."""
    own = [unit_interval("map", answer.item.prompt.key) < FITTED for answer in read]
    fitting = [answer for answer, is_own in zip(read, own, strict=True) if is_own]
    testing = [answer for answer, is_own in zip(read, own, strict=True) if not is_own]
    if min(len(fitting), len(testing)) < FEWEST_FITTED or all(_p(answer) == 0.5 for answer in fitting):
        return {}
    f, y = _columns(fitting)
    p, share = _columns(testing)
    prompts = [answer.item.prompt.key for answer in testing]
    before = calibration_error(p, share, prompts)
    made: dict[str, MendedCalibration] = {}
    for name, map in (("temperature", temperature(f, y)), ("isotonic", isotonic(f, y))):
        after = calibration_error(mended(map, p), share, prompts)
        if before is not None and after is not None:
            made[name] = MendedCalibration(map, before, after, len(fitting))
    return made


def _by_principle(answers: Sequence[JudgeAnswer]) -> dict[str, Part]:
    names = sorted({vote.principle for answer in answers for vote in answer.votes if vote.principle})
    if len(names) < 2:
        return {}
    odds = [(answer, answer.by_principle()) for answer in answers if answer.votes]
    parts: dict[str, Part] = {}
    for name in names:
        alone = [(answer, mine[name]) for answer, mine in odds if name in mine]
        asked = sum(_was_asked(answer, name) for answer in answers)
        own = [
            JudgeAnswer(answer.item, 0.5 if value == 0 else float(value > 0))
            for answer, value in alone
            if answer.item.share != 0.5
        ]
        parts[name] = Part(_accuracy(own), asked - len(alone))
    return parts


def _by_group(answers: Sequence[JudgeAnswer], groups: Sequence[str]) -> dict[str, Part]:
    """The judge against each group's own labels: by the group's own principles, where the constitution has them."""
    parts: dict[str, Part] = {}
    for group in groups:
        share, unread = Share(), 0
        for _, own in groupby(_by_prompt(answers), key=lambda answer: answer.item.prompt.key):
            for answer in own:
                theirs, mine = answer.item.share_of(group), answer.by_group.get(group, answer.probability)
                if theirs is None or theirs == 0.5:
                    continue
                if mine is None:
                    unread += 1
                else:
                    share.count(right(mine, theirs))
            share.end_cluster()
        parts[group] = Part(share.figure(), unread)
    return parts


def _most_different(read: Sequence[JudgeAnswer]) -> tuple[JudgeAnswer, ...]:
    ordered = sorted(read, key=lambda answer: (-abs(_p(answer) - answer.item.share), answer.item.id))
    return tuple(answer for answer in ordered[:MOST_NAMED] if abs(_p(answer) - answer.item.share) > 0.5)


def _was_asked(answer: JudgeAnswer, principle: str) -> bool:
    return any(vote.principle == principle for vote in answer.votes)
