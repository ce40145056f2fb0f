"""A run's figures, by hand."""

import sys

import numpy as np
import pytest

from critic.records import Drop, Row
from critic.statistics.agreement import PrincipleAgreement
from critic.statistics.intervals import Share
from critic.statistics.run import LENGTH_EDGES, RunStatistics
from critic.statistics.warnings import warnings
from tests.factories import both_orders, judgement, revision, row, vote


def statistics(*rows: Row) -> RunStatistics:
    counted = RunStatistics()
    for one in rows:
        counted.add(one)
    return counted


def ratio(share: Share) -> tuple[float, int]:
    return share.total, share.n


def test_position_figures_of_four_principles() -> None:
    votes = [
        *both_orders("answer", 2.0, 1.0),  # the first response in both orders: given first place, swapped second
        *both_orders("first", 2.0, -1.0),  # the first place both times
        *both_orders("second", -1.0, 3.0),  # the second place both times
        *both_orders("nothing", 0.0, 1.0),  # no position in the given order: not the same one
    ]
    counted = statistics(row(judgements=[judgement(votes, 0.7)]))
    assert ratio(counted.same_position) == (2, 4) and counted.same_first == 1
    # For the first place: answer 2, -1; first 2, 1; second -1, -3; nothing (0), -1.
    assert ratio(counted.first_lean) == (3, 7)
    assert counted.lean.total == 2 - 1 + 2 + 1 - 1 - 3 + 0 - 1 and counted.lean.n == 8
    # Given 2 + 2 - 1 + 0 = 3; swapped 1 - 1 + 3 + 1 = 4: both prefer the first response.
    assert ratio(counted.order_disagreement) == (0, 1)
    assert ratio(counted.principles["first"].same_position) == (1, 1)
    assert ratio(counted.principles["answer"].same_position) == (0, 1)


def test_label_mass_is_a_mean_over_the_votes_that_have_one() -> None:
    votes = [
        one.model_copy(update={"mass": mass}) for one, mass in zip(both_orders("a", 2.0, 1.0), (0.9, 0.3), strict=True)
    ]
    low = vote("b", None).model_copy(update={"mass": 0.0})
    counted = statistics(row(judgements=[judgement([*votes, low, vote("c", 1.0, order=None)], 0.7)]))
    assert counted.mass.n == 3 and counted.mass.total == pytest.approx(1.2)
    assert ratio(counted.low_mass) == (1, 3)
    assert any("label mass" in warning for warning in warnings(counted))
    assert not any("label mass" in warning for warning in warnings(statistics(row(judgements=[judgement(votes, 0.7)]))))


def test_orders_that_prefer_different_responses_disagree() -> None:
    counted = statistics(row(judgements=[judgement([*both_orders("a", 2.0, -1.0), *both_orders("b", 1.0, 0.5)], 0.6)]))
    assert ratio(counted.order_disagreement) == (1, 1)


def test_votes_without_an_order_have_no_position() -> None:
    counted = statistics(row(judgements=[judgement([vote("calm", 1.0, order=None)], 0.7)]))
    assert counted.same_position.n == counted.first_lean.n == counted.lean.n == counted.order_disagreement.n == 0
    assert counted.votes == 1 and ratio(counted.principles["calm"].with_outcome) == (1, 1)


def test_an_unreadable_vote_takes_its_principle_out_and_is_counted() -> None:
    votes = [*both_orders("calm", 1.0, None), *both_orders("kind", -1.0, -1.0)]
    counted = statistics(row(judgements=[judgement(votes, 0.3)]))
    assert ratio(counted.unreadable) == (1, 4)
    assert ratio(counted.principles["calm"].unreadable) == (1, 2)
    assert counted.principles["calm"].strength.n == 0
    assert counted.agreement.principles == ["kind"] and counted.same_position.n == 1


def test_longest_answer_probabilities_and_outcomes() -> None:
    def judged(first: str, second: str, p: float | None) -> Row:
        return row(0, [first, second], [judgement(both_orders("calm", 1.0, 1.0), p)])

    counted = statistics(
        judged("longer one", "short", 0.9),
        judged("longer one", "short", 0.1),
        judged("short", "longer one", 0.0),
        judged("same", "size", 1.0),
        judged("longer one", "short", 0.51),
        judged("longer one", "short", None),
    )
    assert ratio(counted.longest) == (2, 3)
    expected = [0] * 21
    for bin in (18, 2, 0, 20, 10):
        expected[bin] += 1
    assert counted.probabilities == expected
    assert counted.outcomes == {"preference": 4, "tie": 1, "unreadable": 1}
    assert counted.drops == {("pair", "tie"): 1, ("pair", "unreadable"): 1}
    assert counted.pairs == 4 and counted.rows == 6 and counted.at_half == 0
    # Chosen: longer one, short, longer one, same.
    assert counted.chosen.mean.total == 10 + 5 + 10 + 4


