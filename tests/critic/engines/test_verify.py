"""The `verify` engine: rules by hand, several joined, its rewards as votes, and rules that don't parse."""

from collections.abc import Callable

import pytest

from base.errors import InputError
from critic.engine import Choices, EngineError, Node, Request, Reward, Sampling
from critic.engines import open_engine, parse_spec
from critic.engines.verify import WORTH
from critic.engines.verify import open_engine as open_rule
from critic.judging import mode_of
from critic.judging.base import Question
from critic.local.rewards import heads_of
from critic.records import Message
from tests.factories import prompt


@pytest.mark.parametrize(
    ("rule", "holds", "fails"),
    [
        ("ends-with=?", "Why so?  \n", "Why? Because."),
        ("contains=C++", "I like C++.", "I like C."),
        ("max-words=3", "one two  three", "one two three four"),
        ("min-words=2", "one two", "one"),
        ("min-words=2+ends-with=?", "Really so?", "So?"),
        ("contains=a+b=c+max-words=2", "a+b=c", "a b"),
    ],
)
def test_rules(rule: str, holds: str, fails: str) -> None:
    engine = open_rule(rule, {})
    assert engine.holds(holds) and not engine.holds(fails)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("short", "'short' is no rule"),
        ("max-word=3", "'max-word=3' is no rule"),
        ("max-words=few", "max-words=few is not a number"),
        ("max-words=-3", "is not a number"),
        ("ends-with=", "ends-with has no value"),
        ("max-words=3+smile=1", "is not a number of words"),
    ],
)
def test_rules_that_do_not_parse_are_told(rule: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        open_engine(parse_spec(f"verify:{rule}"))


def test_a_spec_keeps_its_question_mark() -> None:
    spec = parse_spec("verify:ends-with=?+max-words=4")
    assert (spec.target, spec.options, str(spec)) == (
        "ends-with=?+max-words=4",
        (),
        "verify:ends-with=?+max-words=4",
    )
    with pytest.raises(InputError, match="Write verify:RULE"):
        parse_spec("verify:")


async def test_rewards_are_read_at_the_assistants_turn_in_the_order_of_the_tree() -> None:
    engine = open_rule("contains=yes", {})
    parts = [Node((_says("ye"), _says(text)), Reward()) for text in ("s.", "t.")]
    tree = Node(prompt("yes?").messages, children=tuple(parts))
    assert [score.values for score in await engine.score(tree)] == [(WORTH,), (0.0,)]
    assert engine.usage.calls == 2 and heads_of(engine.capabilities) == ("reward",)


@pytest.mark.parametrize(("first", "second", "odds"), [("Why?", "So.", 4.0), ("So.", "Why?", -4.0), ("A", "B", 0.0)])
async def test_it_votes_in_the_mode_of_reward_models(first: str, second: str, odds: float) -> None:
    spec = parse_spec("verify:ends-with=?")
    votes = await mode_of(None, spec).votes(open_engine(spec), Question(prompt(), first, second, (), 0))
    assert [(vote.log_odds, vote.principle) for vote in votes] == [(odds, None)]


async def test_it_writes_nothing_and_reads_no_letters() -> None:
    engine = open_rule("contains=a", {})
    asked: list[Callable[[], object]] = [
        lambda: engine.complete(Request(prompt().messages, Sampling(1), 0)),
        lambda: engine.score(Node(prompt().messages, Choices(("A", "B")))),
    ]
    for ask in asked:
        with pytest.raises(EngineError):
            await ask()  # type: ignore[misc]


def test_no_other_mode_can_ask_it() -> None:
    with pytest.raises(InputError, match="can't be asked in mode logprob"):
        mode_of("logprob", parse_spec("verify:contains=a"))


def _says(text: str) -> Message:
    return Message(role="assistant", content=text)
