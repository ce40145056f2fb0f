"""The instruction files of the Constitutional AI paper (Bai et al. 2022, arXiv:2212.08073), as they were published.

Five kinds of JSON file, told apart by their shape: critique and revision requests; comparison instructions; few-shots
for critique and revision; few-shots with a right and a wrong answer; few-shots that reason step by step. `read_paper`
keeps every string to the byte; `read` makes principles of the instructions.

The two lists are drawn from separately in the paper, and no comparison instruction belongs to any request. So each
instruction becomes a principle of its own, tagged ``critique-revision`` or ``comparison``, and what it lacks is
derived: it quotes the instruction (the constants below). For a constitution with the paper's judges only, or its
critics only, give one of the two files.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from base.errors import InputError
from constitution.importers.base import Imported, LeftOutPart, build, headline, principle, read_json, slug
from constitution.schema import Principle

# The published strings are these frames around the instruction.
CRITIQUE_FRAME = "\n\nCritiqueRequest: {}\n\nCritique:"
REVISION_FRAME = "\n\nRevisionRequest: {}\n\nRevision:"
COMPARE_FRAME = "\n{} Options:"

DERIVED_COMPARE = 'Which response leaves less to point out under this request: "{critique}"'
DERIVED_STATEMENT = 'The response needs no change under this request: "{revision}"'
DERIVED_CRITIQUE = 'Point out why the response might not be chosen under this instruction: "{compare}"'
DERIVED_REVISION = 'Rewrite the response so that it would be chosen under this instruction: "{compare}"'
DERIVED_CHOICE = 'The response would be chosen under this instruction: "{compare}"'

_PART = re.compile(r"\n\n(Human|Assistant|CritiqueRequest|Critique|RevisionRequest|Revision):")


@dataclass(frozen=True, slots=True)
class PaperRequest:
    """A critique request and its revision request, framed as published."""

    name: str
    critique: str
    revision: str


@dataclass(frozen=True, slots=True)
class PaperContrast:
    """A prompt with right and wrong answers, as published."""

    prompt: str
    corrects: tuple[str, ...]
    incorrects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Paper:
    """The files' strings to the byte, white space included; empty for files that were not given."""

    requests: tuple[PaperRequest, ...] = ()
    comparisons: tuple[str, ...] = ()
    few_shots: tuple[str, ...] = ()
    contrasts: tuple[PaperContrast, ...] = ()
    reasoned: tuple[str, ...] = ()


def read_paper(sources: Sequence[Path]) -> Paper:
    """Read any of the five files. Raises InputError for one of another shape, or two of the same."""
    paper = Paper()
    for source in sources:
        try:
            part = _recognise(read_json(source))
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            part = None
        if part is None:
            raise InputError("not one of the five files of the paper, by its shape", where=str(source))
        given = [f.name for f in fields(Paper) if getattr(part, f.name)]
        if not given or getattr(paper, given[0]):
            raise InputError(f"the {given[0] if given else 'file'} came empty or twice", where=str(source))
        paper = replace(paper, **{given[0]: getattr(part, given[0])})
    return paper


def _recognise(data: Any) -> Paper | None:
    """By shape alone. A wrong type deep inside raises one of the errors that the caller expects."""
    if isinstance(data, dict):
        return Paper(
            requests=tuple(PaperRequest(n, _only(r["prompt"]), _str(r["edit_request"])) for n, r in data.items())
        )
    if not isinstance(data, list) or not data:
        return None
    if all(isinstance(x, str) for x in data):
        shots = all("CritiqueRequest:" in x for x in data)
        return Paper(few_shots=tuple(data)) if shots else Paper(comparisons=tuple(data))
    if "corrects" in data[0]:
        return Paper(
            contrasts=tuple(
                PaperContrast(_str(x["prompt"]), _strs(x["corrects"]), _strs(x["incorrects"])) for x in data
            )
        )
    return Paper(reasoned=tuple(_str(x["prompt"]) for x in data))


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _strs(values: Any) -> tuple[str, ...]:
    return tuple(_str(value) for value in values)


def _only(values: Any) -> str:
    (value,) = values
    return _str(value)


