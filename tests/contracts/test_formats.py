"""What every file format promises: one bad row costs itself only, and what is written comes back, up to its loss."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import InputError
from critic.feedback import KINDS, Feedback
from critic.feedback.base import Columns
from critic.files.sources import Broken
from critic.run.folder.tables import TABLES
from service.exports.format_page import PAGE, page
from service.formats import FORMATS, format_of
from service.formats.base import DATA_TABLES, Entry, Found, Table
from tests.factories import judgement, provenance, revision, row
from tests.feedback_samples import TEXT, feedback, feedbacks

WRITERS = [name for name, known in FORMATS.items() if known.tables]
WRITTEN = [(name, table) for name in WRITERS for table in FORMATS[name].tables]
JSON_FORMATS = [(name, s) for name, known in FORMATS.items() for s in known.suffixes[:1] if s.startswith(".json")]
KEPT = {
    "trl": ("prompt", "chosen", "rejected", "completion", "label"),
    "trl-plain": ("prompt", "chosen", "rejected", "completion", "label"),
    "openrlhf": ("prompt", "chosen", "rejected", "completion", "label"),
    "hh-rlhf": ("prompt", "chosen", "rejected"),
    "nemo-rl": ("prompt", "chosen", "rejected", "responses", "ranks", "completion"),
    "llama-factory": ("prompt", "chosen", "rejected", "completion", "label"),
    "axolotl": ("prompt", "chosen", "rejected", "completion", "label"),
    "verl": ("prompt", "chosen", "rejected", "completion", "probability", "group"),
    "verl-sft": ("prompt", "completion"),
}
"""The columns of a data set's row that a foreign format has a place for; our own formats keep all."""

GIVES = {"pairs": "comparison", "rankings": "ranking", "ratings": "thumbs", "sft": "demonstration"}

formats = pytest.mark.parametrize("name", FORMATS)


def through(name: str, table: Table, entries: Iterable[Entry]) -> tuple[list[Found], Counter[str], bytes]:
    """Write and read again: what came back, what was lost, and the file."""
    with TemporaryDirectory() as folder:
        path = Path(folder, f"file{FORMATS[name].suffixes[0]}")
        lost = format_of(name).write(table, entries, path)
        return list(format_of(name).read(path)), lost, path.read_bytes()


def read_text(name: str, text: str, suffix: str, options: dict[str, Any] | None = None) -> list[Found]:
    with TemporaryDirectory() as folder:
        path = Path(folder, f"file{suffix}")
        path.write_text(text, "utf-8")
        return list(format_of(name, options).read(path))


@formats
def test_a_format_says_what_it_is(name: str) -> None:
    known = FORMATS[name]
    assert known.name == name
    assert set(known.reads) <= set(KINDS)
    assert set(known.tables) <= {"feedback", *DATA_TABLES}
    assert known.title and (known.loses or not known.tables) and all(known.tables.values())
    assert format_of(name) == known()


@formats
def test_a_table_without_a_place_is_refused(name: str, tmp_path: Path) -> None:
    for table in {"feedback", *DATA_TABLES} - set(FORMATS[name].tables):
        with pytest.raises(InputError, match=f"no place for {table}"):
            format_of(name).write(table, [], tmp_path / "file")
        assert not (tmp_path / "file").exists()


@formats
def test_a_file_that_isnt_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        list(format_of(name).read(tmp_path / f"missing{FORMATS[name].suffixes[0]}"))


def test_unknown_formats_and_options() -> None:
    with pytest.raises(InputError, match="Known formats: annotated-pairs, argilla"):
        format_of("yaml")
    with pytest.raises(InputError, match="Options of spreadsheet: prompt"):
        format_of("spreadsheet", {"promt": "question"})
    with pytest.raises(InputError, match="Options of trl: columns"):
        format_of("trl", {"prompt": "question"})


@pytest.mark.parametrize("name", ["jsonl", "parquet"])
@given(labels=st.lists(feedbacks(), max_size=5))
def test_our_own_formats_keep_feedback_as_it_is(name: str, labels: list[Feedback]) -> None:
    named = [label.model_copy(update={"where": "labels.jsonl:3"}) for label in labels]
    back, lost, _ = through(name, "feedback", named)
    assert back == named
    assert not lost


