"""The mode ``rm``: rewards to votes, by hand."""

import math

import pytest

from constitution import Principle
from critic.engine import EngineError, Lane, Node, Reward, Score, reads
from critic.engines import parse_spec
from critic.judging import mode_of
from critic.judging.aggregate import aggregate
from critic.judging.base import MAX_LOG_ODDS, Mode, Question
from critic.judging.modes.rm import Rm
from critic.local.rewards import capability
from critic.settings.judging import Pooling
from tests.factories import FakeEngine, prompt

KIND = Principle(id="kind", title="K", statement="Be kind.", critique="c", revision="r", compare="Kinder?")
SHORT = Principle(id="short", title="S", statement="Be short.", critique="c", revision="r", compare="Shorter?")


class Rewards(FakeEngine):
    """Gives each response the rewards that a table has for it, one a head."""

    def __init__(self, rewards: dict[str, tuple[float, ...]], heads: tuple[str, ...] = ("reward",)) -> None:
        super().__init__("rewards")
        self.rewards, self.capabilities = rewards, capability(heads)
        self.trees: list[Node] = []

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        self.trees.append(tree)
        return tuple(Score(self.rewards[path[-1].content], 3) for path, _, _ in reads(tree))


def question(group: str | None = None) -> Question:
    return Question(prompt("PROMPT"), "FIRST", "SECOND", (KIND, SHORT), seed=0, group=group)


async def test_the_vote_is_the_difference_of_the_rewards() -> None:
    """3 - 1.5 = 1.5 log-odds: a probability of 1 / (1 + exp(-1.5)) = 0.8176, whatever the principles are."""
    engine = Rewards({"FIRST": (3.0,), "SECOND": (1.5,)})
    [vote] = await Rm().votes(engine, question())
    assert (vote.log_odds, vote.values, vote.order) == (1.5, (3.0, 1.5), None)
    assert (vote.principle, vote.principle_digest, vote.judge, vote.mode) == (None, None, "rewards", "rm")
    verdict = aggregate([vote], [KIND, SHORT], Pooling())
    assert verdict.outcome == "preference"
    assert verdict.probability == pytest.approx(0.8176, abs=1e-4)


async def test_both_responses_are_read_once_after_the_same_prompt() -> None:
    engine = Rewards({"FIRST": (0.0,), "SECOND": (0.0,)})
    await Rm().votes(engine, question())
    [tree] = engine.trees
    (first, *_), (second, *_) = reads(tree)
    assert [message.content for message in first] == ["PROMPT", "FIRST"]
    assert [message.content for message in second] == ["PROMPT", "SECOND"]
    assert [read for _, read, _ in reads(tree)] == [Reward(), Reward()]
    assert tree.messages == prompt("PROMPT").messages


@pytest.mark.parametrize(("group", "log_odds"), [("north", 2.0), ("south", -3.0), (None, 0.5)])
async def test_each_group_has_its_own_head(group: str | None, log_odds: float) -> None:
    engine = Rewards({"FIRST": (2.0, 1.0, 0.75), "SECOND": (0.0, 4.0, 0.25)}, heads=("north", "south", "reward"))
    [vote] = await Rm().votes(engine, question(group))
    assert vote.log_odds == log_odds


@pytest.mark.parametrize(
    ("heads", "group", "problem"),
    [
        (("reward",), "north", "no head for group 'north'; its heads: reward"),
        (("north", "south"), "west", "no head for group 'west'; its heads: north, south"),
        (("north", "south"), None, "no head for principles of no group; its heads: north, south"),
    ],
)
async def test_another_groups_head_is_not_taken(heads: tuple[str, ...], group: str | None, problem: str) -> None:
    engine = Rewards({"FIRST": (1.0,) * len(heads), "SECOND": (0.0,) * len(heads)}, heads)
    with pytest.raises(EngineError, match=problem):
        await Rm().votes(engine, question(group))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
async def test_a_reward_that_is_no_number_is_unreadable(bad: float) -> None:
    for rewards in ((bad, 1.0), (1.0, bad), (bad, bad)):
        [vote] = await Rm().votes(Rewards({"FIRST": rewards[:1], "SECOND": rewards[1:]}), question())
        assert (vote.log_odds, vote.values) == (None, None)
        assert vote.raw is not None and str(bad) in vote.raw


async def test_rewards_far_apart_give_a_finite_vote() -> None:
    [vote] = await Rm().votes(Rewards({"FIRST": (-4000.0,), "SECOND": (1000.0,)}), question())
    assert (vote.log_odds, vote.values) == (-MAX_LOG_ODDS, (-4000.0, 1000.0))


def test_it_is_the_mode_of_reward_models_alone() -> None:
    default: Mode = mode_of(None, parse_spec("rm:folder"))
    assert default == Rm()
