"""A label needs evidence: what a model puts on any of the choices, and what a server has listed of them."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from constitution import Principle
from critic.engine import Choices, Completion, EngineError, Lane, Node, Request, Score, reads
from critic.engine_kinds.capabilities import LIKELIHOODS, LOGPROBS, NO, NONE, STRUCTURED, THINKS, YES
from critic.engines import parse_spec
from critic.judging import mode_of, settled, working
from critic.judging.base import MAX_LOG_ODDS, Question, log_odds, mass_of
from critic.judging.modes import MODES
from critic.judging.modes.sampled import parse_letter
from critic.judging.modes.score import graded
from critic.judging.modes.verdict import parse_verdict
from critic.records import Vote
from tests.factories import FakeEngine, prompt

RULE = Principle(id="kind", title="K", statement="Be kind.", critique="c", revision="r", compare="Kinder?")
ASKED = Question(prompt("PROMPT"), "FIRST", "SECOND", (RULE,), seed=0)


class Judge(FakeEngine):
    """Gives every choice the same log-probability, and writes ``text`` after ``reasoning``."""

    def __init__(
        self,
        logprob: float = -0.7,
        text: str = "A",
        reasoning: str | None = None,
        capabilities: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__("judge-1")
        self.capabilities = {LOGPROBS: "exact", **capabilities}
        self.logprob, self.text, self.reasoning = logprob, text, reasoning
        self.asked: list[Request] = []
        self.trees: list[Node] = []

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        self.asked.append(request)
        return Completion(self.text, "stop" if self.text else "length", 1, 33, self.reasoning)

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        self.trees.append(tree)
        return tuple(
            Score((self.logprob,) * len(read.texts) if isinstance(read, Choices) else (-1.0,), 1)
            for _, read, _ in reads(tree)
        )


def chat_server(**known: str) -> dict[str, str]:
    """A server without log-probabilities and structured output."""
    return {"log-probabilities": NONE, "structured output": NONE, "likelihoods of texts": NONE} | known


async def votes(mode: str, judge: Judge) -> tuple[Vote, ...]:
    return await mode_of(mode, parse_spec("scripted:s")).votes(judge, ASKED)


READING = ["logprob", "logprob?prior=true", "score", "cot"]


@pytest.mark.parametrize("mode", READING)
async def test_a_vote_says_what_the_choices_had_together(mode: str) -> None:
    judge = Judge(-3.0)
    choices = 10 if mode == "score" else 2
    for vote in await votes(mode, judge):
        assert vote.mass == pytest.approx(choices * math.exp(-3.0))


@pytest.mark.parametrize("mode", READING)
async def test_below_the_floor_a_vote_is_unreadable_and_keeps_its_mass(mode: str) -> None:
    for vote in await votes(mode, Judge(-24.0)):
        assert vote.log_odds is None and vote.values is None
        assert vote.mass == pytest.approx((10 if mode == "score" else 2) * math.exp(-24))
        assert vote.raw is not None and "below the floor of 0.1" in vote.raw


@pytest.mark.parametrize("mode", READING)
async def test_the_floor_is_an_option(mode: str) -> None:
    lower = f"{mode}{'&' if '?' in mode else '?'}floor=0"
    assert all(vote.log_odds is not None for vote in await votes(lower, Judge(-24.0)))
    higher = f"{mode}{'&' if '?' in mode else '?'}floor=1"
    assert all(vote.log_odds is None for vote in await votes(higher, Judge(-3.0)))


def test_a_mass_that_a_server_tells_is_taken() -> None:
    assert mass_of(Score((-1.0, -1.0), 1, mass=0.02)) == 0.02
    assert mass_of(Score((math.log(0.6), -math.inf), 1)) == pytest.approx(0.6)


def test_no_score_is_read_off_digits_that_have_no_probability() -> None:
    assert graded(Score((-24.0,) * 10, 1)) is None
    assert graded(Score((math.log(0.1),) * 10, 1)) == pytest.approx(5.5)


@given(st.floats(-60, 0))
def test_a_choice_that_is_not_listed_is_never_louder_than_what_is_left_allows(listed: float) -> None:
    odds = log_odds(listed, -math.inf)
    if odds is None:
        assert math.exp(listed) < 0.5
    else:
        # No way of sharing out what is left makes the odds smaller.
        left = 1 - math.exp(listed)
        assert odds >= 0
        assert odds == MAX_LOG_ODDS or odds == pytest.approx(listed - math.log(left))
        assert log_odds(-math.inf, listed) == -odds


# Letters that are drawn.


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("A", "A"),
        (" B.\n", "B"),
        ("**A**", "A"),
        ("(B)", "B"),
        ("A\n\nIt is kinder.", "A"),
        ("A better one is B", None),
        ("Response A", None),
        ("AB", None),
        ("a", None),
        ("A or B", None),
        ("", None),
        ("C", None),
        ("A1", None),
    ],
)
def test_a_letter_is_all_of_the_first_line(text: str, letter: str | None) -> None:
    assert parse_letter(text) == letter


class Draws(Judge):
    """Answers from a list, over and over."""

    def __init__(self, *texts: str) -> None:
        super().__init__()
        self.texts = texts

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        await super().complete(request, lane)
        return Completion(self.texts[(len(self.asked) - 1) % len(self.texts)], "stop")


async def test_drawn_letters_are_counted_and_never_certain() -> None:
    given, swapped = await votes("letters?samples=4", Draws("A", "A", "B", "What?"))
    assert given.log_odds == pytest.approx(math.log(2.5 / 1.5))
    assert swapped.log_odds == pytest.approx(-math.log(2.5 / 1.5))
    assert given.mass == 0.75
    sure, _ = await votes("letters?samples=8", Draws("A"))
    assert sure.log_odds == pytest.approx(math.log(8.5 / 0.5)) and sure.mass == 1


async def test_draws_have_seeds_of_their_own_and_no_letter_is_no_vote() -> None:
    judge = Draws("Neither.")
    for vote in await votes("letters", judge):
        assert (vote.log_odds, vote.mass) == (None, 0.0)
        assert vote.raw is not None and "Neither." in vote.raw
    assert len({request.seed for request in judge.asked}) == len(judge.asked) == 16
    assert {request.sampling.temperature for request in judge.asked} == {1.0}


# Servers of every manner.


@pytest.mark.parametrize("mode", ["verdict", "letters", "cot"])
async def test_a_server_with_nothing_has_modes_that_work(mode: str) -> None:
    judge = Judge(text='{"better": "A"}' if mode == "verdict" else "A", capabilities=chat_server())
    suited, mass = await settled(mode_of(mode, parse_spec("scripted:s")), judge)
    assert mass is None and not judge.asked and not judge.trees  # refusals cost nothing here
    got = await suited.votes(judge, ASKED)
    assert [vote.log_odds is not None for vote in got] == [True, True] and not judge.trees
    assert all(request.json_schema is None for request in judge.asked)


@pytest.mark.parametrize("mode", ["logprob", "score", "contrast"])
async def test_a_refusal_names_modes_that_are_not_refused(mode: str) -> None:
    judge = Judge(capabilities=chat_server())
    with pytest.raises(InputError) as refused:
        await settled(mode_of(mode, parse_spec("scripted:s")), judge)
    named = str(refused.value.fix).removeprefix("Modes that work there: ").removesuffix(".").split(", ")
    assert named == working(judge) and len(named) >= 2
    for other in named:
        await settled(mode_of(other, parse_spec("scripted:s")), judge)
    assert not judge.asked and not judge.trees


async def test_a_judge_that_thinks_first_is_told_at_opening() -> None:
    judge = Judge(-24.0)
    with pytest.raises(InputError, match=r"puts 7\.6e-11 on A, B together.* seems to think first") as refused:
        await settled(mode_of("logprob", parse_spec("scripted:s")), judge)
    assert "?think=false" in str(refused.value.fix)
    for name in ("cot", "verdict", "letters"):
        assert name in str(refused.value.fix)
        await settled(mode_of(name, parse_spec("scripted:s")), judge)
    assert [len(list(reads(tree))) for tree in judge.trees] == [1, 1]  # one read to open, for logprob and for cot


async def test_a_judge_that_answers_at_once_is_opened_with_its_mass() -> None:
    mode = mode_of("logprob", parse_spec("scripted:s"))
    suited, mass = await settled(mode, Judge(-0.7))
    assert suited == mode and mass == pytest.approx(2 * math.exp(-0.7))
    assert (await settled(mode_of("logprob?floor=0", parse_spec("scripted:s")), Judge(-24.0)))[1] is not None


async def test_what_can_not_be_tried_is_left_to_the_rows() -> None:
    class Broken(Judge):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            raise EngineError("not now")

    mode = mode_of("logprob", parse_spec("scripted:s"))
    assert await settled(mode, Broken()) == (mode, None)


async def test_cot_draws_its_letter_where_it_can_not_read_one() -> None:
    low, _ = await settled(mode_of("cot", parse_spec("scripted:s")), Judge(-24.0))
    assert low.model_dump()["letters"] == "drawn"
    for judge, mode in ((Judge(-24.0), low), (Judge(capabilities={THINKS: YES}), MODES["cot"]())):
        given, swapped = await mode.votes(judge, ASKED)
        clamped = pytest.approx(math.log(0.6 / 0.4))
        assert given.log_odds == clamped and -(swapped.log_odds or 0.0) == clamped
        assert given.mass == 1 and not judge.trees and len(judge.asked) == 4
    with pytest.raises(InputError, match="on A, B together"):
        await settled(mode_of("cot?letters=read", parse_spec("scripted:s")), Judge(-24.0))


# Thoughts.


@pytest.mark.parametrize("mode", ["verdict", "letters", "cot"])
async def test_thoughts_have_room_unless_the_engine_is_known_not_to_think(mode: str) -> None:
    limits = {}
    for thinks in (YES, NO, "unknown"):
        judge = Judge(capabilities={THINKS: thinks})
        await votes(mode, judge)
        limits[thinks] = judge.asked[0].sampling.max_tokens
    assert limits[NO] < 300 and limits[YES] == limits["unknown"] == limits[NO] + 2048
    judge = Judge(capabilities={THINKS: YES})
    await votes(f"{mode}?max_tokens=77", judge)
    assert {request.sampling.max_tokens for request in judge.asked} == {77}


@pytest.mark.parametrize("mode", ["verdict", "letters", "cot"])
async def test_thoughts_that_ate_the_limit_are_the_reason(mode: str) -> None:
    for vote in await votes(mode, Judge(text="", reasoning="Let me think", capabilities=chat_server())):
        assert vote.log_odds is None
        assert vote.raw is not None and "the limit of 33 tokens was reached before an answer" in vote.raw


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('```json\n{"better": "A"}\n```', "A"),
        ('\n```\n{"better": "tie"}\n```\n', "tie"),
        ('```json\n{"better": "A"}\n```\nBecause.', None),
        ('```python\n{"better": "A"}\n```', None),
        ('```json\n```json\n{"better": "A"}\n```\n```', None),
        ('Here: {"better": "A"}', None),
    ],
)
def test_one_fence_around_a_verdict_is_no_part_of_it(text: str, verdict: str | None) -> None:
    assert parse_verdict(text) == verdict


def test_capabilities_that_modes_need_are_named_as_engines_name_them() -> None:
    known = {LOGPROBS, LIKELIHOODS, STRUCTURED}
    assert {name for mode in MODES.values() for name in mode.needs} <= known
