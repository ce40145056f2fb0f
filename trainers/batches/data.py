"""Files to examples: a run's directory or exports, and TRL's formats. One bad row costs itself, and is named.

A row is read by its shape: see `critic.files.shapes`. Its columns then say what it is: ``chosen`` and ``rejected`` (a
pair; ``probability``, ``margin``), ``responses`` and ``ranks`` (a ranking), ``responses`` and ``ratings`` (one rated
answer each), ``completion`` and ``label`` (thumbs) or ``rating`` with ``scale`` (a rating), ``completion`` alone or a
chat in ``messages`` (a demonstration). All take ``weight`` and ``group``. Feedback, as a run or the service
exports it, is what its labels teach (`critic.feedback.Feedback.rows`): comparisons that were read are pairs, ties too.
All rows of a file are of one kind, ``feedback`` files apart. A trainer of pairs alone takes ranked and rated answers to
one prompt, too: each two that are not equally good are a pair.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from base.digest import digest
from base.errors import InputError
from critic.feedback.from_file import from_file, is_feedback
from critic.files import once
from critic.files.containers.nested import unfolded
from critic.files.inputs import OWN_NAMES
from critic.files.naming import Naming
from critic.files.row_messages import Messages, prompt_messages, side
from critic.files.row_prompt import readable
from critic.files.shapes import naming, shaped
from critic.files.shapes.base import number, truth
from critic.files.shapes.chats.demonstration import ends_with_answer
from critic.files.shapes.other_names import score_hint
from critic.files.shapes.unread import BY_NAME, refuse_without_answers
from critic.files.sources import open_source
from critic.files.together import answers_together, unlabelled
from critic.files.turns import thinks
from critic.records import Prompt, Quarantined
from critic.rows import Broken, Raw, RowError, Unread
from trainers.batches.examples import (
    Demonstration,
    Example,
    Pair,
    Ranked,
    Rated,
    kinds,
    refuse_null,
    slug_of,
    with_all_labels,
)

EVALUATION = "evaluation"
"""The name of the split that trainers make."""
_OTHER = "other_feedback"
_LABELS = {"label", "rating"}
_TABLES: dict[type[Example], str] = {Demonstration: "sft", Pair: "pairs", Ranked: "feedback", Rated: "feedback"}


@dataclass(frozen=True, slots=True)
class Data:
    """The examples of one or more sources, what was refused, and the SHA-256 of all that was taken."""

    examples: tuple[Example, ...]
    refused: tuple[Quarantined, ...] = ()
    constitutions: tuple[str, ...] = ()
    """Hashes of the constitutions under which the labels were given, where the rows name them."""
    thoughts: int = 0
    """How many of the rows also say what a model thought, which is left out."""

    @property
    def sha256(self) -> str:
        """A hash of the examples, in order."""
        total = hashlib.sha256()
        for example in self.examples:
            total.update(example.model_dump_json(exclude={"where"}).encode() + b"\n")
        return total.hexdigest()

    def why_refused(self) -> Counter[str]:
        """How many rows were refused for which reason."""
        return Counter(row.reason for row in self.refused)


def read(source: str, wanted: Sequence[type[Example]], columns: Naming = OWN_NAMES) -> Data:
    """Read the examples of ``source``: the directory of a run, or whatever `critic.files.sources.open_source` takes.

    ``columns`` says under which names the source has what is read.

    Raises `InputError` where the source can't be used at all, or holds no example of the ``wanted`` kinds.
    """
    where = table(source, wanted)
    return _collect((read() for read in _open(where, wanted, columns)), where, wanted)


def read_all(sources: Sequence[str | Mapping[str, Any]], wanted: Sequence[type[Example]]) -> Data:
    """Read several sources, one after another; with ratios, so much of each that the mixture has them.

    The source that is scarcest for its ratio is taken whole, and of the others the first so many examples, in an order
    by the hash of each; nothing is repeated. What is left out is counted, as ``mixture``.
    """
    named = [{"path": source} if isinstance(source, str) else dict(source) for source in sources]
    for source in named:
        if unknown := set(source) - {"path", "ratio", "columns"}:
            raise InputError(
                f"unknown key {min(unknown)!r}",
                where="data",
                fix="expected path, ratio if it is mixed, and columns if they have other names",
            )
        ratio = source.get("ratio", 1)
        if "path" not in source or not isinstance(ratio, int | float) or not ratio > 0:
            raise InputError(f"{source} names no path, or a ratio that is no number above 0", where="data")
    parts = [read(str(source["path"]), wanted, naming(source.get("columns"))) for source in named]
    if any("ratio" in source for source in named):
        ratios = [float(source.get("ratio", 1)) for source in named]
        unit = min(len(data.examples) / ratio for data, ratio in zip(parts, ratios, strict=True))
        parts = [_first(data, round(unit * ratio)) for data, ratio in zip(parts, ratios, strict=True)]
    examples = tuple(example for data in parts for example in data.examples)
    refused = tuple(row for data in parts for row in data.refused)
    constitutions = tuple(dict.fromkeys(name for data in parts for name in data.constitutions))
    return Data(examples, refused, constitutions, sum(data.thoughts for data in parts))


def _first(data: Data, count: int) -> Data:
    order = sorted(range(len(data.examples)), key=lambda i: digest(["mixture", data.examples[i].model_dump()]))
    kept = sorted(order[:count])
    out = tuple(
        Quarantined(row=i, where=data.examples[i].where, reason="mixture", detail="left out, for the ratio of sources")
        for i in sorted(order[count:])
    )
    return replace(data, examples=tuple(data.examples[i] for i in kept), refused=data.refused + out)


def hold_out(data: Data, share: float) -> tuple[Data, Data]:
    """Split ``data`` in two, the second with about ``share`` of the prompts: see `critic.files.once.hold_out`."""
    kept, out = once.hold_out(data.examples, lambda example: example.prompt, share, EVALUATION)
    return replace(data, examples=tuple(kept)), Data(tuple(out), (), data.constitutions)


def from_rows(rows: Iterable[Mapping[str, Any]], wanted: Sequence[type[Example]], name: str = "train_dataset") -> Data:
    """Read examples from rows that are in memory already, such as those of a `datasets.Dataset`."""
    given = (Raw(f"{name}:{place}", unfolded(OWN_NAMES.of_row(dict(row)))) for place, row in enumerate(rows))
    return _collect(given, name, wanted)


def table(source: str, wanted: Sequence[type[Example]]) -> str:
    """Return the export that holds the first wanted kind, where ``source`` is the directory of a run."""
    folder = Path(source).expanduser()
    if not (folder / "manifest.json").is_file():
        return source
    names = [folder / f"{_TABLES[wanted[0]]}.{suffix}" for suffix in ("jsonl", "parquet")]
    file = next((str(name) for name in names if name.is_file()), None)
    if file is None:
        raise InputError(
            f"this run has no {names[0].name}", where=source, fix="let `cai generate` finish, or name a file"
        )
    return file


class _Kinds:
    """Reads rows, and holds a file to one kind of examples: that of its first."""

    def __init__(self, wanted: Sequence[type[Example]]) -> None:
        self._wanted = wanted
        self._kind: type[Example] | None = None

    def examples(self, number: int, row: Broken | Raw) -> list[Example | Quarantined]:
        """Return the row's examples, or its refusal."""
        if isinstance(row, Broken):
            return [Quarantined(row=number, where=row.where, reason=row.reason, detail=row.detail)]
        try:
            examples, lacking = parse_all(row.columns, row.where, self._wanted)
            for example in examples:
                _expect(example, self._kind, self._wanted, row.columns)
        except RowError as error:
            return [_refused(number, row, error.reason, error.detail)]
        except Exception as error:  # whatever a stranger's values make Python raise costs their row, and no other
            return [_refused(number, row, "bad_row", f"it can't be read: {type(error).__name__}: {error}")]
        self._kind = self._kind or type(examples[0])
        return [*examples, *(_refused(number, row, error.reason, error.detail) for error in lacking)]


