"""Likelihood contrast: how much more likely a response becomes under a principle. Needs no instruction following.

For a response y to a prompt x and a principle r with opposite r', the contrast is one of

    opposite   log p(y | x, r) - log p(y | x, r')      (where r has no opposite, p(y | x) stands in its place)
    none       log p(y | x, r) - log p(y | x)
    prompt     log p(y | x) - log p(y)                 (reads no principle: one vote a comparison)

per token or in total. The vote for the first of two responses is ``scale`` times the difference of their contrasts.
With ``weights=FILE`` it is a linear model over all of these, fitted on people's labels: `critic.judging.linear`.

One tree a comparison: prompt -> principle, opposite or neither -> the two responses; and the responses to no prompt.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from constitution import Principle
from critic import prompts
from critic.engine import Engine, Lane, Node, OwnTokens, Score
from critic.engine_kinds.capabilities import LIKELIHOODS
from critic.judging.base import Mode, Question
from critic.judging.linear import LinearModel, read_model
from critic.records import Message, Vote

Against = Literal["opposite", "none", "prompt"]
Per = Literal["token", "total"]

# From nats to log-odds, unless told: typical contrasts are hundredths of a nat per token, or a few nats in total.
# The scale moves no decision but the tie band's, only how sure a label says that it is.
SCALES: dict[Per, float] = {"token": 10.0, "total": 1.0}

_OWN = OwnTokens()


class Contrast(Mode):
    """The mode ``contrast``."""

    name: ClassVar[str] = "contrast"
    needs: ClassVar[tuple[str, ...]] = (LIKELIHOODS,)
    against: Against = "opposite"
    per: Per = "token"
    scale: float | None = Field(default=None, gt=0)
    weights: Annotated[LinearModel | None, BeforeValidator(read_model)] = None

    def asked_by(self, principle: Principle) -> tuple[object, ...] | None:
        """See `Mode.asked_by`."""
        if self.weights is not None:
            return principle.statement, principle.opposite
        if self.against == "prompt":
            return None
        return (principle.statement,) if self.against == "none" else (principle.statement, principle.opposite)

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Read both responses' likelihoods in every frame that the contrast needs."""
        against = None if self.weights is not None else self.against
        frames = frames_of(question.principles, against)
        scores = iter(await engine.score(tree(question, frames), lane))
        likelihoods = {frame: _both(scores) for frame in frames}
        if self.weights is None and self.against == "prompt":
            return (self._vote(engine, None, likelihoods),)
        return tuple(self._vote(engine, principle, likelihoods) for principle in question.principles)

    def _vote(self, engine: Engine, principle: Principle | None, likelihoods: "Likelihoods") -> Vote:
        if self.weights is not None:
            odds = self.weights.log_odds(features(principle, likelihoods))
        else:
            scale = SCALES[self.per] if self.scale is None else self.scale
            odds = scale * _contrast(self.against, self.per, principle, likelihoods)
        raw = f"log-likelihoods and tokens of both responses: {_relevant(principle, likelihoods)}"
        return self.vote(engine, principle, odds if math.isfinite(odds) else None, raw=raw)


@dataclass(frozen=True, slots=True)
class Frame:
    """What a response's likelihood is read under: a principle, its opposite, neither, or not even the prompt."""

    kind: Literal["plain", "under", "against", "alone"]
    principle: Principle | None = None


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Log-likelihood of a response in nats, and its tokens."""

    total: float
    tokens: int

    def per(self, per: Per) -> float:
        """Return the total, or the mean per token."""
        return self.total if per == "total" else self.total / max(1, self.tokens)


Likelihoods = dict[Frame, tuple[Likelihood, Likelihood]]


def frames_of(principles: tuple[Principle, ...], against: Against | None = None) -> tuple[Frame, ...]:
    """What the responses' likelihoods are read under, in the order of the tree; without ``against``, everything."""
    lacking = any(principle.opposite is None for principle in principles)
    frames = [Frame("plain")] if against != "opposite" or lacking else []
    for principle in principles if against != "prompt" else ():
        frames.append(Frame("under", principle))
        if against != "none" and principle.opposite is not None:
            frames.append(Frame("against", principle))
    return (*frames, Frame("alone")) if against in (None, "prompt") else tuple(frames)


def tree(question: Question, frames: tuple[Frame, ...]) -> Node:
    """The comparison as one tree, whose reads are both responses in each of ``frames``, in order."""
    responses = tuple(
        Node((Message(role="assistant", content=text),), _OWN) for text in (question.first, question.second)
    )
    under: list[Node] = []
    for frame in frames:
        if frame.kind == "plain":
            under += responses
        elif frame.principle is not None:
            part = prompts.under_part if frame.kind == "under" else prompts.against_part
            under.append(Node((part(frame.principle),), children=responses))
    # Under one root in every case, so that a ledger knows a read again whatever else was asked with it.
    with_prompt = Node(question.prompt.messages, children=tuple(under))
    alone = (Node((prompts.no_prompt(),), children=responses),) if frames[-1].kind == "alone" else ()
    return Node((), children=(with_prompt, *alone))


async def read_features(engine: Engine, question: Question, lane: Lane = "batch") -> list[dict[str, float]]:
    """Return what a linear model sees of each principle's comparison."""
    frames = frames_of(question.principles)
    scores = iter(await engine.score(tree(question, frames), lane))
    likelihoods = {frame: _both(scores) for frame in frames}
    return [features(principle, likelihoods) for principle in question.principles]


def features(principle: Principle | None, likelihoods: Likelihoods) -> dict[str, float]:
    """What a linear model sees of a comparison: every contrast, per token and in total, and the lengths."""
    first, second = likelihoods[Frame("plain")]
    values = {
        f"{against}_{per}": _contrast(against, per, principle, likelihoods)
        for against in ("opposite", "none", "prompt")
        for per in SCALES
    }
    return values | {"length": math.log((1 + first.tokens) / (1 + second.tokens))}


def _contrast(against: Against, per: Per, principle: Principle | None, likelihoods: Likelihoods) -> float:
    """Return the first response's contrast minus the second's."""
    plain = Frame("plain")
    match against:
        case "prompt":
            one, other = likelihoods[plain], likelihoods[Frame("alone")]
        case "none":
            one, other = likelihoods[Frame("under", principle)], likelihoods[plain]
        case "opposite":
            one = likelihoods[Frame("under", principle)]
            opposite = Frame("against", principle)
            other = likelihoods[opposite] if opposite in likelihoods else likelihoods[plain]
    contrasts = [a.per(per) - b.per(per) for a, b in zip(one, other, strict=True)]
    return contrasts[0] - contrasts[1]


def _both(scores: Iterator[Score]) -> tuple[Likelihood, Likelihood]:
    first, second = next(scores), next(scores)
    return Likelihood(first.values[0], first.tokens), Likelihood(second.values[0], second.tokens)


def _relevant(principle: Principle | None, likelihoods: Likelihoods) -> dict[str, list[tuple[float, int]]]:
    relevant: dict[str, list[tuple[float, int]]] = {}
    for frame, both in likelihoods.items():
        if frame.principle in (None, principle):
            relevant[frame.kind] = [(likelihood.total, likelihood.tokens) for likelihood in both]
    return relevant
