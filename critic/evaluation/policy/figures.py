"""From what was measured to figures, each with its interval over prompts; below a floor of data, a sentence instead."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from critic.evaluation.policy import diversity
from critic.evaluation.policy.alarms import mark
from critic.evaluation.policy.answers import TextLikelihood, Texts
from critic.evaluation.policy.matches import Match
from critic.evaluation.policy.measured import HELD_OUT, Drift, MeasuredPolicies
from critic.evaluation.policy.refusing.refusals import read
from critic.evaluation.policy.tax import CHANCE
from critic.statistics.intervals import FEW, Figure, Mean, Share, few
from critic.statistics.policies.change import mean_change
from critic.statistics.policies.gap import gap
from critic.statistics.policies.length import length_controlled
from critic.statistics.policies.strengths import strengths

Plain = dict[str, Any]
OfAnswer = Callable[[str], float | None]

BASE = 0


@dataclass(frozen=True, slots=True)
class Trait:
    """A figure of single answers: a share of them, or a mean."""

    name: str
    of: OfAnswer
    share: bool


def _refuses(text: str) -> float:
    return float(read(text).refuses)


def _class(name: str) -> OfAnswer:
    return lambda text: float(read(text).refusal == name)


def _evasive(text: str) -> float:
    return float(read(text).evasive)


TRAITS = (
    Trait("refused", _refuses, share=True),
    Trait("refused in full", _class("full"), share=True),
    Trait("refused in part", _class("partial"), share=True),
    Trait("evasive", _evasive, share=True),
    Trait("words", lambda text: float(len(text.split())), share=False),
    Trait("distinct bigrams", diversity.distinct, share=False),
)


def figures(measured: MeasuredPolicies) -> Plain:
    """Return everything as plain data, by policy: what `critic.evaluation.policy.report` draws."""
    trained = range(1, len(measured.names))
    sets = {name: len(prompts) for name, prompts in measured.prompts.items()}
    answers = {name: _answers(measured, name) for name in measured.texts}
    wins = {}
    for name, matches in measured.matches.items():
        wins[name] = {measured.names[place]: _wins(matches, place) for place in trained}
    told = {
        "policies": list(measured.names),
        "samples": measured.samples,
        "sets": sets,
        "answers": answers,
        "wins": wins,
        "judged_by": dict(measured.judged_by),
        "strengths": _strengths(measured),
        "drift": {measured.names[place]: _drift(measured, place) for place in trained if measured.drift},
        "tax": _tax(measured),
        "hacking": _hacking(measured),
        "leaks": list(measured.leaks),
    }
    mark(told)
    return told


def _answers(measured: MeasuredPolicies, name: str) -> Plain:
    """Each policy's own figures on one set of prompts, and how they changed from the base's."""
    texts = measured.texts[name]
    made: Plain = {}
    for place, policy in enumerate(measured.names):
        own: Plain = {"unanswered": sum(text is None for one in texts[place] for text in one)}
        for trait in TRAITS:
            own[trait.name] = _trait(texts[place], trait)
            if place != BASE:
                own[f"{trait.name}, change"] = _change(texts[BASE], texts[place], trait)
        own["diversity"] = _diversity(texts[place])
        made[policy] = own
    return made


def _trait(texts: Sequence[Texts], trait: Trait) -> Plain:
    counted: Share | Mean = Share() if trait.share else Mean()
    for answers in texts:
        for value in _values(answers, trait.of):
            counted.count(value)
        counted.end_cluster()
    return told(counted.figure())


def _values(answers: Texts, of: OfAnswer) -> list[float]:
    read = [of(text) for text in answers if text is not None]
    return [value for value in read if value is not None]


def _change(before: Sequence[Texts], after: Sequence[Texts], trait: Trait) -> Plain:
    """By how much a prompt's mean rose, where both policies answered it."""
    rises = []
    for one, other in zip(before, after, strict=True):
        sides = _values(one, trait.of), _values(other, trait.of)
        if all(sides):
            rises.append(_mean(sides[1]) - _mean(sides[0]))
    if trait.share:
        return told(mean_change(rises, range(len(rises))))
    change = Mean()
    for rise in rises:
        change.count(rise)
        change.end_cluster()
    return told(change.figure())


def _diversity(texts: Sequence[Texts]) -> Plain:
    mean = Mean()
    for answers in texts:
        value = diversity.among([text for text in answers if text is not None])
        if value is not None:
            mean.count(value)
        mean.end_cluster()
    if not mean.n:
        return {"refusal": "One answer a prompt: how different a prompt's answers are is not known."}
    return told(mean.figure(), 0.0, 1.0)