def _refused(number: int, row: Raw, reason: str, detail: str) -> Quarantined:
    said = detail.encode("utf-8", "replace").decode()  # it may quote half a surrogate pair of the row
    return Quarantined(row=number, where=row.where, reason=reason, detail=said)


def open_examples(
    source: str, wanted: Sequence[type[Example]], columns: Naming = OWN_NAMES
) -> Iterator[Callable[[], list[Example | Quarantined]]]:
    """Open a source as `read` does, with a function a row that reads it; to be called in their order."""
    rows = _Kinds(wanted)
    unread = enumerate(_open(table(source, wanted), wanted, columns))
    return (partial(lambda number, read: rows.examples(number, read()), number, read) for number, read in unread)


def _open(source: str, wanted: Sequence[type[Example]], columns: Naming) -> Iterator[Unread]:
    unread = open_source(source, columns).unread
    # Two rated answers to one prompt are a pair for a trainer of pairs alone.
    return answers_together(unread, labels=True) if Pair in wanted and Rated not in wanted else unread


def _collect(rows: Iterable[Broken | Raw], name: str, wanted: Sequence[type[Example]]) -> Data:
    examples: list[Example] = []
    refused: list[Quarantined] = []
    constitutions: dict[str, None] = {}
    thoughts = 0
    reader = _Kinds(wanted)
    for place, row in enumerate(rows):
        before = len(examples)
        for example in reader.examples(place, row):
            if isinstance(example, Quarantined):
                refused.append(example)
                continue
            examples.append(example)
            constitutions |= _constitutions(row)
        thoughts += len(examples) > before and isinstance(row, Raw) and thinks(row.columns)
    if not examples:
        why = f"; the first row that was refused, {refused[0].where}: {refused[0].detail}" if refused else ""
        raise InputError(f"there is nothing to train on{why}", where=name, fix=f"expected {kinds(wanted)}")
    return Data(tuple(examples), tuple(refused), tuple(constitutions), thoughts)


