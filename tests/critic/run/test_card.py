"""The dataset card: `datasets` loads a run's exports by it, and never old ones."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from critic.records import Quarantined, Row
from critic.run.folder.results import Results, gather
from critic.run.folder.tables import TABLES
from critic.run.pages.card import card, features, write_card
from tests.factories import both_orders, judgement, provenance, revision, row

FORMATS = pytest.mark.parametrize("format", ["jsonl", "parquet"])


def rows(n: int, word: str = "river", revised: bool = True) -> list[Row]:
    return [
        row(
            i,
            [f"A {word}, the {i}th.", "No."],
            [judgement(both_orders("calm", 2.0, 1.0), 0.8)],
            revisions=[[revision("calm", "Better.")]] if revised else [],
        )
        for i in range(n)
    ]


def results(directory: Path, format: Any, made: list[Row], refused: int = 0, judge: str = "judge-1") -> Results:
    lost = [Quarantined(row=i, where="x:1", reason="too_long", detail="long") for i in range(refused)]
    directory.mkdir(parents=True, exist_ok=True)
    gathered = gather(
        lambda: iter(made), lambda: iter(lost), provenance(judge), directory, format, config={"seed": 0}, calls=5
    )
    write_card(gathered, directory)
    return gathered


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """`datasets.load_dataset` with a cache of this test's own."""
    import datasets

    def load_table(directory: Path, table: str) -> Any:
        return datasets.load_dataset(str(directory), table, split="train", cache_dir=str(tmp_path / "cache"))

    return load_table


@FORMATS
def test_every_table_loads_with_its_types(tmp_path: Path, format: Any, load: Any) -> None:
    results(tmp_path / "run", format, rows(3))
    pairs, sft, feedback = (load(tmp_path / "run", table) for table in TABLES)
    assert pairs[1]["chosen"] == [{"role": "assistant", "content": "A river, the 1th."}]
    assert sft[0]["completion"][0]["content"] == "Better." and len(feedback) == 9
    assert pairs.features["group"].dtype == "string", "a column of nulls keeps its type"
    assert feedback[2]["votes"][0]["log_odds"] == 2.0


def test_features_are_what_datasets_would_write() -> None:
    import datasets

    for table in TABLES.values():
        assert features(table.schema) == datasets.Features.from_arrow_schema(table.schema)._to_yaml_list()


@FORMATS
def test_an_export_that_grew_is_loaded_anew(tmp_path: Path, format: Any, load: Any) -> None:
    results(tmp_path / "run", format, rows(2))
    assert len(load(tmp_path / "run", "pairs")) == 2
    results(tmp_path / "run", format, rows(5))
    assert len(load(tmp_path / "run", "pairs")) == 5
    results(tmp_path / "run", format, rows(5, word="lake"))
    assert load(tmp_path / "run", "pairs")[0]["chosen"][0]["content"] == "A lake, the 0th."


@FORMATS
def test_two_directories_of_one_name_do_not_meet(tmp_path: Path, format: Any, load: Any) -> None:
    results(tmp_path / "a" / "run", format, rows(2))
    results(tmp_path / "b" / "run", format, rows(2, word="lake"))
    texts = [load(tmp_path / parent / "run", "pairs")[0]["chosen"][0]["content"] for parent in "ab"]
    assert texts == ["A river, the 0th.", "A lake, the 0th."]


def test_the_format_may_change(tmp_path: Path, load: Any) -> None:
    results(tmp_path / "run", "jsonl", rows(2))
    assert len(load(tmp_path / "run", "pairs")) == 2
    results(tmp_path / "run", "parquet", rows(3))
    assert len(load(tmp_path / "run", "pairs")) == 3


@FORMATS
def test_an_empty_table_says_that_it_is_empty_and_is_never_an_old_one(tmp_path: Path, format: Any, load: Any) -> None:
    """The library can't load a split without rows, whatever the format; the others load beside it."""
    results(tmp_path / "run", format, rows(2))
    assert len(load(tmp_path / "run", "sft")) == 2
    results(tmp_path / "run", format, rows(2, revised=False))
    assert len(load(tmp_path / "run", "pairs")) == 2
    with pytest.raises(ValueError, match="corresponds to no data"):
        load(tmp_path / "run", "sft")
    assert (tmp_path / "run" / f"sft.{format}").exists()


def test_the_card_says_what_was_lost_and_what_is_wrong(tmp_path: Path) -> None:
    tie = row(9, judgements=[judgement(both_orders("calm", 5.0, -5.0), 0.5)])
    text = card(results(tmp_path / "run", "jsonl", [tie], refused=3))
    assert "| pair | tie | 1 |" in text and "| row (quarantined) | too_long | 3 |" in text
    assert "> **Warning.** Every comparison came out at 0.5" in text
    assert "load_dataset(" in text and "| `pairs` | 0 |" in text
    assert str(tmp_path) not in text


def test_names_cannot_break_the_card(tmp_path: Path) -> None:
    name = "evil\n---\nlicense: mit | <script>"
    text = card(results(tmp_path / "run", "jsonl", rows(1), judge=name))
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "unknown" and "<script>" not in text
    assert [config["config_name"] for config in front["configs"]] == list(TABLES)


def test_a_card_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gathered = results(tmp_path / "run", "jsonl", rows(1))
    before = (tmp_path / "run" / "README.md").read_bytes()
    made = results(tmp_path / "other", "jsonl", rows(2))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_card(made, tmp_path / "run")
    assert (tmp_path / "run" / "README.md").read_bytes() == before
    assert gathered.exported.files["pairs"].records == 1
    assert not list((tmp_path / "run").glob(".*"))
