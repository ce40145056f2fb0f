"""Few human labels: what is gathered, figures that hold the truth, plans, draws that leave figures unbiased."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from critic.evaluation.powered.columns import columns_of
from critic.evaluation.powered.estimates import Draw, differences, estimate, planned
from critic.evaluation.powered.items import Gathered, gathered
from critic.evaluation.powered.page import powered_page
from critic.evaluation.powered.route import route
from critic.evaluation.powered.signals import signals
from critic.feedback import ComparisonLabel, Feedback
from critic.records import Response
from tests.factories import prompt

A, B = Response(text="the old one", model="old"), Response(text="the new one, longer", model="new")


def label(number: int, first: float, by: str | None = None, judge: str = "j", **more: Any) -> Feedback:
    """By the person ``by``, else by a judge, that the first answer is better with probability ``first``."""
    if first == 0.5:
        choice = "tie"
    elif first > 0.5:
        choice = "first"
    else:
        choice = "second"
    votes = more.pop("votes", ())
    said = {"choice": choice} if by else {"choice": choice, "probability": first, "votes": votes}
    turned = more.pop("turned", False)
    one = Feedback(
        kind="comparison",
        prompt=prompt(more.pop("text", f"Question {number}?")),
        responses=(A, B),
        label=ComparisonLabel.model_validate(said),
        source="human" if by else "ai",
        annotator=by or judge,
        **more,
    )
    return one.in_order_of([B.text, A.text]) if turned else one


def vote(principle: str, order: str, odds: float) -> dict[str, Any]:
    return {
        "principle": principle,
        "principle_digest": "0" * 64,
        "judge": "j",
        "mode": "logprob",
        "order": order,
        "log_odds": odds,
    }


def simulated(seed: int, items: int, by_people: Sequence[int], rate: float = 0.6) -> tuple[Gathered, float]:
    """A judge that knows its doubts on all items, people on some; and people's rate for the new model over all."""
    rng = np.random.default_rng(seed)
    truth = rng.random(items) < rate
    sure = np.where(rng.random(items) < 0.5, 0.98, 0.62)
    new = np.where((rng.random(items) < sure) == truth, sure, 1 - sure)
    labels = [label(i, 1 - new[i], turned=bool(i % 2)) for i in range(items)]
    labels += [label(i, float(not truth[i]), "ann", turned=bool(i % 3)) for i in by_people]
    return gathered(labels), float(truth.mean())


def test_items_bring_both_together_in_whatever_order_answers_stand() -> None:
    made = gathered([label(1, 0.9), label(1, 0.1, turned=True, judge="k"), label(1, 1.0, "ann"), label(1, 0.0, "ben")])
    (one,) = made.items
    assert one.share() == 0.5 and one.probability() == pytest.approx(0.5)
    is_first = one.item.first.model == "old"
    assert one.probability(judge="j") == pytest.approx(0.9 if is_first else 0.1)
    assert one.sign_of("old") == (1 if is_first else -1) and one.sign_of("nobody") == 0
    assert made.judges == ["j", "k"] and made.models == ["new", "old"]
    again = gathered([label(1, 0.9), label(1, 0.2), label(1, 1.0, "ann"), label(1, 0.0, "ann")])
    assert again.repeated == 2 and again.items[0].sign_of("old") * (again.items[0].share() or 0) in (0.0, -1.0)


def test_win_rates_hold_the_truth_and_the_judge_narrows_them() -> None:
    held, saved = 0, []
    for seed in range(20):
        made, truth = simulated(seed, 400, range(80))
        (new,) = (one for one in columns_of(made, ["new"]) if one.what == "win rate")
        estimated = estimate(new)
        assert estimated.powered is not None and estimated.human is not None and estimated.saved is not None
        held += estimated.powered.low <= truth <= estimated.powered.high
        saved.append(estimated.saved)
        assert estimated.labelled == 80 and estimated.judged == 400
    assert held >= 17, "95 % of 20 are 19"
    assert np.mean(saved) > 0.2


def test_both_sides_of_a_match_add_up_to_one() -> None:
    made, _ = simulated(1, 200, range(60))
    new, old = (estimate(one) for one in columns_of(made, ["new", "old"]) if one.what == "win rate")
    assert new.powered is not None and old.powered is not None
    assert new.powered.estimate + old.powered.estimate == pytest.approx(1)
    assert new.powered.low == pytest.approx(1 - old.powered.high)


def test_accuracy_is_of_all_items_with_ties_as_halves() -> None:
    labels = [label(i, 0.9) for i in range(100)]
    labels += [label(i, 1.0, "ann") for i in range(30)]
    labels += [label(i, 0.5, "ann") for i in range(30, 40)]
    (accuracy,) = (estimate(one) for one in columns_of(gathered(labels), []))
    assert accuracy.what == "accuracy" and accuracy.of == "j"
    assert accuracy.human is not None and accuracy.human.estimate == pytest.approx((30 + 10 / 2) / 40)
    assert accuracy.judge == pytest.approx(0.9) and accuracy.screened is None and "screened" in accuracy.why_not


