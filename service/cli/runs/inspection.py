"""How a file is read: by each command that takes one, what it makes of the rows, and which it refuses and why.

A sample is read: all of the first rows, and one in so many of those after. The readers are those of the commands.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from base.errors import InputError
from critic.files.inputs import open_labelled, open_pairs, open_prompts
from critic.files.naming import EVERYTHING, Naming
from critic.files.shapes import SHAPES, is_read
from critic.files.shapes.other_names import SCORE
from critic.files.sources import PIPE, open_source, source_name
from critic.files.turns import CHATS, unread_keys
from critic.records import Line, Quarantined
from critic.rows import Broken, Raw
from critic.run.execute import SeenPrompts
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
    prompt_tokens: list[int] = field(default_factory=list)
    answer_tokens: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Inspection:
    """``columns`` are the input's names, by what they are read as; ``ignored`` those that no command reads.

    ``turns`` has the keys of chats' turns that are not read, and in how many turns each says something.

    ``prompt_tokens`` and ``answer_tokens`` are estimates, of the rows of the command that takes most of them.
    """

    name: str
    rows: int
    whole: bool
    shapes: tuple[str, ...]
    columns: dict[str, str]
    ignored: tuple[str, ...]
    turns: dict[str, int]
    uses: list[Use]
    prompt_tokens: list[int]
    answer_tokens: list[int]


def inspect(source: str, columns: Naming, *, whole: bool = False, max_chars: int = 32_000) -> Inspection:
    """Read a sample of ``source``, or the ``whole`` of it, as each command would. Raises `InputError`."""
    if source == "-" or source_name(source) == PIPE:
        raise InputError("standard input, or a pipe, can be read only once", where=source, fix="Give a file.")
    limits: dict[str, Any] = {"max_chars": max_chars, "columns": columns}
    readers: dict[str, Callable[[], Iterable[Callable[[], list[Any]]]]] = {
        "generate, align": lambda: _alone(open_prompts(source, truncate=False, **limits)),
        "judge": lambda: _alone(open_pairs(source, truncate=False, **limits)),
        "evaluate judge": lambda: open_labelled(source, **limits),
    }
    for rows, names in methods_by_rows().items():
        wanted = tuple(NAMES[name] for name in rows)
        readers[f"train {', '.join(names)}"] = partial(open_examples, source, wanted, columns)
    inspection = _described(source, columns, whole)
    inspection.uses = [_use(command, reader, whole) for command, reader in readers.items()]
    inspection.prompt_tokens = max((use.prompt_tokens for use in inspection.uses), key=len)
    inspection.answer_tokens = max((use.answer_tokens for use in inspection.uses), key=len)
    return inspection


def methods_by_rows() -> dict[tuple[str, ...], list[str]]:
    """Return the training methods that learn from rows, by the kinds of rows that they take."""
    by_rows: dict[tuple[str, ...], list[str]] = {}
    for method in catalogue.listed().values():
        if method.rows:
            by_rows.setdefault(method.rows, []).append(method.name)
    return dict(sorted(by_rows.items()))


def _alone(unread: Iterable[Callable[[], Line | Quarantined]]) -> Iterator[Callable[[], list[Any]]]:
    """Yield a run's rows, as it takes them: each prompt once, and no id for two."""

    def alone(seen: SeenPrompts, read: Callable[[], Line | Quarantined]) -> list[Any]:
        return [seen.check(read())]

    with closing(SeenPrompts()) as seen:
        for read in unread:
            yield partial(alone, seen, read)


def _sampled(unread: Iterable[Any], whole: bool) -> Iterator[Any]:
    if whole:
        return iter(unread)
    return (read for row, read in enumerate(islice(unread, SAMPLED)) if _is_sampled(row))


def _is_sampled(row: int) -> bool:
    return row < HEAD or (row < SAMPLED and row % EVERY == 0)


def _described(source: str, columns: Naming, whole: bool) -> Inspection:
    opened = open_source(source, columns)
    is_table = opened.columns is not None
    if not is_table:  # their rows have their own names, which are told as they are; a table's stand in its header
        opened = open_source(source, EVERYTHING)
    inspection = Inspection(opened.name, 0, True, (), {}, (), {}, [], [], [])
    unread: Counter[str] = Counter()
    names: dict[str, None] = dict.fromkeys(opened.columns or ())
    shapes: dict[str, None] = {}
    for row, read in enumerate(opened.unread if whole else islice(opened.unread, SAMPLED + 1)):
        if not whole and not _is_sampled(row):
            inspection.whole = False
            continue
        raw = read()
        inspection.rows += 1
        if isinstance(raw, Broken):
            continue
        names |= {} if is_table else dict.fromkeys(raw.columns)
        unread.update(key for name in raw.columns if name in CHATS for key in unread_keys(raw.columns[name]))
        shapes |= dict.fromkeys(_shapes(raw, EVERYTHING if is_table else columns))
    given = columns.of_table(tuple(names), opened.name)
    # A score is read where it is a truth value alone.
    unknown = () if SCORE.name in shapes else SCORE.columns
    inspection.columns = {name: own for name, own in given.items() if is_read(own) and own not in unknown}
    inspection.ignored = tuple(name for name in names if name.strip() and name not in inspection.columns)
    inspection.shapes = tuple(shapes)
    inspection.turns = dict(unread.most_common())
    return inspection


def _shapes(raw: Raw, columns: Naming) -> list[str]:
    """Return the names of the shapes that a row has, as far as it can be read."""
    try:
        row = columns.of_row(raw.columns)
        return [shape.name for shape in SHAPES if shape.fits(row)]
    except Exception:  # whatever a stranger's values make Python raise: each command says it of the row
        return []


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
    _measure(use, row)
    if len(use.first) < SHOWN:
        use.first.append(_said(row))


def _measure(use: Use, row: Line | Example) -> None:
    """Count the row's tokens, about."""
    prompt = row.item.prompt if isinstance(row, Line) else row.prompt
    use.prompt_tokens.append(sum(len(message.text) for message in prompt.messages) // CHARACTERS_PER_TOKEN)
    use.answer_tokens += [len(answer) // CHARACTERS_PER_TOKEN for answer in _said(row)[1]]


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