def read(sources: Sequence[Path], *, name: str, version: str) -> Imported:
    """Make a constitution of the instructions, with the few-shots that belong to one of them as its examples."""
    paper = read_paper(sources)
    if not paper.requests and not paper.comparisons:
        raise InputError(
            "no instructions among these files, only few-shots",
            where=", ".join(map(str, sources)),
            fix="give the critique and revision requests, or the comparison instructions, too",
        )
    critics = [_critic(request) for request in paper.requests]
    judges = [_judge(i, text) for i, text in enumerate(paper.comparisons)]
    critics, left_out = _with_examples(critics, paper.few_shots)
    constitution = build(
        name,
        version,
        title="The instructions of the Constitutional AI paper",
        summary=f"{len(critics)} critique and revision requests, {len(judges)} comparison instructions, as published.",
        principles=[*critics, *judges],
    )
    left_out += [
        LeftOutPart(
            "few-shots with a right and a wrong answer", len(paper.contrasts), "an example is critique and revision"
        ),
        LeftOutPart("few-shots that reason step by step", len(paper.reasoned), "an example is critique and revision"),
    ]
    return Imported(constitution, tuple(x for x in left_out if x.count))


def _unframe(frame: str, text: str, where: str) -> str:
    """Return what stands in the frame, so that ``frame.format`` gives ``text`` back to the byte."""
    head, tail = frame.split("{}")
    inner = text.removeprefix(head).removesuffix(tail)
    if frame.format(inner) != text or " ".join(inner.split()) != inner:
        raise InputError(f"expected an instruction of the form {frame.format('...')!r}", where=where)
    return inner


def _critic(request: PaperRequest) -> Principle:
    critique = _unframe(CRITIQUE_FRAME, request.critique, request.name)
    revision = _unframe(REVISION_FRAME, request.revision, request.name)
    return principle(
        request.name,
        id=slug(request.name),
        title=headline(critique),
        statement=DERIVED_STATEMENT.format(revision=revision),
        critique=critique,
        revision=revision,
        compare=DERIVED_COMPARE.format(critique=critique),
        tags=("critique-revision",),
    )


def _judge(number: int, text: str) -> Principle:
    compare = _unframe(COMPARE_FRAME, text, f"comparison {number}")
    return principle(
        f"comparison {number}",
        id=f"comparison{number}",
        title=headline(compare),
        statement=DERIVED_CHOICE.format(compare=compare),
        critique=DERIVED_CRITIQUE.format(compare=compare),
        revision=DERIVED_REVISION.format(compare=compare),
        compare=compare,
        tags=("comparison",),
    )


def _with_examples(critics: list[Principle], shots: Sequence[str]) -> tuple[list[Principle], list[LeftOutPart]]:
    """Give each few-shot to the principle whose critique request it answers, word for word."""
    examples: dict[str, list[dict[str, Any]]] = {}
    homeless = other_wording = 0
    for number, shot in enumerate(shots):
        parts = _parts(shot, f"few-shot {number}")
        asked = parts[-4][1]
        home = next((p for p in critics if p.critique == asked), None)
        if home is None:
            homeless += 1
            continue
        other_wording += parts[-2][1] != home.revision
        examples.setdefault(home.id, []).append(_example(parts))
    critics = [
        principle(p.id, **{**p.model_dump(), "examples": examples[p.id]}) if p.id in examples else p for p in critics
    ]
    return critics, [
        LeftOutPart("critique and revision few-shots", homeless, "they answer a request that no principle makes"),
        LeftOutPart(
            "revision requests of few-shots", other_wording, "they differ from that of the few-shot's principle"
        ),
    ]


def _parts(shot: str, where: str) -> list[tuple[str, str]]:
    """Split a transcript into (speaker, text), the open turn at its end left off."""
    split = _PART.split(shot)
    parts = [(speaker, text.strip()) for speaker, text in zip(split[1::2], split[2::2], strict=True)]
    if parts and parts[-1] == ("Human", ""):
        parts.pop()
    speakers = [speaker for speaker, _ in parts]
    turns = ["Human", "Assistant"] * (len(parts) // 2 - 2)
    if not turns or speakers != [*turns, "CritiqueRequest", "Critique", "RevisionRequest", "Revision"] or split[0]:
        raise InputError("expected turns, then a critique and a revision with their requests", where=where)
    return parts


def _example(parts: list[tuple[str, str]]) -> dict[str, Any]:
    *turns, _, critique, _, revision = parts
    *history, prompt, response = turns
    roles = {"Human": "user", "Assistant": "assistant"}
    return {
        "history": tuple({"role": roles[speaker], "content": text} for speaker, text in history),
        "prompt": prompt[1],
        "response": response[1],
        "critique": critique[1],
        "revision": revision[1],
    }
