"""A run's exports, and what the service exports, are read as what trainers learn from."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from base.errors import InputError
from critic.run.request import RunRequest
from critic.run.run import run
from tests.factories import small_constitution
from tests.feedback_samples import feedback
from trainers.batches.data import read
from trainers.batches.examples import Demonstration, Pair, Ranked, Rated

TEACHING = (Pair, Ranked, Rated)


def lines(file: Path, *rows: Any) -> str:
    """Write rows as JSON Lines (NaN included, as Python writes it); a string is a line as it is."""
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(file)


@pytest.fixture(scope="module", params=["jsonl", "parquet"])
def a_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run on a scripted engine, with revisions, pairs and rankings."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "c.yaml").write_text(yaml.safe_dump(small_constitution(3)))
    (folder / "s.yaml").write_text("{}")
    (folder / "p.txt").write_text("".join(f"question {i}\n" for i in range(8)))
    spec = f"scripted:{folder / 's.yaml'}"
    settings = {"samples": 3, "ranking": True}
    asked = RunRequest(str(folder / "c.yaml"), str(folder / "p.txt"), (spec,), spec, settings=settings)
    asyncio.run(run(asked, folder / "out", format=request.param))
    return folder / "out"


def records(out: Path, table: str) -> list[dict[str, Any]]:
    """The records of an export."""
    if (file := out / f"{table}.jsonl").exists():
        return [json.loads(line) for line in file.read_text().splitlines()]
    rows: list[dict[str, Any]] = datasets.Dataset.from_parquet(str(out / f"{table}.parquet")).to_list()
    return rows


def test_a_runs_pairs_are_read_as_they_are(a_run: Path) -> None:
    expected, data = records(a_run, "pairs"), read(str(a_run), (Pair,))
    assert expected and not data.refused
    for record, example in zip(expected, data.examples, strict=True):
        assert isinstance(example, Pair)
        assert example.answers == (record["chosen"][0]["content"], record["rejected"][0]["content"])
        assert example.probability == record["probability"] > 0.5
    assert data.constitutions == (expected[0]["constitution_hash"],)


def test_a_runs_revisions_are_demonstrations(a_run: Path) -> None:
    expected, data = records(a_run, "sft"), read(str(a_run), (Demonstration,))
    assert expected and not data.refused
    wanted = [r["completion"][0]["content"] for r in expected]
    assert [example.answers[0] for example in data.examples] == wanted


def test_a_runs_feedback_teaches_by_comparisons_and_rankings(a_run: Path) -> None:
    """Critiques and corrections are left to SFT; every comparison that was read is taken, ties too."""
    table = next(str(file) for file in a_run.glob("feedback.*"))
    expected, data = records(a_run, "feedback"), read(table, TEACHING)
    kinds = Counter(record["kind"] for record in expected if record["kind"] != "comparison" or record["probability"])
    assert Counter(type(example) for example in data.examples) == {Pair: kinds["comparison"], Ranked: kinds["ranking"]}
    assert data.why_refused() == {"other_feedback": kinds["critique"] + kinds["correction"]}
    pairs = [example for example in data.examples if isinstance(example, Pair)]
    read_ = [record for record in expected if record["kind"] == "comparison" and record["probability"] is not None]
    better_first = [(r["responses"], r["probability"]) for r in read_]
    expected_pairs = [(tuple(t), p) if p >= 0.5 else (tuple(t[::-1]), 1 - p) for t, p in better_first]
    assert [(pair.answers, pair.probability) for pair in pairs] == expected_pairs


def test_what_the_service_exports_is_trained_on(tmp_path: Path) -> None:
    """`cai feedback export` writes records; their label says `first` or `second`, not a probability."""
    given = [
        feedback("comparison", {"choice": "second"}, group="north"),
        feedback("comparison", {"choice": "tie"}),
        feedback("comparison", {"choice": None, "outcome": "unreadable"}),
        feedback("critique", {"text": "Too short."}),
        feedback("ranking", {"ranks": [1, 2, 2]}, texts=["The Po.", "A lamp.", "A cup."]),
        feedback("thumbs", {"value": "down"}, texts=["A lamp."]),
        feedback("correction", {"text": "The Po, in Italy."}, texts=["The Po."]),
        feedback("demonstration", {"text": "The Nile."}, texts=[]),
    ]
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(label.model_dump_json() + "\n" for label in given))
    pairs = read(str(file), (Pair,))
    assert [(pair.answers, pair.probability) for pair in pairs.examples if isinstance(pair, Pair)] == [
        (("The Po.", "The Nile."), 1.0),
        (("The Nile.", "The Po."), 0.5),
        (("The Po.", "A lamp."), 1.0),
        (("The Po.", "A cup."), 1.0),
        (("The Po, in Italy.", "The Po."), 1.0),
    ]
    assert pairs.examples[0].group == "north"
    assert pairs.why_refused() == {"other_feedback": 4}
    assert [example.answers for example in read(str(file), (Rated,)).examples] == [("A lamp.",)]
    demonstrations = read(str(file), (Demonstration,)).examples
    assert [example.answers for example in demonstrations] == [("The Po, in Italy.",), ("The Nile.",)]


def test_a_directory_without_its_export_is_told(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match=r"this run has no pairs\.jsonl"):
        read(str(tmp_path), (Pair,))