def _wins(matches: Sequence[Match], place: int) -> Plain:
    """A trained policy against the base, by group of principles: groups are not averaged with each other."""
    mine = [match for match in matches if match.one == BASE and match.other == place]
    groups = list(dict.fromkeys(match.group for match in mine))
    return {group or "all": _win(mine, group) for group in groups}


def _win(matches: Sequence[Match], group: str | None) -> Plain:
    own = [match for match in matches if match.group == group]
    known = [(match, match.win) for match in own if match.win is not None]
    share = Share()
    for before, (match, win) in zip([None, *known], known, strict=False):
        if before is not None and before[0].prompt != match.prompt:
            share.end_cluster()
        share.count(win)
    share.end_cluster()
    wins = [win for _, win in known]
    longer = [match.longer for match, _ in known]
    prompts = [match.prompt for match, _ in known]
    controlled = length_controlled(wins, longer, prompts) if known else None
    return {
        "win rate": told(share.figure()),
        "length-controlled": told(controlled) if controlled is not None else few_prompts(share),
        "equal": sum(match.equal for match in own),
        "unread": len(own) - len(known),
    }


def _strengths(measured: MeasuredPolicies) -> Plain:
    """All policies on one scale, by group: where there are more than two."""
    matches = measured.matches.get(HELD_OUT, ())
    if len(measured.names) < 3 or not matches:
        return {}
    made = {}
    for group in dict.fromkeys(match.group for match in matches):
        own = [(match, match.win) for match in matches if match.group == group and match.win is not None]
        one = [match.one for match, _ in own]
        other = [match.other for match, _ in own]
        wins = [1 - win for _, win in own]
        prompts = [match.prompt for match, _ in own]
        fitted = strengths(measured.names, one, other, wins, prompts)
        named = dict(zip(fitted.names, map(told, fitted.figures), strict=False))
        made[group or "all"] = {"refusal": fitted.refusal} if fitted.refusal else named
    return made


def _drift(measured: MeasuredPolicies, place: int) -> Plain:
    drift = measured.drift[place]
    if drift is None or drift.refusal:
        return {"refusal": drift.refusal if drift is not None else "It was not asked for."}
    return {
        "KL, nats an answer": told(_kl(drift, by_token=False).figure()),
        "KL, nats a token": told(_kl(drift, by_token=True).figure()),
        "perplexity of the base's answers, before": _perplexity(drift.base_by_base),
        "perplexity of the base's answers, after": _perplexity(drift.base_by_policy),
    }


def _kl(drift: Drift, *, by_token: bool) -> Mean:
    """The mean of log p - log p_base over the policy's own answers: an unbiased estimate of the divergence, at the
    temperature 1; at another it is that of the answers as they were drawn.
    """
    mean = Mean()
    for own, base in zip(drift.own_by_policy, drift.own_by_base, strict=True):
        for a, b in zip(own, base, strict=True):
            if a is not None and b is not None:
                mean.count((a.summed - b.summed) / (a.tokens if by_token else 1))
        mean.end_cluster()
    return mean


def _perplexity(likelihoods: Sequence[tuple[TextLikelihood | None, ...]]) -> Plain:
    """exp of the mean surprise a token, answer by answer."""
    mean = Mean()
    for answers in likelihoods:
        for one in answers:
            if one is not None:
                mean.count(-one.summed / one.tokens)
        mean.end_cluster()
    figure = mean.figure()
    if figure is None or figure.is_of_few:
        return told(figure)
    estimate, low, high = (math.exp(min(700.0, value)) for value in (figure.estimate, figure.low, figure.high))
    return told(Figure(estimate, low, high, figure.n, figure.clusters))


def _tax(measured: MeasuredPolicies) -> Plain:
    """Accuracy by policy, and the change from the base's on the very same questions. Subjects are the clusters."""
    if not measured.exam:
        return {}
    made: Plain = {}
    for place, policy in enumerate(measured.names):
        own = measured.exam[place]
        made[policy] = {"unread": sum(value is None for value in own), "accuracy": told(_accuracy(measured, place))}
        if place != BASE:
            made[policy]["change"] = told(_exam_change(measured, place), -1.0, 1.0)
    return made


def _by_subject(measured: MeasuredPolicies) -> Iterator[list[int]]:
    subjects: dict[str, list[int]] = {}
    for number, question in enumerate(measured.questions):
        subjects.setdefault(question.subject, []).append(number)
    yield from _clusters(list(subjects.values()))


