"""Answers that people compared, from public data sets in the folder that ``CAI_DATA`` names.

Each reader returns labels and names every row that it leaves out, with the reason.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from base.digest import unit_interval
from base.errors import InputError
from critic.evaluation.accuracy import Labelled
from critic.records import Message, Prompt, Role

HELD_OUT = 0.3
"""The share of HH conversations that no reward model is trained on here."""

_HUMAN, _ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


@dataclass(frozen=True, slots=True)
class LeftOutRow:
    """A row that is no comparison, and why."""

    id: str
    reason: str


Read = tuple[list[Labelled], list[LeftOutRow]]


def data_folder() -> Path:
    """Return the folder of data sets. Raises `InputError` where the environment names none."""
    folder = os.environ.get("CAI_DATA", "")
    if not Path(folder or "/nowhere").is_dir():
        raise InputError(f"it names no folder: {folder!r}", where="CAI_DATA", fix="set it to the folder of data sets")
    return Path(folder)


def harmless(folder: Path) -> Read:
    """Read the HH harmless pairs (Bai et al. 2022): transcripts that share all turns but the assistant's last."""
    lines = (folder / "hh_rlhf" / "harmless-dev.jsonl").read_text(encoding="utf-8").splitlines()
    return _sorted_out(_from_transcripts(f"harmless:{i}", json.loads(line)) for i, line in enumerate(lines, start=1))


def llmbar(folder: Path) -> Read:
    """Read the LLMBar pairs (Zeng et al. 2023): instructions with two outputs, in several sets, each a ``source``."""
    root = folder / "llmbar_dev"
    return _sorted_out(
        _from_outputs(str(file.parent.relative_to(root)), i, row)
        for file in sorted(root.rglob("dataset.json"))
        for i, row in enumerate(json.loads(file.read_text(encoding="utf-8")), start=1)
    )


def is_held_out(label: Labelled) -> bool:
    """Whether no reward model here is trained on an HH pair: decided by its first turn, which rows may share."""
    return unit_interval("held out", label.prompt.messages[0].content) < HELD_OUT


def transcript(text: str) -> tuple[Message, ...]:
    """Parse ``Human: ... Assistant: ...``. The speakers take turns: a repeated name is part of what is said."""
    before, mark, rest = text.partition(_HUMAN)
    if before.strip() or not mark:
        raise ValueError("the transcript does not begin with a human's turn")
    messages: list[Message] = []
    turns: cycle[tuple[Role, str]] = cycle((("user", _ASSISTANT), ("assistant", _HUMAN)))
    for role, until in turns:
        content, mark, rest = rest.partition(until)
        messages.append(Message(role=role, content=content.strip()))
        if not mark:
            break
    return tuple(messages)


def _from_transcripts(id: str, row: dict[str, str]) -> Labelled | LeftOutRow:
    try:
        chosen, rejected = transcript(row["chosen"]), transcript(row["rejected"])
        if chosen[:-1] != rejected[:-1]:
            return LeftOutRow(id, "the two transcripts differ before the last turn")
        if chosen[-1].role != "assistant":
            return LeftOutRow(id, "the transcripts do not end with the assistant's turn")
        prompt = Prompt(messages=chosen[:-1])
    except ValueError as error:  # pydantic's are ValueErrors too
        return LeftOutRow(id, _reason(error))
    return _labelled(Labelled(id, "HH harmless", prompt, chosen[-1].content, rejected[-1].content))


def _from_outputs(source: str, number: int, row: dict[str, Any]) -> Labelled | LeftOutRow:
    id = f"{source}:{number}"
    outputs = [row["output_1"], row["output_2"]]
    if row["label"] not in (1, 2):
        return LeftOutRow(id, f"the label is {row['label']!r}, neither 1 nor 2")
    better = outputs.pop(row["label"] - 1)
    try:
        prompt = Prompt(messages=(Message(role="user", content=row["input"]),))
    except ValueError as error:
        return LeftOutRow(id, _reason(error))
    return _labelled(Labelled(id, source, prompt, better, outputs[0]))


def _labelled(label: Labelled) -> Labelled | LeftOutRow:
    if not (label.better.strip() and label.worse.strip()):
        return LeftOutRow(label.id, "a last turn is empty")
    if label.better == label.worse:
        return LeftOutRow(label.id, "the last turns are equal")
    return label


def _reason(error: ValueError) -> str:
    said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
    return said.removeprefix("Value error, ")


def _sorted_out(rows: Iterable[Labelled | LeftOutRow]) -> Read:
    labels: list[Labelled] = []
    left_out: list[LeftOutRow] = []
    for row in rows:
        if isinstance(row, Labelled):
            labels.append(row)
        else:
            left_out.append(row)
    return labels, left_out
