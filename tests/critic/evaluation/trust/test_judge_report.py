"""A judge's report: planted faults are named, and a clean judge has none; what the figures are of is by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from critic.engines.scripted import Script, ScriptedEngine
from critic.evaluation.trust.asking import JudgeAnswer, ask
from critic.evaluation.trust.figures import TrustFigures, judge_figures
from critic.evaluation.trust.page import judge_page
from critic.evaluation.trust.people import LabelledItem, People, people
from critic.feedback import ComparisonLabel, Feedback
from critic.judging.modes.logprob import Logprob
from critic.records import Response
from tests.critic.judging.test_aggregate import principle
from tests.factories import prompt

RULE = principle("good")
Prefers = Callable[[LabelledItem], float]


def label(
    number: int,
    first: str,
    second: str,
    choice: str,
    annotator: str = "ann",
    group: str | None = None,
    models: tuple[str, str] = ("gemma-2b", "llama-7b"),
) -> Feedback:
    return Feedback(
        kind="comparison",
        prompt=prompt(f"Question {number}?"),
        responses=(Response(text=first, model=models[0]), Response(text=second, model=models[1])),
        label=ComparisonLabel.model_validate({"choice": choice}),
        source="human",
        annotator=annotator,
        group=group,
    )


def labelled(seed: int, count: int = 120) -> People:
    """Answers of every length and style, which three people prefer without minding either."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        texts = [_text(rng), _text(rng)]
        if texts[0] == texts[1]:
            texts[1] += " Indeed."
        models = ("gemma-2b", "llama-7b") if rng.random() < 0.5 else ("llama-7b", "gemma-2b")
        truth = rng.random() < 0.5
        for name in ("ann", "bob", "cy"):
            first = truth if rng.random() < 0.9 else not truth
            rows.append(label(number, texts[0], texts[1], "first" if first else "second", name, models=models))
    return people(rows)


def _text(rng: np.random.Generator) -> str:
    start = "You're right. " if rng.random() < 0.3 else ""
    end = "\n- one\n- two" if rng.random() < 0.3 else ""
    return start + "word " * int(rng.integers(1, 40)) + end


def judged(own: People, prefers: Prefers, judge: str = "gemma-27b") -> TrustFigures:
    answers = [JudgeAnswer(item, prefers(item)) for item in own.items]
    return judge_figures(answers, own, judge)


def right_on(share: float, seed: int) -> Prefers:
    """A judge that prefers what most people do on a share of the items."""
    rng = np.random.default_rng(1000 + seed)
    return lambda item: 0.8 if (item.share > 0.5) == (rng.random() < share) else 0.2


def test_a_clean_judge_is_accused_of_nothing_and_a_copycat_of_people_neither() -> None:
    alarms = sum(bool(judged(labelled(seed, 80), right_on(0.8, seed)).faults) for seed in range(20))
    assert alarms <= 3
    own = labelled(99)
    report = judged(own, lambda item: item.share)
    assert report.faults == () and report.accuracy is not None and report.accuracy.estimate == 1


def test_a_judge_for_whom_the_longer_wins_is_named() -> None:
    own = labelled(1)
    report = judged(own, lambda item: 0.9 if len(item.first.text) > len(item.second.text) else 0.1)
    assert "length" in report.faults and report.leanings["length"].judge.estimate > 0.95


def test_a_sycophant_is_named() -> None:
    own = labelled(2, 200)

    def prefers(item: LabelledItem) -> float:
        first, second = item.first.text, item.second.text
        if first.startswith("You're right") != second.startswith("You're right"):
            return 0.95 if first.startswith("You're right") else 0.05
        return 0.8 if item.share > 0.5 else 0.2

    assert "agreeing with the user" in judged(own, prefers).faults