def test_groups_stay_apart_unless_pooling_is_asked_for() -> None:
    labels = [label(i, 0.8) for i in range(60)]
    for i in range(30):
        labels += [label(i, 1.0, "ann", group="north"), label(i, 0.0, "ben", group="south")]
    made = gathered(labels)
    apart = {one.group: estimate(one) for one in columns_of(made, ["old"]) if one.what == "win rate"}
    assert set(apart) == {"north", "south"}
    assert apart["north"].human is not None and apart["north"].human.estimate == 1
    assert apart["south"].human is not None and apart["south"].human.estimate == 0
    (pooled,) = (estimate(one) for one in columns_of(made, ["old"], pool=True) if one.what == "win rate")
    assert pooled.group is None and pooled.human is not None and pooled.human.estimate == 0.5


def test_two_judges_are_compared_on_the_same_items() -> None:
    labels = []
    for i in range(200):
        labels += [label(i, 0.9), label(i, 0.9 if i % 4 else 0.1, judge="k")]
    labels += [label(i, 1.0, "ann") for i in range(60)]
    (difference,) = differences(columns_of(gathered(labels), []))
    assert (difference.first, difference.second) == ("j", "k")
    assert difference.figure.estimate == pytest.approx(0.25, abs=0.02) and difference.figure.low > 0


def test_too_little_is_a_sentence_and_no_number() -> None:
    nobody = gathered([label(i, 0.9) for i in range(30)])
    for one in columns_of(nobody, ["old"]):
        estimated = estimate(one)
        assert estimated.powered is None and "was labelled by people" in estimated.why_not["powered"]
        assert planned(one, 0.1).plan is None and "pilot" in planned(one, 0.1).why_not
    few = gathered([label(i, 0.9) for i in range(30)] + [label(1, 1.0, "ann")])
    assert "fewer than 20" in estimate(columns_of(few, ["old"])[0]).why_not["powered"]
    by_judge = [label(i, 0.9) for i in range(60)]
    same = gathered(by_judge + [label(i, 1.0, "ann") for i in range(40)])
    alike = estimate(next(one for one in columns_of(same, ["old"]) if one.what == "win rate"))
    assert alike.powered is not None and alike.powered.high == 1 and alike.powered.low < 0.98, (
        "no interval without width"
    )
    assert "both a yes and a no" in alike.why_not["screened"]
    made = planned(next(one for one in columns_of(same, ["old"]) if one.what == "win rate"), 0.05).plan
    assert made is not None and made.with_judge is not None and made.with_judge > 40, "equal labels prove little"


def test_more_width_needs_fewer_labels() -> None:
    made, _ = simulated(2, 3000, range(100))
    (new,) = (one for one in columns_of(made, ["new"]) if one.what == "win rate")
    narrow, wide = planned(new, 0.05).plan, planned(new, 0.15).plan
    assert narrow is not None and wide is not None
    assert (narrow.more or 0) > (wide.more or 0) and (narrow.with_judge or 0) < (narrow.without_judge or 0)


def test_signals_are_of_orders_principles_judges_and_likeness() -> None:
    split = (vote("kind", "given", 6.0), vote("kind", "swapped", 6.0), vote("true", "given", -6.0))
    turned = (vote("kind", "given", 6.0), vote("kind", "swapped", -6.0))
    rows = [
        label(0, 0.6, votes=split, text="rivers of the north"),
        label(1, 0.6, votes=turned, text="music of the south"),
        label(2, 0.999, text="rivers of the north, again"),
        label(2, 0.001, text="rivers of the north, again", judge="k"),
        label(3, 0.99, text="rivers of the north, once more"),
        label(3, 1.0, "ann", text="rivers of the north, once more"),
    ]
    told = {name: values.tolist() for name, values in signals(gathered(rows).items).items()}
    assert told["margin"] == pytest.approx([0.8, 0.8, 1.0, 0.02], abs=1e-6)
    assert told["orders"][1] > 0.98 and math.isnan(told["orders"][2])
    assert told["principles"][0] > 0.98 and math.isnan(told["principles"][1])
    assert told["judges"][2] > 0.99 and math.isnan(told["judges"][0])
    assert told["unlike"][0] < told["unlike"][1] and told["unlike"][3] == 1, "like no other one"
    assert np.isnan(signals(gathered(rows[:4]).items)["unlike"]).all(), "nothing is labelled"


