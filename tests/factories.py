"""Rows made by hand, for tests: short names in, whole records out."""

import io
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from openpyxl import Workbook

from critic.engine import Completion, Identity, Lane, Node, Request, Score, Usage
from critic.records import (
    Chain,
    Critique,
    Drop,
    Judgement,
    Message,
    PreferencePair,
    Prompt,
    Provenance,
    Response,
    Revision,
    Row,
    Vote,
)
from critic.run.config import RunConfig, RunSettings

DIGEST = "d" * 64
TEXTS = ("title", "statement", "critique", "revision", "compare", "opposite")


class FakeEngine:
    """An engine that answers nothing, for tests to override what they need."""

    whole_trees = True
    capabilities: Mapping[str, str] = MappingProxyType({})

    def __init__(self, name: str = "fake") -> None:
        self.identity, self.usage = Identity(name, "1"), Usage()

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        raise AssertionError("no completion is expected")

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        raise AssertionError("no score is expected")

    async def close(self) -> None:
        pass


def text_of(path: Sequence[Message]) -> str:
    """The contents of a chat, one after the other."""
    return "".join(message.content for message in path)


def small_constitution(principles: int) -> dict[str, Any]:
    """A constitution as its file would hold it; principle i's statement is ``statement i``, and so on."""
    about = {"name": "small", "version": "1.0.0", "title": "Small", "summary": "s", "license": "l", "language": "en"}
    return about | {"principles": list(map(_numbered, range(principles)))}


def _numbered(i: int) -> dict[str, str]:
    return {"id": f"p{i}"} | {key: f"{key} {i}" for key in TEXTS}


def provenance(judge: str = "judge-1", mode: str = "logprob") -> Provenance:
    """A run's provenance."""
    return Provenance(
        constitution="harmlessness@1.0.0",
        constitution_hash="c" * 64,
        policy="policy-1",
        judge=judge,
        mode=mode,
        strategy="samples",
        templates="t" * 64,
        seed=0,
    )


def run_config(**changes: Any) -> RunConfig:
    """A run's config, with these `RunConfig.flat` values."""
    settings = {name: changes.pop(name) for name in list(changes) if name in RunSettings.model_fields}
    values: dict[str, Any] = {
        "kind": "generate",
        "settings": RunSettings(**settings),
        "constitution": "harmlessness@1.0.0",
        "constitution_hash": "c" * 64,
        "templates": {},
        "policy": None,
        "critic": None,
        "jury": (),
        "input": "prompts.jsonl",
        "input_hash": None,
        "max_chars": 100,
    }
    return RunConfig(**values | changes)


def prompt(text: str = "Name a river.", *, tags: Sequence[str] = (), id: str | None = None) -> Prompt:
    """A prompt of one turn."""
    return Prompt(messages=(Message(role="user", content=text),), tags=tuple(tags), id=id)


def response(text: str, model: str = "policy-1") -> Response:
    """A sampled response."""
    return Response(text=text, model=model, finish="stop")


def vote(principle: str | None, log_odds: float | None, order: str | None = "given", raw: str = "What?") -> Vote:
    """A vote; unreadable where ``log_odds`` is None."""
    return Vote.model_validate(
        {
            "principle": principle,
            "principle_digest": DIGEST,
            "judge": "judge-1",
            "mode": "logprob",
            "order": order,
            "log_odds": log_odds,
            "raw": raw if log_odds is None else None,
        }
    )


def both_orders(principle: str, given: float | None, swapped: float | None) -> tuple[Vote, Vote]:
    """The two votes of one principle, each about the first response."""
    return vote(principle, given, "given"), vote(principle, swapped, "swapped")


def judgement(
    votes: Sequence[Vote], probability: float | None, *, first: int = 0, second: int = 1, group: str | None = None
) -> Judgement:
    """A judgement whose outcome follows from the probability: a tie within 0.02 of one half, unreadable if None."""
    if probability is None:
        outcome = "unreadable"
    elif abs(probability - 0.5) < 0.02:
        outcome = "tie"
    else:
        outcome = "preference"
    return Judgement.model_validate(
        {
            "first": first,
            "second": second,
            "mode": "logprob",
            "judge": "judge-1",
            "group": group,
            "votes": tuple(votes),
            "outcome": outcome,
            "probability": probability,
        }
    )


def revision(principle: str, text: str | None, *, round: int = 0, critique: str = "It could be kinder.") -> Revision:
    """A round of critique and revision; ``text`` None where there was nothing to revise."""
    return Revision(
        critique=Critique(
            round=round,
            principle=principle,
            principle_digest=DIGEST,
            text=critique,
            model="judge-1",
            outcome="critique" if text is not None else "nothing_to_revise",
        ),
        response=None if text is None else response(text),
        outcome="revised" if text is not None else "nothing_to_revise",
    )


def row(
    number: int = 0,
    candidates: Sequence[str] = ("The Nile, of course.", "The Po."),
    judgements: Sequence[Judgement] = (),
    *,
    prompt_text: str = "Name a river.",
    tags: Sequence[str] = (),
    revisions: Sequence[Sequence[Revision]] = (),
    drops: Sequence[Drop] = (),
) -> Row:
    """A row whose candidates are its sampled responses; each preference becomes a pair, and any other a drop."""
    answers = tuple(response(text) for text in candidates)
    chains = tuple(
        Chain(original=answer, revisions=tuple(revisions[i]) if i < len(revisions) else ())
        for i, answer in enumerate(answers)
    )
    pairs = tuple(_pair(answers, j) for j in judgements if j.outcome == "preference")
    lost = [Drop.model_validate({"what": "pair", "reason": j.outcome}) for j in judgements if j.outcome != "preference"]
    return Row(
        row=number,
        where=f"prompts.jsonl:{number + 1}",
        prompt=prompt(prompt_text, tags=tags),
        chains=chains,
        candidates=answers,
        judgements=tuple(judgements),
        pairs=pairs,
        drops=(*lost, *drops),
    )


def _pair(answers: Sequence[Response], judged: Judgement) -> PreferencePair:
    assert judged.probability is not None
    sides = (judged.first, judged.second) if judged.probability > 0.5 else (judged.second, judged.first)
    return PreferencePair(
        chosen=answers[sides[0]],
        rejected=answers[sides[1]],
        probability=max(judged.probability, 1 - judged.probability),
        group=judged.group,
    )


def workbook(*rows: Sequence[Any]) -> bytes:
    """An XLSX file of one sheet, whose first row is the header."""
    book, file = Workbook(), io.BytesIO()
    for row in rows:
        book.worksheets[0].append(list(row))
    book.save(file)
    return file.getvalue()