@pytest.mark.parametrize(("name", "table"), [(name, table) for name, table in WRITTEN if table != "feedback"])
@given(data=st.data())
@settings(max_examples=10)
def test_rows_of_a_data_set_come_back(name: str, table: Table, data: st.DataObject) -> None:
    kinds = ["comparison", "correction"] if table == "pairs" else [GIVES[table]]
    labels = data.draw(st.lists(feedbacks(kinds), min_size=1, max_size=4))
    rows = [row for label in labels for given, row in label.rows() if given == table]
    if name == "nemo-rl":  # of two, a ranking comes back as a comparison
        rows = [row for row in rows if len(row.get("responses", "abc")) > 2]
    read_back, lost, _ = through(name, table, rows)
    assert not [broken for broken in read_back if isinstance(broken, Broken)]
    skipped = sum(count for reason, count in lost.items() if reason.startswith("skipped"))
    assert len(read_back) == len(rows) - skipped
    if not skipped:
        back = [row for label in read_back if isinstance(label, Feedback) for _, row in label.rows()]
        expected = [_kept(name, table, row) for row in rows]
        assert [_kept(name, table, row) for row in back] == expected


def _kept(name: str, table: Table, row: Columns) -> Columns:
    everything = tuple(column for column in row if column != "where")
    columns = KEPT.get(f"{name}-{table}") or KEPT.get(name, everything)
    return {column: row[column] for column in columns if column in row}


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_entries_give_the_same_bytes(name: str) -> None:
    label = feedback("comparison", {"choice": "first"})
    table = next(iter(FORMATS[name].tables))
    entries: list[Entry] = [label] if table == "feedback" else [row for _, row in label.rows()]
    assert through(name, table, entries)[2] == through(name, table, entries)[2]


@pytest.mark.parametrize("name", [name for name in WRITERS if "pairs" in FORMATS[name].tables])
def test_what_is_lost_is_named_and_counted(name: str) -> None:
    judged = feedback("comparison", {"choice": "first", "probability": 0.75}, source="ai", group="north")
    _, lost, _ = through(name, "pairs", [row for _, row in judged.rows()])
    everything = {"probability": 1, "group": 1, "sources": 1} if name in KEPT else {}
    assert lost == {column: rows for column, rows in everything.items() if column not in KEPT[name]}


@pytest.mark.parametrize(("name", "table"), WRITTEN)
def test_entries_of_another_table_are_refused(name: str, table: Table, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected feedback|no row of the table"):
        format_of(name).write(table, [{"text": "The Nile."}], tmp_path / "file")


@pytest.mark.parametrize(("name", "table"), [(n, t) for n, t in WRITTEN if t in ("pairs", "sft")])
def test_what_a_run_exports_can_be_written(name: str, table: Table) -> None:
    made = row(judgements=[judgement([], 0.75)], revisions=[[revision("short", "Nile.")]])
    records = list(TABLES[table].records(made, provenance()))
    labels, lost, _ = through(name, table, records)
    assert [label.kind for label in labels if isinstance(label, Feedback)] == [GIVES[table]]
    assert name == "jsonl" or lost["policy"] == 1


# Words that some reader looks for, so that random rows get past the first check.
VOCABULARY = """
    kind label prompt chosen rejected responses ranks completion rating scale messages role content user assistant
    system value from human gpt conversations chosen_messages instruction input output history context completions rank
    chosen_response rejected_response metadata annotators comparisons annotations version 2.0 pref a response_a
    response_b text fields suggestions response1 response2 preference ranking thumbs_1 user_id agent score replies
    emojis labels quality +1 prompter type spans first up comparison critique source tags where group weight
    probability constitution_hashes
"""
WORDS = st.sampled_from(VOCABULARY.split())
SCALARS = st.none() | st.booleans() | st.integers(-2, 3) | st.floats(allow_nan=False) | WORDS | TEXT | st.just("a\0")
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6), max_leaves=25
)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "suffix"), JSON_FORMATS)
@given(rows=st.lists(st.dictionaries(WORDS, JSON, max_size=8), min_size=1, max_size=3))
@settings(max_examples=25)  # for each of many formats
def test_no_row_breaks_a_reader(name: str, suffix: str, rows: list[Columns]) -> None:
    text = json.dumps(rows) if suffix == ".json" else "\n".join(map(json.dumps, rows))
    for label in read_text(name, text, suffix):
        assert isinstance(label, Feedback | Broken)
        if isinstance(label, Broken):
            assert label.where and label.reason and label.detail
            label.detail.encode()


