"""Exports: what each table holds, the same bytes twice, and old files that outlive a failure."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest

from critic.files.inputs import read_pairs
from critic.records import Line, Message, Prompt, Quarantined, Ranking, Row
from critic.run.folder import export as export_module
from critic.run.folder.export import ExportCounts, Parquet, export
from critic.run.folder.tables import TABLES
from service.formats.parquet import SCHEMAS
from tests.factories import both_orders, judgement, provenance, revision, row, vote

REFUSED = Quarantined(row=7, where="prompts.jsonl:8", reason="too_long", detail="9 characters; the limit is 8.")

ROWS = [
    row(
        0,
        judgements=[
            judgement(both_orders("calm", 2.0, 1.0), 0.8),
            judgement([vote("calm", None, raw="Hm\u2028m")], None, group="north"),
        ],
        tags=["geography"],
        revisions=[
            [revision("calm", "The Nile."), revision("kind", None, round=1), revision("kind", "Nile!", round=2)],
            [revision("kind", None)],
        ],
    ),
    row(1, judgements=[judgement(both_orders("calm", -2.0, -1.0), 0.25, group="south")]),
    row(2, ["same", "other"], [judgement(both_orders("calm", 1.0, -1.0), 0.5)]),
]


def write(
    directory: Path, format: Literal["jsonl", "parquet"], rows: list[Row] = ROWS, refused: tuple[Quarantined, ...] = ()
) -> ExportCounts:
    return export(lambda: iter(rows), lambda: iter(refused), provenance(), directory, format)


def load(directory: Path, table: str, format: str) -> list[dict[str, Any]]:
    path = directory / f"{table}.{format}"
    if format == "parquet":
        records: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return records
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(params=["jsonl", "parquet"])
def format(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_pairs_put_the_better_answer_first_with_its_probability(tmp_path: Path, format: Any) -> None:
    write(tmp_path, format)
    first, second = load(tmp_path, "pairs", format)
    assert first["prompt"] == [{"role": "user", "content": "Name a river."}]
    assert first["chosen"] == [{"role": "assistant", "content": "The Nile, of course."}]
    assert first["rejected"] == [{"role": "assistant", "content": "The Po."}]
    assert (first["probability"], first["weight"], first["group"]) == (0.8, 1.0, None)
    assert second["chosen"] == [{"role": "assistant", "content": "The Po."}]
    assert (second["probability"], second["group"], second["row"]) == (0.75, "south", 1)
    assert first["tags"] == ["geography"] and first["where"] == "prompts.jsonl:1"
    assert first["constitution"] == "harmlessness@1.0.0" and first["source"] == "ai"


def test_sft_has_each_revised_response_and_marks_the_last(tmp_path: Path, format: Any) -> None:
    write(tmp_path, format)
    revisions = [
        (r["row"], r["chain"], r["round"], r["principle"], r["completion"][0]["content"], r["final"])
        for r in load(tmp_path, "sft", format)
    ]
    assert revisions == [(0, 0, 0, "calm", "The Nile.", False), (0, 0, 2, "kind", "Nile!", True)]


def test_feedback_has_every_critique_correction_and_comparison(tmp_path: Path, format: Any) -> None:
    write(tmp_path, format)
    records = load(tmp_path, "feedback", format)
    assert [(r["row"], r["kind"], r["outcome"]) for r in records] == [
        (0, "critique", "critique"),
        (0, "correction", "revised"),
        (0, "critique", "nothing_to_revise"),
        (0, "critique", "critique"),
        (0, "correction", "revised"),
        (0, "critique", "nothing_to_revise"),
        (0, "comparison", "preference"),
        (0, "comparison", "unreadable"),
        (1, "comparison", "preference"),
        (2, "comparison", "tie"),
    ]
    assert records[1]["responses"] == ["The Nile, of course.", "The Nile."]
    assert records[2]["responses"] == ["The Nile."], "a critique is of the answer as it was in its round"
    assert records[4]["responses"] == ["The Nile.", "Nile!"]
    assert records[8]["responses"] == ["The Nile, of course.", "The Po."] and records[8]["probability"] == 0.25
    assert [(v["principle"], v["order"], v["log_odds"]) for v in records[8]["votes"]] == [
        ("calm", "given", -2.0),
        ("calm", "swapped", -1.0),
    ]
    assert records[7]["votes"][0]["raw"] == "Hm\u2028m" and records[7]["group"] == "north"


def test_a_ranking_is_feedback_on_all_responses(tmp_path: Path, format: Any) -> None:
    ranking = Ranking(ranks=(2, 1, 2), strengths=(-0.5, 1.0, -0.5), group="north")
    ranked = row(0, ["a", "b", "c"], ROWS[0].judgements[:1]).model_copy(update={"rankings": (ranking,)})
    write(tmp_path, format, [ranked])
    comparison, whole = load(tmp_path, "feedback", format)
    assert (comparison["kind"], comparison["ranks"]) == ("comparison", None)
    assert (whole["kind"], whole["responses"], whole["group"]) == ("ranking", ["a", "b", "c"], "north")
    assert (whole["ranks"], whole["strengths"], whole["votes"]) == ([2, 1, 2], [-0.5, 1.0, -0.5], None)


def test_every_record_has_every_column_in_both_formats_alike(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write(tmp_path / "a", "jsonl")
    write(tmp_path / "b", "parquet")
    for name, table in TABLES.items():
        lines = load(tmp_path / "a", name, "jsonl")
        assert lines == load(tmp_path / "b", name, "parquet")
        assert all(list(line) == table.schema.names for line in lines)
        assert "margin" not in table.schema.names


def test_the_same_rows_give_the_same_bytes(tmp_path: Path, format: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_module, "GROUP_ROWS", 2)
    counts = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        counts.append(write(folder, format, refused=(REFUSED,)))
        assert write(folder, format, refused=(REFUSED,)) == counts[-1], "written twice"
    assert counts[0] == counts[1]
    for file in counts[0].files.values():
        assert (tmp_path / "a" / file.name).read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    assert {name: file.records for name, file in counts[0].files.items()} == {
        "pairs": 2,
        "sft": 2,
        "feedback": 10,
        "quarantine": 1,
    }


def test_the_quarantine_is_a_file_even_when_empty(tmp_path: Path, format: Any) -> None:
    write(tmp_path, format, refused=(REFUSED,))
    assert load(tmp_path, "quarantine", "jsonl") == [REFUSED.model_dump()]
    write(tmp_path, format)
    assert (tmp_path / "quarantine.jsonl").read_bytes() == b""


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), RuntimeError("lost")])
def test_a_failed_export_leaves_the_old_files_and_nothing_else(tmp_path: Path, format: Any, fault: Exception) -> None:
    write(tmp_path, format)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def rows() -> Iterator[Row]:
        yield ROWS[1]
        raise fault

    with pytest.raises(type(fault)):
        export(rows, lambda: iter(()), provenance(), tmp_path, format)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_really_full_disk_is_an_error_and_no_short_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`/dev/full` takes no byte: the error comes when the buffer is flushed, which is after the last row."""
    real = Path.open
    full = Path("/dev/full")
    monkeypatch.setattr(Path, "open", lambda self, *a: real(full if self.name == ".pairs.jsonl.part" else self, *a))
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, "jsonl")
    assert list(tmp_path.iterdir()) == []


