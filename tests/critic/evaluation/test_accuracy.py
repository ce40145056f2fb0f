"""Accuracy against people's labels: by hand, on judges whose faults are known."""

import math

import pytest

from critic.engine import EngineDown, EngineError, Lane, Node, Score, reads
from critic.engines.scripted import Script, ScriptedEngine
from critic.evaluation.accuracy import (
    FOLDS,
    Judged,
    Labelled,
    better_rule,
    by_length,
    chosen_by_cross_validation,
    compared,
    figures,
    judge,
)
from critic.evaluation.fitting import fit_contrast
from critic.judging.modes.logprob import Logprob
from tests.critic.judging.test_aggregate import principle
from tests.factories import FakeEngine, prompt

RULE = principle("good")


def labels(count: int, better: str = "a longer answer", worse: str = "short") -> list[Labelled]:
    return [Labelled(f"pair-{i}", "set", prompt(f"Question {i}?"), better, worse) for i in range(count)]


def judged(*probabilities: float | None) -> list[Judged]:
    return [Judged(label, p) for label, p in zip(labels(len(probabilities)), probabilities, strict=True)]


async def test_an_always_first_judge_is_half_right_and_its_position_shows() -> None:
    answers = await judge(ScriptedEngine(Script(choose="first")), Logprob(), RULE, labels(40))
    assert [a.right for a in answers] == [0.5] * 40
    measured = figures(answers)
    assert measured.accuracy is not None and measured.accuracy.estimate == 0.5
    assert measured.position is not None and measured.position.estimate == 1.0


async def test_the_better_answer_stands_first_in_about_half_of_the_pairs_and_probabilities_follow() -> None:
    class Knows(FakeEngine):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            texts = []
            for path, _, _ in reads(tree):
                texts.append("".join(m.content for m in path))
            first.append(texts[0].index("longer") < texts[0].index("short"))
            return tuple(Score((2.0 if t.index("longer") < t.index("short") else -2.0, 0.0), 1) for t in texts)

    first: list[bool] = []
    answers = await judge(Knows(), Logprob(), RULE, labels(100))
    assert 30 < sum(first) < 70
    assert {round(a.probability or 0, 9) for a in answers} == {round(1 / (1 + math.exp(-2)), 9)}
    measured = figures(answers)
    assert measured.accuracy is not None and measured.accuracy.estimate == 1.0
    # Always right at 0.88: the error is 0.12 wherever the better one stands.
    assert measured.calibration is not None and measured.calibration.estimate == pytest.approx(
        1 / (1 + math.exp(2)), abs=1e-4
    )
    assert measured.position is not None and measured.position.estimate == 0.0


async def test_what_cannot_be_judged_is_counted_apart_with_its_reason() -> None:
    class Fails(ScriptedEngine):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            if any("Question 1?" in m.content for path, _, _ in reads(tree) for m in path):
                raise EngineError("too hot")
            return await super().score(tree, lane)

    seen: list[None] = []
    answers = await judge(Fails(Script()), Logprob(), RULE, labels(3), lambda: seen.append(None))
    assert len(seen) == 3 and [a.probability is None for a in answers] == [False, True, False]
    assert answers[1].problem == "too hot"
    measured = figures(answers)
    assert measured.unreadable == 1 and measured.accuracy is not None and measured.accuracy.n == 2


async def test_a_judge_that_fails_every_pair_ends_the_measurement() -> None:
    class Fails(FakeEngine):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            raise EngineError("no weights")

    with pytest.raises(EngineDown, match="none was answered: no weights"):
        await judge(Fails(), Logprob(), RULE, labels(20))
    with pytest.raises(EngineDown, match="none was answered: no weights"):
        await fit_contrast(Fails(), RULE, labels(20))


def test_length_rules() -> None:
    pairs = [*labels(2), *labels(1, "same", "size")]
    assert [j.right for j in by_length(pairs, longer=True)] == [1.0, 1.0, 0.5]
    assert [j.right for j in by_length(pairs, longer=False)] == [0.0, 0.0, 0.5]


def test_a_comparison_is_paired_and_leaves_out_what_one_could_not_read() -> None:
    comparison = compared(judged(0.9, 0.9, None, 0.4), judged(0.9, 0.2, 0.9, 0.5))
    assert (comparison.wins, comparison.losses, comparison.p) == (1, 1, 1.0)
    lead = compared(judged(*[0.9] * 12), judged(*[0.9] * 6, *[0.1] * 6))
    assert (lead.wins, lead.losses) == (6, 0) and lead.p == pytest.approx(2 / 2**6)


def test_pairs_of_one_prompt_are_one_prompt() -> None:
    same = [Judged(Labelled(f"a.{i}", "set", prompt("One?"), "better", "no"), 0.9) for i in range(12)]
    measured = figures(same)
    assert measured.accuracy is not None and (measured.accuracy.n, measured.accuracy.clusters) == (12, 1)
    assert (measured.accuracy.low, measured.accuracy.high) == pytest.approx((0.025, 1.0)), "one hit of one"
    assert compared(same, [Judged(j.label, 0.1) for j in same]).wins == 1
    assert measured.calibration is not None and (measured.calibration.low, measured.calibration.high) == (0.0, 1.0)


def test_two_pairs_say_nothing_by_any_rule_or_mode() -> None:
    rules = {"longer": by_length(labels(2), longer=True), "shorter": by_length(labels(2), longer=False)}
    assert better_rule(rules) == "longer"
    for answers in (*rules.values(), judged(0.9, 0.8)):
        figure = figures(answers).accuracy
        assert figure is not None and figure.is_of_few
        assert figure.low < 0.5 < figure.high, "by every rule and mode alike"


def test_choosing_by_cross_validation_never_sees_the_fold_it_is_used_on() -> None:
    good, bad = judged(*[0.9] * 60), judged(*[0.1] * 60)
    taken, answers = chosen_by_cross_validation({"bad": bad, "good": good})
    assert set(taken.values()) == {"good"} and len(taken) == FOLDS
    assert answers == good
    # A judge that is right in one fold alone is not taken for that fold.
    only = judged(*[0.9 if label.fold == 0 else 0.1 for label in labels(60)])
    fair = judged(*[0.9 if i % 2 else 0.1 for i in range(60)])
    taken, _ = chosen_by_cross_validation({"only": only, "fair": fair})
    assert taken[0] == "fair"


def test_nothing_read_is_no_figure() -> None:
    measured = figures(judged(None, None))
    assert (measured.accuracy, measured.calibration, measured.brier, measured.unreadable) == (None, None, None, 2)