def _constitutions(row: Broken | Raw) -> dict[str, None]:
    """Return the hashes of the constitutions that a row names."""
    columns = row.columns if isinstance(row, Raw) else {}
    several = columns.get("constitution_hashes")
    hashes = [columns.get("constitution_hash"), *(several if isinstance(several, list) else ())]
    return dict.fromkeys(name for name in hashes if isinstance(name, str))


def _expect(
    example: Example, kind: type[Example] | None, wanted: Sequence[type[Example]], columns: Mapping[str, Any]
) -> None:
    if not isinstance(example, tuple(wanted)):
        hint = score_hint(columns) if Rated in wanted and isinstance(example, Demonstration) else ""
        raise RowError("other_kind", f"this trainer takes {kinds(wanted)}{hint}")
    if kind is not None and not isinstance(example, kind) and columns.get("kind") is None:
        raise RowError("mixed_formats", f"the rows above are {kinds([kind])}; give the others in a file of their own")


def parse_all(
    columns: Mapping[str, Any], where: str, wanted: Sequence[type[Example]]
) -> tuple[list[Example], list[RowError]]:
    """Make the examples of one row: one, or one for each answer or pair. Raises `RowError`, with what was expected.

    Beside them return what is to be said of answers without a label, where others have one: they are left out.
    """
    if is_feedback(columns):
        examples = _feedback(dict(columns), where, wanted)
        return _pairs(examples) if isinstance(examples[0], Ranked) and Ranked not in wanted else examples, []
    given = shaped(dict(columns), labels=True)
    are_rated = {"ratings", "responses"} <= given.keys()
    examples = _rated(given, where) if are_rated else [parse(given, where)]
    if Pair in wanted and Ranked not in wanted and not isinstance(examples[0], Pair):
        examples = _pairs(examples) or with_all_labels(examples, given)
    return examples, unlabelled(given["ratings"]) if are_rated else []


def _rated(given: Mapping[str, Any], where: str) -> list[Example]:
    """Return an example for each response that has a rating."""
    texts, ratings = _responses(given), given["ratings"]
    if not isinstance(ratings, list) or len(ratings) != len(texts):
        raise RowError("bad_rating", f"ratings is no list of {len(texts)} numbers, one for each response")
    answered = {name: value for name, value in given.items() if name not in ("responses", "ratings", "messages")}
    if "prompt" not in given and "messages" in given:
        answered["prompt"] = given["messages"]
    there = [(text, rating) for text, rating in zip(texts, ratings, strict=True) if rating is not None]
    if any(text is None for text, _ in there):
        raise RowError("bad_responses", "an answer is None; expected a string, a message or a chat")
    if not there:
        raise RowError("no_label", "none of the responses has a rating")
    return [parse(answered | {"completion": text, "rating": rating}, where) for text, rating in there]


def _pairs(examples: Sequence[Example]) -> list[Example]:
    """Return each two answers to one prompt of which one was found better, by their ranks or ratings."""
    goods: list[tuple[str, float]] = []
    for example in examples:
        if isinstance(example, Rated):
            goods.append((example.answer, example.value))
        elif isinstance(example, Ranked):
            goods += [(text, -float(rank)) for text, rank in zip(example.texts, example.ranks, strict=True)]
    common = {name: getattr(examples[0], name) for name in ("prompt", "weight", "group", "where")}
    try:
        return [
            Pair(chosen=better, rejected=worse, **common)
            for (better, above), (worse, below) in permutations(goods, 2)
            if above > below
        ]
    except ValidationError as error:
        raise RowError(slug_of(error), readable(error)) from None


