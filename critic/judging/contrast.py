"""Likelihood contrast: how much more likely a response becomes under a principle than under its opposite.

Needs no instruction following, so it is the mode for small models. For a response y to a prompt x and a principle r
with opposite r', the contrast is the difference of mean log-likelihoods per token

    c(y) = [log p(y | x, r) - log p(y | x, r')] / tokens(y)

and where r has no opposite, p(y | x) stands in its place. The vote for the first of two responses is
`SCALE` * (c(first) - c(second)). One tree a comparison: prompt -> principle or opposite -> the two responses.
"""

import math
from collections.abc import Iterator

from constitution import Principle
from critic import prompts
from critic.engines.base import Engine, Lane, Node, OwnTokens, Score
from critic.judging.base import MAX_LOG_ODDS, Question
from critic.records import Message, Vote

# Nats per token to log-odds. A chosen constant: it makes typical contrasts (some hundredths of a nat) probabilities
# that lean without claiming certainty. It moves no decision, only how sure a label says that it is.
SCALE = 10.0

_OWN = OwnTokens()


class Contrast:
    """The mode ``contrast``."""

    name = "contrast"

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Read both responses' likelihoods under each principle and against it."""
        scores = iter(await engine.score(tree(question), lane))
        plain = _means(scores) if _needs_plain(question.principles) else None
        return tuple(_vote(p, scores, plain, engine.identity.name) for p in question.principles)


def tree(question: Question) -> Node:
    """The comparison as one tree; the responses without any principle come first where a principle needs them."""
    responses = tuple(
        Node((Message(role="assistant", content=text),), _OWN) for text in (question.first, question.second)
    )
    frames: list[Node] = list(responses) if _needs_plain(question.principles) else []
    for principle in question.principles:
        frames.append(Node((prompts.under_part(principle),), children=responses))
        if principle.opposite is not None:
            frames.append(Node((prompts.against_part(principle),), children=responses))
    return Node(question.prompt.messages, children=tuple(frames))


def _needs_plain(principles: tuple[Principle, ...]) -> bool:
    return any(principle.opposite is None for principle in principles)


def _means(scores: Iterator[Score]) -> tuple[float, float]:
    first, second = next(scores), next(scores)
    return first.values[0] / max(1, first.tokens), second.values[0] / max(1, second.tokens)


def _vote(principle: Principle, scores: Iterator[Score], plain: tuple[float, float] | None, judge: str) -> Vote:
    under = _means(scores)
    against = _means(scores) if principle.opposite is not None else plain
    if against is None:
        raise AssertionError("a principle without an opposite was given no plain likelihoods")
    difference = SCALE * ((under[0] - against[0]) - (under[1] - against[1]))
    readable = math.isfinite(difference)
    return Vote(
        principle=principle.id,
        principle_digest=principle.digest,
        judge=judge,
        order=None,
        log_odds=max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, difference)) if readable else None,
        raw=None if readable else f"mean log-likelihoods under {under}, against {against}",
    )