def test_the_other_format_does_not_stay_behind(tmp_path: Path) -> None:
    write(tmp_path, "jsonl")
    write(tmp_path, "parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "feedback.parquet",
        "pairs.parquet",
        "quarantine.jsonl",
        "sft.parquet",
    ]


def test_lines_stay_lines_for_readers_that_split_at_every_unicode_line_end(tmp_path: Path) -> None:
    write(tmp_path, "jsonl", [row(prompt_text="a\u2028b\u2029c\x85d\re", judgements=ROWS[0].judgements[:1])])
    text = (tmp_path / "pairs.jsonl").read_text()
    assert len(text.splitlines()) == 1
    assert json.loads(text)["prompt"][0]["content"] == "a\u2028b\u2029c\x85d\re"


def tool_turns(question: str) -> list[dict[str, Any]]:
    function = {"name": "times", "arguments": '{"of": 6}'}
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": function}]},
        {"role": "tool", "content": "42", "tool_call_id": "1", "name": "times"},
        {"role": "assistant", "content": "It is 42."},
        {"role": "user", "content": "Sure?"},
    ]


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_tool_turns_are_exported_and_read_again(tmp_path: Path, format: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first prompt with a tool turn comes when groups of others are written already."""
    monkeypatch.setattr("critic.run.folder.export.GROUP_ROWS", 2)
    called = [Message.model_validate(turn) for turn in tool_turns("What is 6 times 7?")]
    rows = [row(i, prompt_text=f"Question {i}?", judgements=ROWS[0].judgements[:1]) for i in range(6)]
    rows[4] = rows[4].model_copy(update={"prompt": Prompt(messages=tuple(called))})
    write(tmp_path, format, rows)
    read = list(read_pairs(str(tmp_path / f"pairs.{format}"), max_chars=1000, truncate=False))
    expected = [r.prompt.messages for r in rows]
    assert [line.item.prompt.messages for line in read if isinstance(line, Line)] == expected
    first = (tmp_path / f"pairs.{format}").read_bytes()
    write(tmp_path, format, rows)
    assert (tmp_path / f"pairs.{format}").read_bytes() == first


def test_parquet_has_columns_of_tool_turns_only_where_there_are_any(tmp_path: Path) -> None:
    write(tmp_path, "parquet")
    assert (
        pq.read_schema(tmp_path / "pairs.parquet").field("prompt").type == TABLES["pairs"].schema.field("prompt").type
    )
    own = SCHEMAS["feedback"]
    with (tmp_path / "feedback.parquet").open("wb") as file:
        writer = Parquet(file, own)
        for messages in ([{"role": "user", "content": "q"}], tool_turns("What is 6 times 7?")):
            writer.write({"kind": "comparison", "prompt": {"messages": messages, "tags": [], "id": None}})
        writer.close()
    plain, called = pq.read_table(tmp_path / "feedback.parquet").column("prompt").to_pylist()
    [turn] = plain["messages"]
    assert {key: value for key, value in turn.items() if value is not None} == {"role": "user", "content": "q"}
    turns = []
    for turn in called["messages"]:
        turns.append({k: v for k, v in turn.items() if v is not None})
    assert turns == tool_turns("What is 6 times 7?")
