"""What a policy answers, and how likely it is to say a text: all that is asked of it, once, through a ledger."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from base.digest import seed_of
from base.together import together
from critic.calls.faults import Streak
from critic.engine import Engine, EngineError, Node, OwnTokens, Request, Sampling
from critic.records import Message, Prompt

IN_FLIGHT = 64

Texts = tuple[str | None, ...]
"""A prompt's answers, sample by sample; None where there was none: the prompt is too long for the model, say."""


async def answers(
    engine: Engine,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    samples: int,
    seed: int,
    on_done: Callable[[], None] = lambda: None,
) -> list[Texts]:
    """Ask for ``samples`` answers to each prompt. Raises `RunStopped` where the engine is gone, or fails all alike."""
    slots, streak = asyncio.Semaphore(IN_FLIGHT), Streak()

    async def one(prompt: Prompt, number: int) -> str | None:
        request = Request(prompt.messages, sampling, seed_of(seed, prompt.key, "evaluate", number))
        async with slots:
            try:
                return (await streak.do(lambda: engine.complete(request))).text.strip() or None
            except EngineError:  # counted as unanswered
                return None
            finally:
                on_done()

    given = await together(one(prompt, number) for prompt in prompts for number in range(samples))
    return [tuple(given[i : i + samples]) for i in range(0, len(given), samples)]


@dataclass(frozen=True, slots=True)
class TextLikelihood:
    """A text's summed log-probability after its prompt, in nats, and its tokens."""

    summed: float
    tokens: int


async def likelihoods(
    engine: Engine, prompts: Sequence[Prompt], texts: Sequence[Texts], on_done: Callable[[], None] = lambda: None
) -> list[tuple[TextLikelihood | None, ...]]:
    """Read how likely each text is under ``engine``; None for no text, and where it can't be read."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(prompt: Prompt, text: str | None) -> TextLikelihood | None:
        if text is None:
            return None
        tree = Node(prompt.messages, children=(Node((Message(role="assistant", content=text),), OwnTokens()),))
        async with slots:
            try:
                [score] = await engine.score(tree)
            except EngineError:  # too long for the model, say: no likelihood
                return None
            finally:
                on_done()
        summed = score.values[0]
        return TextLikelihood(summed, score.tokens) if math.isfinite(summed) and score.tokens else None

    read = iter(await together(one(prompt, text) for prompt, own in zip(prompts, texts, strict=True) for text in own))
    by_prompt = []
    for own in texts:
        by_prompt.append(tuple(next(read) for _ in own))
    return by_prompt
