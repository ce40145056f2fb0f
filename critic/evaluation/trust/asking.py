"""A judge's answers to items that people compared: by all principles of a constitution, and some items twice."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from base.digest import unit_interval
from base.together import together
from constitution import Constitution, Principle
from critic.calls.faults import Streak
from critic.engine import Engine, EngineError
from critic.evaluation.trust.people import LabelledItem
from critic.judging.aggregate import aggregate, principle_log_odds
from critic.judging.base import Mode, Question
from critic.pipeline import principles_by_group
from critic.records import Vote
from critic.settings.judging import EXACT

IN_FLIGHT = 64
RETESTED = 40  # items that are asked again, where there are so many
SECOND_SEED = 1  # of an engine that draws: the same request would be answered from what is kept


@dataclass(frozen=True, slots=True)
class JudgeAnswer:
    """What the judge says of an item: by group of the constitution the probability that the first is better.

    ``probability`` is the mean over groups; None where nothing could be read, and then ``problem`` says why. ``again``
    is the probability when the item was asked a second time.
    """

    item: LabelledItem
    probability: float | None
    votes: tuple[Vote, ...] = ()
    by_group: dict[str, float] = field(default_factory=dict)
    again: float | None = None
    problem: str | None = None

    def by_principle(self) -> dict[str, float]:
        """Each principle's log-odds that the first is better, where it could be read."""
        return {name: odds for name, odds in principle_log_odds(self.votes).items() if name and odds is not None}


Principles = Constitution | Principle


async def ask(
    engine: Engine,
    mode: Mode,
    principles: Principles,
    items: Sequence[LabelledItem],
    on_done: Callable[[], None] = lambda: None,
    *,
    retest: int = RETESTED,
) -> list[JudgeAnswer]:
    """Have every item judged, in both orders where the mode has any; ``retest`` of them a second time.

    Raises `RunStopped` where the engine is gone, or fails every item alike.
    """
    slots, streak = asyncio.Semaphore(IN_FLIGHT), Streak()
    twice = {item.id for item in sorted(items, key=lambda item: unit_interval("again", item.id))[:retest]}

    async def one(item: LabelledItem) -> JudgeAnswer:
        async with slots:
            try:
                answer = await streak.do(lambda: _asked(engine, mode, principles, item, 0))
                if item.id in twice and answer.probability is not None:
                    second = await streak.do(lambda: _asked(engine, mode, principles, item, SECOND_SEED))
                    return _with_again(answer, second.probability)
                return answer
            except EngineError as error:
                return JudgeAnswer(item, None, problem=str(error))
            finally:
                on_done()

    return await together(one(item) for item in items)


def _with_again(answer: JudgeAnswer, again: float | None) -> JudgeAnswer:
    return JudgeAnswer(answer.item, answer.probability, answer.votes, answer.by_group, again, answer.problem)


async def _asked(engine: Engine, mode: Mode, principles: Principles, item: LabelledItem, seed: int) -> JudgeAnswer:
    votes: list[Vote] = []
    by_group: dict[str, float] = {}
    probabilities: list[float] = []
    for group, asked in _groups(principles, item).items():
        shown = item.first.text, item.second.text
        own = await mode.votes(engine, Question(item.prompt, *shown, tuple(asked), seed=seed, group=group))
        votes += own
        probability = aggregate(own, asked, EXACT).probability
        if probability is None:
            continue
        probabilities.append(probability)
        if group is not None:
            by_group[group] = probability
    if not probabilities:
        return JudgeAnswer(item, None, tuple(votes), problem="; ".join(_unread(votes)) or "no principle applies")
    return JudgeAnswer(item, sum(probabilities) / len(probabilities), tuple(votes), by_group)


def _groups(principles: Principles, item: LabelledItem) -> dict[str | None, list[Principle]]:
    if isinstance(principles, Principle):
        return {principles.group.id if principles.group else None: [principles]}
    return principles_by_group(principles, item.prompt)


def _unread(votes: Iterable[Vote]) -> list[str]:
    return [vote.raw for vote in votes if vote.raw is not None]
