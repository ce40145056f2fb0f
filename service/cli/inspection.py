"""How a file is read: by each command that takes one, what it makes of the rows, and which it refuses and why.

A sample is read: all of the first rows, and one in so many of those after. The readers are those of the commands.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from base.errors import InputError
from critic.files.inputs import RowError, open_labelled, open_pairs, open_prompts
from critic.files.naming import Naming
from critic.files.shapes import SHAPES, is_read, shaped
from critic.files.sources import open_source
from critic.records import Line, Quarantined
from critic.rows import Broken, Raw
from critic.run.plan import CHARACTERS_PER_TOKEN
from trainers import catalogue
from trainers.batches.data import open_examples
from trainers.batches.examples import NAMES, Example

# Enough rows to meet what is rare, in a few seconds on two cores.
HEAD, EVERY, SAMPLED = 500, 40, 40_000
SHOWN = 2  # rows of each use that are shown

Said = tuple[str, tuple[str, ...]]
"""A prompt's last turn, and the answers to it."""


@dataclass(slots=True)
class Use:
    """What one command makes of the rows: how many it takes, some of them, and the refusals by reason."""

    command: str
    taken: int = 0
    first: list[Said] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)
    """Of each reason the places and details, as they come; the first says what it means."""
    problem: str = ""
    """Why the command takes nothing of the file at all."""


@dataclass(slots=True)
class Inspection:
    """``columns`` are the input's names, by what they are read as; ``ignored`` those that no command reads.

    ``prompt_tokens`` and ``answer_tokens`` are estimates, of each row that could be read.
    """

    name: str
    rows: int
    whole: bool
    shapes: tuple[str, ...]
    columns: dict[str, str]
    ignored: tuple[str, ...]
    uses: list[Use]
    prompt_tokens: list[int]
    answer_tokens: list[int]


def inspect(source: str, columns: Naming, *, whole: bool = False, max_chars: int = 32_000) -> Inspection:
    """Read a sample of ``source``, or the ``whole`` of it, as each command would. Raises `InputError`."""
    if source == "-":
        raise InputError("standard input can be read only once", where="-", fix="Give a file.")
    limits: dict[str, Any] = {"max_chars": max_chars, "columns": columns}
    readers: dict[str, Callable[[], Iterable[Callable[[], list[Any]]]]] = {
        "generate, align": lambda: _alone(open_prompts(source, truncate=False, **limits)),
        "judge": lambda: _alone(open_pairs(source, truncate=False, **limits)),
        "evaluate judge": lambda: open_labelled(source, **limits),
    }
    for method in catalogue.listed().values():
        if method.rows:
            wanted = tuple(NAMES[name] for name in method.rows)
            readers[f"train {method.name}"] = partial(open_examples, source, wanted, columns)
    found = _described(source, columns, whole)
    found.uses = [_use(command, reader, whole) for command, reader in readers.items()]
    return found


def _alone(unread: Iterable[Callable[[], Line | Quarantined]]) -> Iterator[Callable[[], list[Any]]]:
    def alone(read: Callable[[], Line | Quarantined]) -> list[Any]:
        return [read()]

    return (partial(alone, read) for read in unread)


def _sampled(unread: Iterable[Any], whole: bool) -> Iterator[Any]:
    if whole:
        return iter(unread)
    return (read for row, read in enumerate(islice(unread, SAMPLED)) if _is_sampled(row))


def _is_sampled(row: int) -> bool:
    return row < HEAD or (row < SAMPLED and row % EVERY == 0)


def _described(source: str, columns: Naming, whole: bool) -> Inspection:
    opened = open_source(source, Naming(lambda name: True))
    found = Inspection(opened.name, 0, True, (), {}, (), [], [], [])
    names: dict[str, None] = dict.fromkeys(opened.columns or ())
    shapes: dict[str, None] = {}
    for row, read in enumerate(opened.unread if whole else islice(opened.unread, SAMPLED + 1)):
        if not whole and not _is_sampled(row):
            found.whole = False
            continue
        raw = read()
        found.rows += 1
        if isinstance(raw, Broken):
            continue
        names |= dict.fromkeys(raw.columns)
        _add(found, raw, columns, shapes)
    given = columns.of_table(tuple(names), opened.name)
    found.columns = {name: own for name, own in given.items() if is_read(own)}
    found.ignored = tuple(name for name in names if name not in found.columns)
    found.shapes = tuple(shapes)
    return found


def _add(found: Inspection, raw: Raw, columns: Naming, shapes: dict[str, None]) -> None:
    """Count the row's shapes and lengths, as far as it can be read."""
    try:
        row = columns.of_row(raw.columns)
        shapes |= {shape.name: None for shape in SHAPES if shape.fits(row)}
        given = shaped(row, labels=False)
    except (RowError, ValueError):
        return
    answers = [given.get(name) for name in ("chosen", "rejected", "completion")]
    answers += given["responses"] if isinstance(given.get("responses"), list) else []
    asked = [given.get(name) for name in ("prompt", "messages", "instruction", "question", "text", "input")]
    found.prompt_tokens.append(sum(_length(value) for value in asked) // CHARACTERS_PER_TOKEN)
    found.answer_tokens += [_length(value) // CHARACTERS_PER_TOKEN for value in answers if value is not None]


def _length(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(_length(turn) for turn in value)
    return _length(value.get("content", value.get("text"))) if isinstance(value, dict) else 0


def _use(command: str, reader: Callable[[], Iterable[Callable[[], list[Any]]]], whole: bool) -> Use:
    use = Use(command)
    try:
        for read in _sampled(reader(), whole):
            for row in read():
                _count(use, row)
    except InputError as error:
        use.problem = error.problem
    return use


def _count(use: Use, row: Line | Quarantined | Example) -> None:
    if isinstance(row, Quarantined):
        use.refused.setdefault(row.reason, []).append(f"{row.where}: {row.detail}")
        return
    use.taken += 1
    if len(use.first) < SHOWN:
        use.first.append(_said(row))


def _said(row: Line | Example) -> Said:
    if isinstance(row, Line):
        return row.item.prompt.messages[-1].text, tuple(response.text for response in row.item.responses)
    return row.prompt.messages[-1].text, row.answers


def middle(lengths: Sequence[int]) -> tuple[int, int, int] | None:
    """Return the median, the 95th percentile and the greatest; None of nothing."""
    ordered = sorted(lengths)
    if not ordered:
        return None
    return ordered[len(ordered) // 2], ordered[int(0.95 * (len(ordered) - 1))], ordered[-1]