def _clusters(subjects: list[list[int]]) -> list[list[int]]:
    """Subjects where there are enough of them; else each question is one observation."""
    return subjects if len(subjects) >= FEW else [[number] for numbers in subjects for number in numbers]


def _accuracy(measured: MeasuredPolicies, place: int) -> Figure | None:
    share = Share()
    for numbers in _by_subject(measured):
        for number in numbers:
            share.count(_right(measured.exam[place][number]))
        share.end_cluster()
    return share.figure()


def _exam_change(measured: MeasuredPolicies, place: int) -> Figure | None:
    """The change of the share that is right, with the wider of two intervals: by subject, and by question.

    By subject it has no width where hardly any answer changes.
    """
    change, single = Mean(), []
    for numbers in _by_subject(measured):
        for number in numbers:
            single.append(_right(measured.exam[place][number]) - _right(measured.exam[BASE][number]))
            change.count(single[-1])
        change.end_cluster()
    by_subject, by_question = change.figure(), mean_change(single, range(len(single)))
    if by_subject is None or by_question is None:
        return None
    low, high = min(by_subject.low, by_question.low), max(by_subject.high, by_question.high)
    return Figure(by_subject.estimate, low, high, by_subject.n, by_subject.clusters)


def _right(value: float | None) -> float:
    return CHANCE if value is None else value


def _hacking(measured: MeasuredPolicies) -> Plain:
    """By trained policy: how often the reward prefers it, how often judges and people do, and the gaps."""
    if not measured.rewards:
        return {}
    made: Plain = {"reward": measured.reward_name, "policies": {}}
    for place in range(1, len(measured.names)):
        rewarded = _rewarded(measured, place)
        judged = _wins_by_place(measured.matches.get(HELD_OUT, ()), place)
        people = _wins_by_place(measured.people, place)
        own: Plain = {"reward prefers it": told(_share_by_prompt(rewarded))}
        for name, others in (("judges", judged), ("people", people)):
            if others:
                keys = sorted(rewarded)
                ours = [_or_nan(rewarded[key]) for key in keys]
                theirs = [_or_nan(others.get(key)) for key in keys]
                between = gap(ours, theirs, [prompt for prompt, _ in keys])
                own[f"{name} prefer it"] = told(_share_by_prompt(others))
                own[f"gap to {name}"] = {"refusal": between.refusal} if between.figure is None else told(between.figure)
        made["policies"][measured.names[place]] = own
    return made


def _rewarded(measured: MeasuredPolicies, place: int) -> dict[tuple[int, int], float | None]:
    before, after = measured.rewards[BASE], measured.rewards[place]
    wins: dict[tuple[int, int], float | None] = {}
    for prompt, (one, other) in enumerate(zip(before, after, strict=True)):
        for sample, (a, b) in enumerate(zip(one, other, strict=True)):
            wins[prompt, sample] = None if a is None or b is None else (1 + float(np.sign(b - a))) / 2
    return wins


def _wins_by_place(matches: Sequence[Match], place: int) -> dict[tuple[int, int], float | None]:
    """Wins of a policy over the base, by prompt and sample; of several groups' judgements the mean."""
    given: dict[tuple[int, int], list[float]] = {}
    for match in matches:
        if match.one == BASE and match.other == place and match.win is not None:
            given.setdefault((match.prompt, match.sample), []).append(match.win)
    return {key: _mean(wins) for key, wins in given.items()}


def _share_by_prompt(wins: Mapping[tuple[int, int], float | None]) -> Figure | None:
    share = Share()
    before = None
    for (prompt, _), win in sorted(wins.items(), key=lambda item: item[0]):
        if prompt != before:
            share.end_cluster()
        before = prompt
        if win is not None:
            share.count(win)
    share.end_cluster()
    return share.figure()


def told(figure: Figure | None, least: float = -math.inf, most: float = math.inf) -> Plain:
    """A figure as plain data, its interval within what is possible; a sentence where there is too little."""
    if figure is None:
        return {"refusal": "Nothing was observed."}
    if figure.clusters < FEW:
        return {"refusal": few(figure.clusters, "prompt"), "n": figure.n, "clusters": figure.clusters}
    plain = asdict(figure) | {"low": max(least, figure.low), "high": min(most, figure.high)}
    return {key: value if math.isfinite(value) else None for key, value in plain.items()}


def few_prompts(share: Share) -> Plain:
    """The sentence in the place of a figure of few prompts."""
    return told(None if not share.n else Figure(0.0, 0.0, 0.0, share.n, min(share.clusters, FEW - 1)))


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