def test_lengths_are_binned_by_their_edges() -> None:
    counted = statistics(row(0, ["x" * 16, "abc"], [judgement(both_orders("calm", 1.0, 1.0), 0.9)]))
    assert counted.chosen.bins.index(1) == LENGTH_EDGES.index(16) + 1
    assert counted.rejected.bins[0] == 1


def test_revisions_critiques_and_other_drops_are_counted() -> None:
    cut = Drop(what="prompt", reason="truncated")
    counted = statistics(row(revisions=[[revision("calm", "New."), revision("calm", None, round=1)]], drops=[cut]))
    assert counted.revisions == {"revised": 1, "nothing_to_revise": 1}
    assert counted.critiques == {"critique": 1, "nothing_to_revise": 1}
    assert counted.drops == {("prompt", "truncated"): 1}


def test_principles_agree_on_the_comparisons_that_both_decide() -> None:
    agreement = PrincipleAgreement()
    agreement.add({"a": 1.0, "b": 2.0})
    agreement.add({"a": -1.0, "b": 2.0, "c": -0.5})
    agreement.add({"c": 1.0, "a": 0.0})
    agreement.add({"a": -3.0, "b": -1.0})
    assert agreement.principles == ["a", "b", "c"]
    assert agreement.counts().tolist() == [[3, 3, 1], [3, 3, 1], [1, 1, 2]]
    assert agreement.shares().tolist() == [[1, 2 / 3, 1], [2 / 3, 1, 0], [1, 0, 1]]


def test_principles_that_never_meet_have_no_agreement() -> None:
    agreement = PrincipleAgreement()
    agreement.add({"a": 1.0})
    agreement.add({"b": 1.0})
    assert np.isnan(agreement.shares()[0, 1])


def always_first(n: int) -> list[Row]:
    return [row(i, judgements=[judgement(both_orders("calm", 5.0, -5.0), 0.5)]) for i in range(n)]


def test_an_always_first_judge_is_named_loudly() -> None:
    sentences = list(warnings(statistics(*always_first(5))))
    assert sentences[0] == (
        "Every comparison came out at 0.5: the judge always prefers the first position (same-position rate 100 %)."
    )
    assert sentences[1].startswith("No pairs")


def test_an_always_second_judge_is_told_from_an_always_first_one() -> None:
    rows = [row(i, judgements=[judgement(both_orders("calm", -5.0, 5.0), 0.5)]) for i in range(5)]
    assert "always prefers the second position" in next(warnings(statistics(*rows)))


def test_votes_of_zero_are_no_position() -> None:
    rows = [row(i, judgements=[judgement(both_orders("calm", 0.0, 0.0), 0.5)]) for i in range(5)]
    assert "the votes say nothing" in next(warnings(statistics(*rows)))


def test_each_fault_is_said_and_a_good_run_is_silent() -> None:
    good = [row(i, judgements=[judgement(both_orders("calm", 1.0, 1.0), 0.4 if i % 2 else 0.7)]) for i in range(30)]
    assert list(warnings(statistics(*good))) == []
    assert "Rows without a result: 3" in next(warnings(statistics(*good), quarantined=3))
    leaning = [row(i, judgements=[judgement(both_orders("calm", 3.0, -1.0), 0.7)]) for i in range(30)]
    sentences = list(warnings(statistics(*leaning)))
    assert (
        "mostly prefers a position" in sentences[0] and "In 100 % of the comparisons the longer answer" in sentences[1]
    )
    unread = [row(i, judgements=[judgement([vote("calm", None)], None)]) for i in range(3)]
    assert any("could not be read" in sentence for sentence in warnings(statistics(*unread)))


def test_memory_does_not_grow_with_rows() -> None:
    def size(counted: RunStatistics) -> int:
        return sum(sys.getsizeof(v) + sys.getsizeof(getattr(v, "__dict__", 0)) for v in vars(counted).values())

    one = row(0, judgements=[judgement(both_orders("calm", 2.0, 1.0), 0.8)])
    few, many = statistics(*[one] * 20), statistics(*[one] * 2000)
    assert size(many) <= size(few) + 64  # integers grow by a digit


def test_figures_do_not_depend_on_the_order_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    rows = []
    for i in range(40):
        a, b, c, d = rng.normal(size=4)
        p = float(1 / (1 + np.exp(-(a + b + c + d) / 2)))
        rows.append(row(i, judgements=[judgement([*both_orders("x", a, b), *both_orders("y", c, d)], p)]))
    one, other = statistics(*rows), statistics(*reversed(rows))
    for name in ("same_position", "first_lean", "lean", "longest", "order_disagreement"):
        first, second = getattr(one, name).figure(), getattr(other, name).figure()
        assert (first.estimate, first.low, first.high) == pytest.approx((second.estimate, second.low, second.high))
    np.testing.assert_array_equal(one.agreement.counts(), other.agreement.counts())
