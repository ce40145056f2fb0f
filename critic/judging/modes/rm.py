"""Reward models as judges: which response has the greater reward, and by how much.

The vote is the difference of the two rewards, which is the log-odds that the first is better under the model that
reward models are trained by (Bradley & Terry 1952). They read no principle: their values are those of the preferences
that they were trained on, so a comparison has one vote. One tree a comparison: prompt -> the two responses.
"""

import math
from typing import ClassVar

from constitution import Principle
from critic.engine import Engine, EngineError, Lane, Node, Reward
from critic.engine_kinds.kind import Gives
from critic.judging.base import Mode, Question
from critic.local.rewards import head_of, heads_of
from critic.records import Message, Vote


class Rm(Mode):
    """The mode ``rm``."""

    name: ClassVar[str] = "rm"
    reads: ClassVar[Gives] = "rewards"

    def asked_by(self, principle: Principle) -> tuple[object, ...] | None:
        """See `Mode.asked_by`."""
        return None

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Read the rewards of both responses, from the head of the question's group.

        `EngineError` where the reward model has no such head: another group's is not its opinion.
        """
        heads, wanted = heads_of(engine.capabilities), head_of(question.group)
        if wanted not in heads:
            asked = f"group {question.group!r}" if question.group else "principles of no group"
            raise EngineError(
                f"the reward model {engine.identity.name} has no head for {asked}; its heads: {', '.join(heads)}"
            )
        first, second = [score.values[heads.index(wanted)] for score in await engine.score(_tree(question), lane)]
        odds = first - second if math.isfinite(first) and math.isfinite(second) else None
        raw = f"rewards: {first} and {second}"
        return (self.vote(engine, None, odds, values=(first, second), raw=raw),)


def _tree(question: Question) -> Node:
    answers = (question.first, question.second)
    read = tuple(Node((Message(role="assistant", content=text),), Reward()) for text in answers)
    return Node(question.prompt.messages, children=read)