@given(st.sampled_from(list(KINDS)), st.data())
def test_no_damage_to_feedback_breaks_our_reader(kind: str, data: st.DataObject) -> None:
    raw = data.draw(feedbacks([kind], turns=1)).model_dump(mode="json")
    target = data.draw(st.sampled_from([raw["label"], raw["prompt"], raw["responses"][0], raw]))
    target[data.draw(st.sampled_from(list(target)))] = data.draw(JSON)
    (label,) = read_text("jsonl", json.dumps(raw), ".jsonl")
    assert isinstance(label, Feedback | Broken)


@pytest.mark.parametrize("name", [name for name in FORMATS if ".jsonl" in FORMATS[name].suffixes and name != "argilla"])
def test_a_bad_row_costs_itself_only(name: str) -> None:
    good = {
        "oasst": {
            "prompt": {
                "text": "Name a river.",
                "role": "prompter",
                "replies": [{"text": "The Nile.", "role": "assistant", "replies": []}],
            }
        },
        "hh-rlhf": {
            "chosen": "\n\nHuman: Name a river.\n\nAssistant: The Nile.",
            "rejected": "\n\nHuman: Name a river.\n\nAssistant: Go away.",
        },
    }.get(
        name, {"prompt": "Name a river.", "instruction": "Name a river.", "chosen": "The Nile.", "rejected": "Go away."}
    )
    lines = [json.dumps(good), '{"broken', '{"prompt": 3}', json.dumps(good)]
    first, broken, bad, last = read_text(name, "\n".join(lines), ".jsonl")
    assert isinstance(first, Feedback) and isinstance(last, Feedback)
    assert isinstance(broken, Broken) and broken.where == "file.jsonl:2"
    assert isinstance(bad, Broken) and bad.where == "file.jsonl:3"
    assert first.where.startswith("file.jsonl:1")


def test_the_page_of_formats_is_what_they_say() -> None:
    """`python -m service.exports.format_page` makes it."""
    assert PAGE.read_text("utf-8") == page()


THOUGHT = "They may mean the one in Peru."
THINKING = {"role": "assistant", "content": "The Ucayali.", "reasoning_content": THOUGHT}
PLAIN = {"role": "assistant", "content": "The Rhine."}
ASKED = [{"role": "user", "content": "Name a river."}]
THOUGHT_ROWS: dict[Table, Columns] = {
    "pairs": {"prompt": ASKED, "chosen": [THINKING], "rejected": [PLAIN]},
    "ratings": {"prompt": ASKED, "completion": [THINKING], "label": True},
    "sft": {"prompt": ASKED, "completion": [THINKING]},
}


@pytest.mark.parametrize(("name", "table"), [known for known in WRITTEN if known[1] in THOUGHT_ROWS])
def test_what_a_model_thought_is_written_or_counted_as_lost(name: str, table: Table, tmp_path: Path) -> None:
    row = THOUGHT_ROWS[table]
    path = tmp_path / f"file{FORMATS[name].suffixes[0]}"
    lost = format_of(name).write(table, [row, row], path)
    is_text = path.suffix.startswith(".json")
    assert lost["reasoning"] == (0 if FORMATS[name].keeps_reasoning else 2)
    assert sum(count for key, count in lost.items() if key.startswith("skipped_")) == 0
    assert (THOUGHT in path.read_text("utf-8") if is_text else False) == FORMATS[name].keeps_reasoning


@pytest.mark.parametrize(("name", "table"), [known for known in WRITTEN if known[1] == "feedback"])
def test_thoughts_in_labels_are_written_or_counted_as_lost(name: str, table: Table, tmp_path: Path) -> None:
    label = feedback("comparison", {"choice": "first"})
    first, *others = label.responses
    thinking = label.model_copy(update={"responses": (first.model_copy(update={"reasoning": THOUGHT}), *others)})
    lost = format_of(name).write(table, [thinking], tmp_path / f"file{FORMATS[name].suffixes[0]}")
    assert lost["reasoning"] == (0 if FORMATS[name].keeps_reasoning else 1)


def test_a_mistyped_format_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match="there is no format 'tlr'") as refused:
        format_of("tlr")
    assert refused.value.fix and refused.value.fix.startswith("did you mean 'trl'? Known formats: ")