def parse(columns: Mapping[str, Any], where: str = "") -> Example:
    """Make an example of a row in this project's columns (`critic.files.shapes`). Raises `RowError`.

    A label that is there and empty is a missing label: such a row is no demonstration.
    """
    given = {name: value for name, value in columns.items() if value is not None}
    common = {"where": where} | {key: given[key] for key in ("weight", "group") if key in given}
    try:
        if {"chosen", "rejected"} <= given.keys():
            prompt, (chosen, rejected) = _answered(given, [given["chosen"], given["rejected"]])
            extra = {key: given[key] for key in ("probability", "margin") if key in given}
            return Pair(prompt=prompt, chosen=chosen, rejected=rejected, **extra, **common)
        if {"responses", "ranks"} <= given.keys():
            prompt, texts = _answered(given, _responses(given))
            return Ranked(prompt=prompt, texts=texts, ranks=listed(given, "ranks"), **common)
        if "completion" in given or "messages" in given:
            alone = "completion" not in given
            prompt, (answer,) = _answered(*(({}, [given["messages"]]) if alone else (given, [given["completion"]])))
            if not _LABELS.isdisjoint(columns):
                return Rated(prompt=prompt, answer=answer, value=_value(given), **common)
            return Demonstration(prompt=prompt, answer=answer, **common)
    except ValidationError as error:
        raise RowError(slug_of(error), readable(error)) from None
    refuse_without_answers(dict(columns))
    refuse_null(columns)
    raise RowError("unknown_format", f"its columns are {', '.join(sorted(given)) or 'none'}; {BY_NAME}")


def listed(columns: Mapping[str, Any], name: str) -> Any:
    """Return a column, read as JSON where a table without lists had to write it as text."""
    value = columns[name]
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise RowError("broken_line", f"{name} is a string that isn't JSON; expected a list") from None
    return value


def _feedback(columns: dict[str, Any], where: str, wanted: Sequence[type[Example]]) -> list[Example]:
    """Return what a row of feedback teaches, of the ``wanted`` kinds; a ranking where it can be made pairs."""
    try:
        feedback = from_file(columns, where, "human")
        taught = [parse(row, where) for _, row in feedback.rows(ties=True)]
    except ValidationError as error:
        raise RowError(slug_of(error), readable(error)) from None
    examples = [example for example in taught if isinstance(example, tuple(wanted))]
    if not examples and Pair in wanted:
        examples = [example for example in taught if isinstance(example, Ranked)]
    if not examples:
        raise RowError(_OTHER, f"feedback of kind {feedback.kind} teaches {kinds(wanted)} nothing, or was not read")
    return examples


def _responses(columns: Mapping[str, Any]) -> list[Any]:
    responses = listed(columns, "responses") if "responses" in columns else None
    if not isinstance(responses, list):
        raise RowError("bad_responses", "responses is not a list")
    return responses


def _answered(columns: dict[str, Any], values: list[Any]) -> tuple[Prompt, tuple[str, ...]]:
    """Return the prompt and the answers; the prompt may come in its own column, or as the turns before the answers."""
    # As messages, texts are checked for characters that can't be stored.
    sides = [side({"role": "assistant", "content": v} if isinstance(v, str) else v) for v in values]
    chat = columns.get("messages")
    if isinstance(chat, list) and ends_with_answer(chat):  # it repeats an answer; otherwise it asks for them
        columns = {key: value for key, value in columns.items() if key != "messages"}
    messages: Messages | None = prompt_messages(columns)
    before = {turns for turns, _ in sides if turns}
    if messages is None and len(before) == 1 and all(turns for turns, _ in sides):
        (messages,) = before
    elif messages is None:
        reason = "no_shared_prompt" if before else "no_prompt"
        raise RowError(reason, "no prompt, or one that differs between the answers; expected one in the column prompt")
    elif before - {messages}:
        raise RowError("no_shared_prompt", "the turns before an answer differ from those in the column prompt")
    tags = columns.get("tags")
    return Prompt(messages=messages, tags=tuple(tags) if isinstance(tags, list) else ()), tuple(
        text for _, text in sides
    )


def _value(columns: Mapping[str, Any]) -> float:
    """Return a label as 0 or 1, or a rating as its place on its scale."""
    if "label" in columns:
        label = columns["label"]
        said = truth(label) if isinstance(label, str) else label
        if said not in (0, 1):
            raise RowError("bad_label", f"label is {label!r}; expected true or false")
        return float(said)
    if "rating" not in columns:
        raise RowError("no_label", "the label is empty; expected true or false in label, or a number in rating")
    scale = listed(columns, "scale") if "scale" in columns else None
    # A text has characters that can be numbers, but it is no scale: "19" doesn't go from 1 to 9.
    ends = [number(end) for end in scale] if isinstance(scale, list | tuple) and len(scale) == 2 else [None, None]
    rating, (low, high) = number(columns["rating"]), ends
    if rating is None or low is None or high is None:
        said = f"rating is {columns['rating']!r:.40} and scale {scale!r:.40}"
        raise RowError("bad_rating", f"{said}; expected a number in rating, and its scale as [lowest, highest]")
    if not low <= rating <= high or low == high or not math.isfinite(high - low):
        raise RowError("bad_rating", f"a rating of {rating:g} is not on the scale {low:g} to {high:g}")
    return (rating - low) / (high - low)
