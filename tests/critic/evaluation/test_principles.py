"""A constitution under test: faults that are planted are found, and clean votes raise no alarm."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from constitution import Constitution
from critic.evaluation.principles.ambiguity import ambiguities
from critic.evaluation.principles.findings import FindingLimits, Findings, examine, plain, sentences
from critic.evaluation.principles.redundancy import relations
from critic.evaluation.principles.report import report
from critic.evaluation.principles.table import VoteTable
from critic.judging.aggregate import aggregate
from critic.records import Judgement, Order, Response, Row, Vote
from critic.settings.judging import Pooling
from tests.factories import prompt, small_constitution

POOLING = Pooling()
ORDERS: tuple[tuple[Order, int], ...] = (("given", 1), ("swapped", -1))


def made(principles: int) -> Constitution:
    return Constitution.model_validate(small_constitution(principles))


def votes(
    constitution: Constitution, odds: Sequence[float | None], judge: str = "j", spread: float = 0.0
) -> list[Vote]:
    """Two votes a principle, one an order, ``spread`` apart; None is unreadable."""
    return [
        Vote(
            principle=principle.id,
            principle_digest=principle.digest,
            judge=judge,
            mode="logprob",
            order=order,
            log_odds=None if value is None else value + sign * spread,
            raw=None if value is not None else "no letter",
        )
        for principle, value in zip(constitution.principles, odds, strict=True)
        for order, sign in ORDERS
    ]


def row(constitution: Constitution, number: int, cast: Sequence[Vote]) -> Row:
    verdict = aggregate(cast, constitution.principles, POOLING)
    judgement = Judgement(
        first=0,
        second=1,
        mode="logprob",
        judge="j",
        votes=tuple(cast),
        outcome=verdict.outcome,
        probability=verdict.probability,
    )
    answers = tuple(Response(text=f"{which} answer {number}", model="m") for which in ("one", "other"))
    return Row(
        row=number,
        where=f"f:{number}",
        prompt=prompt(f"question {number}"),
        chains=(),
        candidates=answers,
        judgements=(judgement,),
        pairs=(),
    )


def run(constitution: Constitution, odds: Any) -> VoteTable:
    return VoteTable.of(
        (row(constitution, n, votes(constitution, list(one))) for n, one in enumerate(odds)), constitution
    )


def findings(constitution: Constitution, table: VoteTable) -> Findings:
    return examine(table, constitution, POOLING)


def quality(rng: np.random.Generator, prompts: int, principles: int) -> np.ndarray:
    """Votes of principles that mostly agree, for some answers are better, each with a view of its own."""
    return np.asarray(rng.normal(size=(prompts, 1)) + rng.normal(size=(prompts, principles)))


def test_what_leaving_a_principle_out_changes_is_counted_by_hand() -> None:
    """p0 says yes with 3, p1 no with 1, p2 no with 1: together yes; without p0 the other answer is preferred."""
    constitution = made(3)
    table = run(constitution, [(3.0, -1.0, -1.0)] * 30 + [(0.1, 0.2, 0.1)] * 10)
    by_principle = {one.principle: one for one in findings(constitution, table).influences}
    assert by_principle["p0"].decides is not None and by_principle["p0"].flips is not None
    assert by_principle["p0"].flips.estimate == 0.75 and by_principle["p0"].decides.estimate == 0.75
    assert len(by_principle["p0"].flipped) == 30 and by_principle["p0"].flipped[0].where == "f:0"
    assert by_principle["p1"].flips is not None and by_principle["p1"].flips.estimate == 0
    assert by_principle["p1"].with_outcome is not None and by_principle["p1"].with_outcome.estimate == 0.25
    assert by_principle["p1"].speaks is not None and by_principle["p1"].speaks.estimate == 0.75


def test_comparisons_that_no_principle_speaks_to_are_named() -> None:
    constitution = made(2)
    table = run(constitution, [(2.0, 0.0)] * 30 + [(0.1, -0.3)] * 10)
    coverage = findings(constitution, table).coverage
    assert coverage.silent is not None and coverage.silent.estimate == 0.25
    assert [place.row for place in coverage.places] == list(range(30, 40))


def test_a_duplicate_is_found_among_principles_that_all_mostly_agree() -> None:
    rng, constitution = np.random.default_rng(0), made(6)
    odds = quality(rng, 80, 6)
    odds[:, 4] = odds[:, 1] + 0.2 * rng.normal(size=80)
    tested = findings(constitution, run(constitution, odds))
    assert [(one.one, one.other) for one in tested.duplicates] == [("p1", "p4")] and not tested.contradictions
    assert any("p1 and p4 say the same" in sentence for sentence in sentences(tested))


def test_a_contradiction_is_found() -> None:
    rng, constitution = np.random.default_rng(1), made(5)
    odds = quality(rng, 80, 5)
    odds[:, 3] = -odds[:, 0] + 0.3 * rng.normal(size=80)
    tested = findings(constitution, run(constitution, odds))
    opposed = sorted(tested.contradictions, key=lambda one: one.alike.estimate)
    assert (opposed[0].one, opposed[0].other) == ("p0", "p3") and not tested.duplicates
    assert all("p3" in (one.one, one.other) for one in opposed), "it is against what all others are for"
    assert any("p0 and p3 contradict each other" in sentence for sentence in sentences(tested))


@pytest.mark.slow
def test_clean_votes_hold_neither_duplicates_nor_contradictions_nor_ambiguous_clauses() -> None:
    rng, constitution = np.random.default_rng(2), made(6)
    alarms = [0, 0, 0]
    for _ in range(80):
        table = two_readers(constitution, quality(rng, 30, 6), np.full(6, 0.5), rng)
        related = relations(table)
        alarms[0] += any(one.is_duplicate for one in related)
        alarms[1] += any(one.is_contradiction for one in related)
        alarms[2] += any(one.is_ambiguous for one in ambiguities(table)[0])
    assert max(alarms) <= 4, alarms


def two_readers(constitution: Constitution, odds: Any, noise: Any, rng: np.random.Generator) -> VoteTable:
    """Two judges that read each principle with its own noise."""
    rows = []
    for number, one in enumerate(odds):
        cast = [
            vote
            for judge in ("a", "b")
            for vote in votes(constitution, list(one + noise * rng.normal(size=len(one))), judge)
        ]
        rows.append(row(constitution, number, cast))
    return VoteTable.of(rows, constitution)


def test_ten_ambiguous_clauses_are_told_from_ten_clear_ones() -> None:
    rng, constitution = np.random.default_rng(3), made(20)
    noise = np.array([1.5] * 10 + [0.5] * 10)
    ambiguous, why = ambiguities(two_readers(constitution, quality(rng, 60, 20), noise, rng))
    assert not why
    scores = {one.principle: one.times for one in ambiguous}
    planted = [scores[f"p{i}"] for i in range(10)]
    clear = [scores[f"p{i}"] for i in range(10, 20)]
    auc = sum((a > b) + (a == b) / 2 for a in planted for b in clear) / 100
    assert auc > 0.9


def test_one_judge_asked_once_tells_no_ambiguity_and_a_second_run_does() -> None:
    rng, constitution = np.random.default_rng(4), made(4)
    odds = quality(rng, 40, 4)
    table = run(constitution, odds)
    assert "One judge" in ambiguities(table)[1]
    again = odds + np.array([2.0, 0.1, 0.1, 0.1]) * rng.normal(size=odds.shape)
    rows = [row(constitution, n, votes(constitution, list(one))) for n, one in enumerate(again)]
    turned = [one.model_copy(update={"candidates": one.candidates[::-1]}) for one in rows]
    other = run(constitution, odds)
    assert table.add_readers(rows, "again") == 40 and other.add_readers(turned, "again") == 40
    assert [one.principle for one in ambiguities(table)[0] if one.is_ambiguous] == ["p0"]
    mixed = [one.judgements[0] for one in rows]
    assert other.comparisons[0].readings["p1"][("again", "j", "logprob")] == pytest.approx(
        -math.fsum(v.log_odds or 0 for v in mixed[0].votes if v.principle == "p1") / 2
    )


def test_votes_under_another_wording_do_not_count() -> None:
    old, new = made(2), made(2)
    changed = new.principles[0].model_copy(update={"compare": "Which is kinder?"})
    new = new.model_copy(update={"principles": (changed, new.principles[1])})
    rows = [row(old, n, votes(old, (2.0, -1.0))) for n in range(30)]
    tested = findings(new, VoteTable.of(rows, new))
    first, second = tested.influences
    assert (first.read, first.stale) == (0, 60) and (second.read, second.stale) == (30, 0)
    assert any("No vote counts for p0" in sentence for sentence in sentences(tested))


def test_unreadable_votes_and_few_prompts_give_sentences_and_no_nan() -> None:
    constitution = made(2)
    tested = findings(constitution, run(constitution, [(None, None)] * 3))
    assert sentences(tested) == ["No more than 3 prompts: nothing can be said of fewer than 20."]
    assert not tested.relations and tested.coverage.unreadable == 3
    assert "NaN" not in str(plain(tested))


def test_limits_are_broken_by_what_is_beyond_them_and_by_what_is_not_known() -> None:
    rng, constitution = np.random.default_rng(0), made(6)
    odds = quality(rng, 80, 6)
    odds[:, 4] = odds[:, 1]
    tested = findings(constitution, run(constitution, odds))
    assert not FindingLimits(duplicates=1, contradictions=0, silent=1.0, flips=0.2).broken(tested, 0.2)
    assert FindingLimits(duplicates=0).broken(tested) == ["duplicates: 1, and the limit is 0"]
    assert FindingLimits(flips=0.1).broken(tested, 0.25) == ["flips: 25.0 %, and the limit is 10 %"]
    assert "not known" in FindingLimits(flips=0.1).broken(tested, None)[0]
    assert "not known" in FindingLimits(ambiguous=0).broken(tested)[0]


@pytest.mark.parametrize("limit", [{"duplicates": 5}, {"contradictions": 5}, {"ambiguous": 5}, {"silent": 1.0}])
def test_few_prompts_hold_no_limit_and_draw_nothing(limit: dict[str, float]) -> None:
    rng, constitution = np.random.default_rng(0), made(3)
    tested = findings(constitution, run(constitution, quality(rng, 5, 3)))
    [sentence] = FindingLimits(**limit).broken(tested)  # type: ignore[arg-type]  # the shares among them are floats
    assert "not known" in sentence
    shown = report(tested, (), ())
    assert "<svg" not in shown and "neither" not in shown


def test_the_page_shows_what_was_found_and_escapes_it() -> None:
    rng, constitution = np.random.default_rng(0), made(3)
    odds = quality(rng, 40, 3)
    odds[:, 2] = -odds[:, 1]
    text = report(findings(constitution, run(constitution, odds)), (), ["<b>duplicates</b>: 1"])
    assert "contradict each other" in text and "<b>duplicates" not in text and "<svg" in text
