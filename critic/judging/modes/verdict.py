"""A verdict in words: one JSON object, for servers that give no log-probabilities. Every principle, both orders.

A server that holds its answers to a JSON schema is asked to. On any other the object is asked for in words alone, and
an answer that isn't exactly the object, white space and one Markdown fence around it aside, can't be read.
Of ``samples`` verdicts, ties count half to each side, and the log-odds are those of the Krichevsky-Trofimov estimate,
log (a + 1/2) / (b + 1/2): one verdict for A is a probability of 0.75, and no number of them is certainty.
"""

import json
import math
import re
from typing import Any, ClassVar, Literal

from pydantic import Field

from base.digest import canonical_json, seed_of
from base.together import together
from constitution import Principle
from critic import prompts
from critic.engine import Completion, Engine, Lane, Request, Sampling
from critic.engine_kinds.capabilities import NONE, STRUCTURED
from critic.judging.base import Question, SampledMode, estimate, said
from critic.judging.modes.logprob import comparison_mark
from critic.records import Order, Vote

Better = Literal["A", "B", "tie"]

SCHEMA = canonical_json(
    {
        "type": "object",
        "properties": {"better": {"type": "string", "enum": ["A", "B", "tie"]}},
        "required": ["better"],
        "additionalProperties": False,
    }
)
_FENCE = re.compile(r"\s*```(?:json|JSON)?[ \t]*\n(?P<inside>[^`]*)\n[ \t]*```\s*")
_FOR_A = {"A": 1.0, "tie": 0.5, "B": 0.0}


class VerdictMode(SampledMode):
    """The mode ``verdict``."""

    name: ClassVar[str] = "verdict"
    answer_tokens: ClassVar[int] = 64  # the object takes about ten; some models put line breaks into it
    temperature: float = Field(default=0.0, ge=0)

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Have the judge answer in JSON, and count its verdicts."""
        places: list[tuple[Order, Principle]] = [(order, p) for p in question.principles for order in question.shown()]
        written = await together(
            self._ask(engine, question, order, p, number, lane) for order, p in places for number in range(self.samples)
        )
        return tuple(
            self._vote(engine, order, p, written[i * self.samples : (i + 1) * self.samples])
            for i, (order, p) in enumerate(places)
        )

    async def _ask(
        self, engine: Engine, question: Question, order: Order, principle: Principle, number: int, lane: Lane
    ) -> Completion:
        mark = comparison_mark(question)
        shown = question.shown()[order]
        chat = (
            *prompts.conversation_parts(question.prompt, mark),
            prompts.responses_part(*shown, mark),
            prompts.verdict_part(principle),
        )
        seed = seed_of(question.seed, "verdict", question.prompt.key, *shown, principle.digest, number)
        held = None if engine.capabilities.get(STRUCTURED) == NONE else SCHEMA
        sampling = Sampling(self.limit(engine), self.temperature)
        return await engine.complete(Request(chat, sampling, seed, held), lane)

    def _vote(self, engine: Engine, order: Order, principle: Principle, written: list[Completion]) -> Vote:
        verdicts = [verdict for one in written if (verdict := parse_verdict(one.text)) is not None]
        shown = estimate(math.fsum(_FOR_A[verdict] for verdict in verdicts), len(verdicts))
        readable = len(verdicts) == len(written)
        as_given = shown if order == "given" else -shown
        return self.vote(
            engine,
            principle,
            as_given if readable else None,
            order=order,
            raw="\n".join(said(one) for one in written),
        )


def parse_verdict(text: str) -> Better | None:
    """Return the verdict of a text that is exactly one JSON object of the schema, else None: never a guess."""
    fenced = _FENCE.fullmatch(text)
    try:
        verdict = json.loads(fenced["inside"] if fenced is not None else text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    if not isinstance(verdict, dict) or set(verdict) != {"better"}:
        return None
    better = verdict["better"]
    return better if isinstance(better, str) and better in ("A", "B", "tie") else None  # type: ignore[return-value]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that names a key twice: which of the two was meant?"""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key is given twice")
    return fields
