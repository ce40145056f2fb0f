"""A run's folder, a data set's and a file of feedback in every format that has a place for them, without a server."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from critic.feedback import Feedback
from critic.run.folder.manifest import write_manifest
from critic.run.folder.results import gather
from service.exports.offers import Offer, offered, write
from service.formats import FORMATS, format_of
from tests.factories import both_orders, judgement, provenance, revision, row
from tests.feedback_samples import feedback

WRITERS = [name for name, form in FORMATS.items() if form.tables]


def run_folder(folder: Path, log_odds: float = 2.0, format: Any = "jsonl") -> Path:
    """A finished run of three rows: a pair each where the judge had a preference, a revision and a critique."""
    probability = 0.5 if log_odds == 0 else 0.8
    rows = [
        row(
            i,
            [f"The Nile, {i}.", "The Po."],
            [judgement(both_orders("calm", log_odds, log_odds), probability)],
            revisions=[[revision("calm", f"The Nile ({i}).")]],
        )
        for i in range(3)
    ]
    folder.mkdir()
    results = gather(lambda: iter(rows), lambda: iter(()), provenance(), folder, format, config={}, calls=0)
    write_manifest(results, folder)
    return folder


def labels() -> list[Feedback]:
    return [
        feedback("comparison", {"choice": "second"}, annotator="ann"),
        feedback("comparison", {"choice": "tie"}, annotator="ann"),
        feedback("thumbs", {"value": "up"}, texts=["The Nile."], annotator="ann"),
        feedback("ranking", {"ranks": [2, 1, 3]}, texts=["The Nile.", "The Po.", "A lamp."]),
        feedback("rating", {"value": 4, "scale": {"min": 1, "max": 5}}, texts=["The Nile."]),
    ]


def feedback_file(folder: Path) -> Path:
    file = folder / "labels.jsonl"
    file.write_text("".join(label.model_dump_json() + "\n" for label in labels()))
    return file


def dataset_folder(folder: Path) -> Path:
    """A data set's version as the service writes it."""
    folder.mkdir()
    for label in labels():
        for table, columns in label.rows():
            with (folder / f"{table}.jsonl").open("a") as file:
                file.write(json.dumps(columns) + "\n")
    (folder / "manifest.json").write_text('{"name": "rivers", "version": 1}')
    return folder


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_run_in_every_format(name: str, format: Any, tmp_path: Path) -> None:
    form = format_of(name)
    out = tmp_path / f"out{form.suffixes[0]}"
    written = write(offered(run_folder(tmp_path / "run", format=format)), form, out)
    assert written.table == ("pairs" if "pairs" in form.tables else "feedback")
    comparisons = [label for label in form.read(out, "ai") if isinstance(label, Feedback)]
    comparisons = [label for label in comparisons if label.kind == "comparison"]
    expected = [row(i).prompt.messages[0].content for i in range(3)]
    assert [label.prompt.messages[-1].content for label in comparisons] == expected
    for number, label in enumerate(comparisons):
        [(_, pair)] = label.rows()
        assert pair["chosen"] == [{"role": "assistant", "content": f"The Nile, {number}."}]
        assert pair["rejected"] == [{"role": "assistant", "content": "The Po."}]
    assert form.usage(written.table, out) == "" or str(out.name) in form.usage(written.table, out)


@pytest.mark.parametrize("name", WRITERS)
def test_a_data_set_in_every_format(name: str, tmp_path: Path) -> None:
    form = format_of(name)
    out = tmp_path / f"out{form.suffixes[0]}"
    write(offered(dataset_folder(tmp_path / "rivers")), form, out)
    first = next(label for label in form.read(out) if isinstance(label, Feedback))
    assert first.kind == "comparison"
    [(_, pair)] = first.rows()
    assert pair["chosen"][0]["content"] == "The Po."


def test_feedback_becomes_the_rows_of_each_table(tmp_path: Path) -> None:
    offer = offered(feedback_file(tmp_path))
    tables = {}
    for table in ("pairs", "rankings", "ratings"):
        out = tmp_path / f"{table}.jsonl"
        written = write(offer, format_of("jsonl"), out, table)
        tables[table] = written.rows
        assert len(out.read_text().splitlines()) == written.rows
    assert tables == {"pairs": 1, "rankings": 1, "ratings": 2}
    written = write(offer, format_of("trl"), tmp_path / "trl.jsonl")
    assert json.loads((tmp_path / "trl.jsonl").read_text())["chosen"] == [{"role": "assistant", "content": "The Po."}]
    assert written.left_out == Counter({"tie": 1, "no row of pairs": 3})


def test_thumbs_alone_are_what_kto_takes(tmp_path: Path) -> None:
    thumbs = [feedback("thumbs", {"value": "down"}, texts=["The Po."])]
    written = write(Offer("here", labels=thumbs), format_of("llama-factory"), tmp_path / "kto.jsonl")
    assert written.table == "ratings"
    assert json.loads((tmp_path / "kto.jsonl").read_text()) == {
        "conversations": [{"from": "human", "value": "Name a river."}, {"from": "gpt", "value": "The Po."}],
        "label": False,
    }


def test_a_run_without_pairs_is_no_run_of_revisions(tmp_path: Path) -> None:
    offer = offered(run_folder(tmp_path / "run", log_odds=0.0))
    with pytest.raises(InputError, match="there are no rows of pairs to write") as caught:
        write(offer, format_of("trl"), tmp_path / "pairs.jsonl")
    assert "another table: sft." in str(caught.value)
    assert not (tmp_path / "pairs.jsonl").exists()
    assert write(offer, format_of("trl"), tmp_path / "sft.jsonl", "sft").rows == 3


def test_what_holds_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    for source, words in (
        (tmp_path / "empty", "no finished run"),
        (tmp_path / "no", "no such folder"),
        (tmp_path / "notes.txt", "no file of feedback"),
    ):
        with pytest.raises(InputError, match=words):
            offered(source)
    offer = offered(run_folder(tmp_path / "run"))
    with pytest.raises(InputError, match="no such folder"):
        write(offer, format_of("trl"), tmp_path / "nowhere" / "x.jsonl")
    with pytest.raises(InputError, match="this is a folder"):
        write(offer, format_of("trl"), tmp_path / "empty")
    with pytest.raises(InputError, match="no place for pairs"):
        write(offer, format_of("oasst"), tmp_path / "x.jsonl")
    with pytest.raises(InputError, match="no place for rankings"):
        write(offer, format_of("trl"), tmp_path / "x.jsonl", "rankings")


def test_a_failed_export_leaves_the_old_file(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    out = tmp_path / "pairs.jsonl"
    out.write_text("old")
    with (folder / "pairs.jsonl").open("a") as file:
        file.write('{"broken')
    with pytest.raises(InputError, match=r"pairs.jsonl:4"):
        write(offered(folder), format_of("trl"), out)
    assert out.read_text() == "old" and not list(tmp_path.glob(".*"))
