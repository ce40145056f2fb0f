"""Letters drawn, for servers that give neither log-probabilities nor structured output. Every principle, both orders.

The judge answers the question of `critic.judging.modes.logprob` with one letter, ``samples`` times at temperature 1: so
each answer is a draw from the probabilities that `logprob` would read. Their log-odds are those of the
Krichevsky-Trofimov estimate, log (a + 1/2) / (b + 1/2), which is never certain. An answer that is no letter counts for
neither side, and the vote's mass is the share of those that are one.
"""

import re
from typing import ClassVar, Final, Literal

from pydantic import Field

from base.digest import seed_of
from base.together import together
from constitution import Principle
from critic import prompts
from critic.engine import Completion, Engine, Lane, Request, Sampling
from critic.judging.base import FLOOR, Question, SampledMode, estimate, said, too_little
from critic.judging.modes.logprob import comparison_mark
from critic.records import Message, Order, Vote

Letter = Literal["A", "B"]

# Some vocabularies spend a token on the space before a letter, and some models set it in bold.
LETTER_TOKENS: Final = 4
_LETTER: Final = re.compile(r"[^\w\n]*([AB])[^\w\n]*")


class Letters(SampledMode):
    """The mode ``letters``."""

    name: ClassVar[str] = "letters"
    answer_tokens: ClassVar[int] = LETTER_TOKENS
    samples: int = Field(default=8, ge=1)
    temperature: float = Field(default=1.0, ge=0)
    floor: float = Field(default=FLOOR, ge=0, le=1)

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Have the judge answer with a letter, and count its letters."""
        places: list[tuple[Order, Principle]] = [(order, p) for p in question.principles for order in question.shown()]
        drawn = await together(
            self._draw(engine, question, order, p, number, lane)
            for order, p in places
            for number in range(self.samples)
        )
        return tuple(
            self._vote(engine, order, p, drawn[i * self.samples : (i + 1) * self.samples])
            for i, (order, p) in enumerate(places)
        )

    async def _draw(
        self, engine: Engine, question: Question, order: Order, principle: Principle, number: int, lane: Lane
    ) -> Completion:
        mark = comparison_mark(question)
        shown = question.shown()[order]
        chat: tuple[Message, ...] = (
            *prompts.conversation_parts(question.prompt, mark),
            prompts.responses_part(*shown, mark),
            prompts.question_part(principle),
        )
        seed = seed_of(question.seed, "letters", question.prompt.key, *shown, principle.digest, number)
        return await engine.complete(Request(chat, Sampling(self.limit(engine), self.temperature), seed), lane)

    def _vote(self, engine: Engine, order: Order, principle: Principle, drawn: list[Completion]) -> Vote:
        letters = [letter for one in drawn if (letter := parse_letter(one.text)) is not None]
        mass = len(letters) / len(drawn)
        readable = bool(letters) and mass >= self.floor
        shown = estimate(letters.count("A"), len(letters))
        answers = "\n".join(said(one) for one in drawn)
        as_given = shown if order == "given" else -shown
        return self.vote(
            engine,
            principle,
            as_given if readable else None,
            order=order,
            raw=f"{too_little(mass, self.floor)}; it answered:\n{answers}",
            mass=mass,
        )


def parse_letter(text: str) -> Letter | None:
    """Return the letter that is all of a text's first line but for punctuation, else None: never a guess."""
    match = _LETTER.fullmatch(text.strip().partition("\n")[0])
    return match[1] if match is not None else None  # type: ignore[return-value]  # the pattern has no other letters
