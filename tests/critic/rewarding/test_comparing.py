"""Rewards within a group: sparse tournaments, strengths with errors, and nothing made up for what can't be read."""

import asyncio
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest

from constitution import Constitution
from critic.engine import Engine, EngineError, Lane, Node, Score, reads
from critic.judging.base import Mode, Question
from critic.judging.modes.score import DIGITS
from critic.records import Order, Vote
from critic.rewarding import sources, tournament
from critic.rewarding.comparing import ComparisonRewards
from critic.rewarding.grade import Grade
from tests.factories import FakeEngine, prompt, small_constitution

ORDERS: tuple[tuple[Order, int], ...] = (("given", 1), ("swapped", -1))
PRINCIPLES = Constitution.model_validate(small_constitution(2)).principles


class Planted(Mode):
    """Knows how good an answer is: a number is its text. The first one shown gets ``bias`` log-odds more."""

    bias: float = 0.0
    unread: tuple[frozenset[str], ...] = ()
    broken: tuple[frozenset[str], ...] = ()
    name: ClassVar[str] = "planted"

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        pair = frozenset((question.first, question.second))
        if pair in self.broken:
            raise EngineError("it is broken")
        odds = float(question.first) - float(question.second)
        return tuple(
            self.vote(engine, p, None if pair in self.unread else odds + sign * self.bias, raw="?", order=order)
            for p in question.principles
            for order, sign in ORDERS
        )


def compared(texts: Sequence[str], opponents: int = 2, **mode: object) -> list[Grade]:
    source = ComparisonRewards(FakeEngine(), Planted.model_validate(mode), PRINCIPLES, opponents)
    return asyncio.run(source.grades(prompt(), texts))


@pytest.mark.parametrize("count", [2, 3, 5, 8, 16])
@pytest.mark.parametrize("opponents", [1, 2, 3, 4])
def test_a_tournament_is_sparse_and_connected_with_any_one_result_missing(count: int, opponents: int) -> None:
    met = tournament.pairs(count, opponents, seed=7)
    assert len(set(met)) == len(met) <= count * ((max(opponents, 2) + 1) // 2)
    each = []
    for i in range(count):
        each.append(sum(i in pair for pair in met))
    assert min(each) >= min(count - 1, opponents)
    assert met == tournament.pairs(count, opponents, 7) != tournament.pairs(9, 2, 8)
    for missing in met if count > 2 else ():
        fitted = tournament.strengths(count, [(a, b, 0.6) for a, b in met if (a, b) != missing])
        assert fitted is not None and len(fitted.members) == count


def test_rewards_are_the_planted_strengths_whatever_the_order_shown() -> None:
    texts = ["0.5", "2", "1", "-1.5", "0"]
    for bias in (0.0, 1.0):
        grades = compared(texts, bias=bias)
        rewards = np.array([grade.reward for grade in grades], dtype=float)
        wanted = np.array([float(text) for text in texts])
        assert rewards == pytest.approx(wanted - wanted.mean(), abs=1e-4)
        assert all(grade.error is not None and 0.5 < grade.error < 3 for grade in grades)


def test_errors_are_those_of_the_information_matrix_and_fall_with_more_comparisons() -> None:
    """Of two answers and one game at p: the difference has the variance 1 / (p (1 - p)), each strength a quarter."""
    fitted = tournament.strengths(2, [(0, 1, 0.7)])
    assert fitted is not None
    assert fitted.strengths == pytest.approx((math.log(7 / 3) / 2, -math.log(7 / 3) / 2))
    assert fitted.errors == pytest.approx([math.sqrt(1 / (0.7 * 0.3)) / 2] * 2)
    texts = [str(i / 8) for i in range(8)]
    sparse, dense = compared(texts, 2), compared(texts, 7)
    expected = min(g.error or 0 for g in sparse)
    assert max(g.error or 9 for g in dense) < expected


def test_equal_answers_are_one_and_a_group_of_one_has_nothing_to_compare() -> None:
    grades = compared(["1", "0", "1"])
    assert grades[0] == grades[2] and (grades[0].reward or 0) > 0
    assert [grade.reward for grade in compared(["3", "3"])] == [0.0, 0.0]
    [alone] = compared(["1"])
    assert alone.reward is None and "no other answer" in alone.problem


def test_what_can_t_be_read_is_left_out_and_never_a_number() -> None:
    all_of = frozenset({"0", "1"}), frozenset({"0", "2"}), frozenset({"0", "3"})
    for how in ("unread", "broken"):
        grades = compared(["0", "1", "2", "3"], 3, **{how: all_of})
        assert grades[0].reward is None and "no comparison that could be read" in grades[0].problem
        assert ("what came back" in grades[0].problem) is (how == "unread")
        assert [grade.reward for grade in grades[1:]] == pytest.approx([-1, 0, 1], abs=1e-4)
    assert all(g.reward is None for g in compared(["0", "1"], unread=[{"0", "1"}]))
    with pytest.raises(EngineError, match="it is broken"):
        compared(["0", "1"], broken=[{"0", "1"}])


class Marks(FakeEngine):
    """Keeps the pages that it was shown; every score is 5."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[str, set[str]] = {}

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        scores = []
        for path, read, _ in reads(tree):
            assert read == DIGITS
            page = "".join(message.content for message in path)
            key = next(text for text in ("alone", "beside", "third") if text in page)
            self.pages.setdefault(key, set()).add(page)
            scores.append(Score(tuple(0.0 if i == 4 else -math.inf for i in range(10)), 1))
        return tuple(scores)


def test_an_answer_is_graded_on_the_same_page_whoever_its_siblings_are() -> None:
    """The mark that fences an answer off is fixed by the prompt: siblings changed it once, and so the page."""
    engine = Marks()
    source = sources.JudgeRewards(engine, PRINCIPLES[:1])
    asyncio.run(source.grades(prompt(), ["alone"]))
    asyncio.run(source.grades(prompt(), ["alone", "beside"]))
    asyncio.run(source.grades(prompt(), ["third", "beside", "alone"]))
    assert {name: len(pages) for name, pages in engine.pages.items()} == {"alone": 1, "beside": 1, "third": 1}


def test_an_answer_that_holds_the_mark_gets_another_one() -> None:
    engine = Marks()
    source = sources.JudgeRewards(engine, PRINCIPLES[:1])
    forged = f"alone {sources._mark(prompt(), 'alone')}"
    grades = asyncio.run(source.grades(prompt(), [forged, "beside"]))
    assert [grade.reward for grade in grades] == [5.0, 5.0]
    assert sources._mark(prompt(), forged) != sources._mark(prompt(), "beside")