def test_a_judge_that_prefers_its_family_is_named_and_another_is_not() -> None:
    own = labelled(3)
    report = judged(own, lambda item: 0.9 if "gemma" in item.first.model else 0.1)
    assert "own family" in report.faults
    stranger = judged(own, lambda item: 0.9 if "gemma" in item.first.model else 0.1, "qwen-7b")
    assert "own family" not in stranger.leanings


async def test_an_always_first_judge_is_named() -> None:
    own = labelled(4, 40)
    answers = await ask(ScriptedEngine(Script(choose="first")), Logprob(), RULE, own.items)
    report = judge_figures(answers, own, "scripted")
    assert "first position" in report.faults
    assert report.same_position is not None and report.same_position.estimate == 1
    assert report.mass is not None and report.mass.estimate == pytest.approx(1)
    assert report.accuracy is not None and report.accuracy.estimate == 0.5
    assert report.retest.items == 40 and report.retest.turned == 0


async def test_a_report_shows_everything_and_escapes_what_it_shows() -> None:
    own = labelled(5, 60)
    answers = await ask(ScriptedEngine(Script(choose="hash")), Logprob(), RULE, own.items)
    figures = judge_figures(answers, own, "scripted")
    shown = judge_page("<b>judge</b>", "lead", figures, {"certificate": "<i>"})
    assert "<b>judge" not in shown and "&lt;b&gt;judge" in shown and "&lt;i&gt;" in shown
    for words in (
        "human ceiling",
        "Leanings",
        "calibration_<wbr>error",
        "Where they differ most",
        "<small>n = 60</small>",
    ):
        assert words in shown
    assert "http://" not in shown and "<script" not in shown


def test_a_judge_of_even_odds_is_said_to_be_one_and_not_to_lack_labels() -> None:
    own = labelled(5, 120)
    shown = judge_page("judge", "lead", judged(own, lambda item: 0.5), {})
    assert "has even odds on every item" in shown and "too few labelled" not in shown


def test_people_by_hand() -> None:
    own = people(
        [
            label(1, "yes", "no", "first"),
            label(1, "no", "yes", "first", "bob"),
            label(1, "yes", "no", "tie", "ann"),
            label(2, "a", "b", "second", "cy", group="north"),
        ]
    )
    first, second = own.items
    assert (own.repeated, own.labels, own.annotators) == (1, 3, ["ann", "bob", "cy"])
    assert sorted(first.said.values()) == sorted([0.5, 1.0 if first.first.text == "no" else 0.0])
    assert second.share_of("north") == (1.0 if second.first.text == "b" else 0.0)
    assert second.share_of("south") is None and own.groups == ["north"]
    assert people(reversed([label(1, "yes", "no", "first"), label(2, "a", "b", "second")])).sha256 == (
        people([label(2, "a", "b", "second"), label(1, "yes", "no", "first")]).sha256
    )


@pytest.mark.parametrize("choice", ["first", "tie"])
def test_one_item_one_person_and_all_ties_are_no_error(choice: str) -> None:
    own = people([label(1, "a", "b", choice)])
    report = judged(own, lambda item: 0.7)
    assert report.ceiling.agreement is None and report.kappa is None and report.mended == {}
    assert (report.accuracy is None) == (choice == "tie")
    shown = judge_page("judge", "lead", report, {})
    assert "<circle" not in shown and "too few labelled" in shown, "of one prompt no dot is drawn"
    assert "No more than 1 prompt" in shown and "No item was labelled by two people" in shown and "nan" not in shown


def test_maps_are_fitted_on_other_prompts_than_they_are_tested_on() -> None:
    rng = np.random.default_rng(6)
    own = labelled(6, 400)
    report = judged(own, lambda item: 0.98 if (item.share > 0.5) == (rng.random() < 0.7) else 0.02)
    one = report.mended["temperature"]
    assert 150 < one.fitted_on < 250 and one.before.n + one.fitted_on == 400
    assert one.after.high < one.before.low, "on 200 labels fitted, on the rest it is nearer to people"
    assert {"calibration_error", "calibration_error_temperature"} <= report.named().keys()