def test_a_verdict_is_held_against_the_prompt_s_other_comparisons() -> None:
    answers = {name: Response(text=name, model=name) for name in "abc"}

    def compared(one: str, other: str, first: float, text: str = "a question") -> Feedback:
        said = {"choice": "first" if first > 0.5 else "second", "probability": first}
        return Feedback(
            kind="comparison",
            prompt=prompt(text),
            responses=(answers[one], answers[other]),
            label=ComparisonLabel.model_validate(said),
            source="ai",
            annotator="j",
        )

    # a beats b, b beats c, and c beats a: each is as far from what the other two say.
    cycle = [compared("a", "b", 1.0), compared("b", "c", 1.0), compared("c", "a", 1.0)]
    order = [compared("a", "b", 1.0), compared("b", "c", 0.75), compared("a", "c", 1.0)]
    alone = compared("a", "b", 0.75, "another question")
    told = signals(gathered([*cycle, alone]).items)
    assert told["answers"][:3].tolist() == pytest.approx([1.0, 1.0, 1.0]) and math.isnan(told["answers"][3])
    told = signals(gathered(order).items)
    # a won against c; b against c by .75: (1 + 1 - .75) / 2 for a against b. b lost to a; c lost to a: even.
    assert told["answers"].tolist() == pytest.approx([0.375, 0.25, 0.125])
    # Margins are 0, .5 and 0, and nothing else is known of an item alone.
    assert told["prompt"].tolist() == pytest.approx([math.sqrt(0.125), 0.0, math.sqrt(0.125)])


def test_a_routed_figure_is_unbiased_and_asks_for_all_that_was_drawn() -> None:
    made, _ = simulated(3, 200, range(60))
    rng = np.random.default_rng(5)
    truth = {one.item.id: float(rng.random() < (one.probability() or 0)) for one in made.items}
    estimates = []
    for seed in range(60):
        routed = route(made, 60, seed)
        shown = {one.one.item.id for one in routed.items if one.is_drawn or one.one.item.said}
        assert len(routed.drawn) == 60 and routed.pilot == 60
        told = Draw({one.one.item.id: one.chance for one in routed.items}, frozenset(shown))
        complete = gathered_with(made, {item: truth[item] for item in shown})
        (new,) = (one for one in columns_of(complete, ["new"]) if one.what == "win rate")
        figure = estimate(new, [told]).powered
        assert figure is not None
        estimates.append(figure.estimate)
    right = np.mean([truth[one.item.id] if one.sign_of("new") > 0 else 1 - truth[one.item.id] for one in made.items])
    assert abs(np.mean(estimates) - right) < 3 * np.std(estimates) / math.sqrt(60)
    missing = estimate(new, [told, Draw(told.chances, told.shown | {next(iter(set(told.chances) - shown))})])
    assert missing.powered is None and "not labelled 1 of the items" in missing.why_not["powered"]
    strange = estimate(new, [Draw({}, frozenset())])
    assert strange.powered is None and "were not there" in strange.why_not["powered"]


def gathered_with(made: Gathered, said: dict[str, float]) -> Gathered:
    """The same readings, and one person's labels of some items."""
    labels = []
    for one in made.items:
        both = (one.item.first, one.item.second)
        envelope: dict[str, Any] = {"kind": "comparison", "prompt": one.item.prompt, "responses": both}
        first = one.probability() or 0.0
        choice = "first" if first > 0.5 else "second"
        judged = ComparisonLabel.model_validate({"choice": choice, "probability": first})
        labels.append(Feedback(**envelope, label=judged, source="ai", annotator="j"))
        if one.item.id in said:
            person = ComparisonLabel.model_validate({"choice": "first" if said[one.item.id] else "second"})
            labels.append(Feedback(**envelope, label=person, source="human", annotator="ann"))
    return gathered(labels)


def test_labelled_items_have_a_verdict_by_group() -> None:
    labels = [label(i, 0.8) for i in range(40)]
    for i in range(30):
        labels += [label(i, 1.0, f"p{k}", group="north") for k in range(5)]
        labels += [label(i, float(k % 2) if i < 3 else 1.0, f"q{k}", group="south") for k in range(6)]
    routed = route(gathered(labels), 5, 0)
    decided = [one.verdicts for one in routed.items]
    assert decided[0] == {"north": "settled", "south": "people differ, keep the share"}
    assert decided[20]["south"] == "settled" and decided[35] == {}
    with pytest.raises(ValueError, match="no item is left"):
        route(gathered([label(1, 0.8), label(1, 1.0, "ann")]), 5, 0)


def test_the_page_has_each_figure_or_its_sentence() -> None:
    made, _ = simulated(4, 200, range(60))
    figures = [estimate(one) for one in columns_of(made, ["new"])]
    shown = powered_page(figures, [], ["A note."])
    assert "win rate of new" in shown and "accuracy of j" in shown and "A note." in shown and "nan" not in shown.lower()
    empty, _ = simulated(4, 30, [])
    refused = powered_page([estimate(one) for one in columns_of(empty, ["new"])], [], [])
    assert "No figure" in refused and "was labelled by people" in refused
