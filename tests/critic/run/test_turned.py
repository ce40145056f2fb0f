"""An extended run says what changed, and keeps the exports of before."""

import json
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from critic.run.folder.store import RunStore
from critic.run.folder.turned import BEFORE, compare
from tests.factories import both_orders, judgement, row

from .run_bench import Bench


def _extend(bench: Bench, weight: float, **more: int) -> None:
    bench.constitution["principles"][0]["weight"] = weight
    bench.run(extend=True, **more)


def test_what_changed_is_counted_against_the_exports_that_are_kept(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.run()
    first = (bench.out / "pairs.jsonl").read_bytes()
    bench.constitution["principles"][0]["weight"] = 50
    turned = bench.run(extend=True).turned
    assert turned is not None and turned.rows == 12 and turned.lost == 0
    kept = (bench.out / BEFORE / "pairs.jsonl").read_bytes()
    assert kept == first != (bench.out / "pairs.jsonl").read_bytes()

    def chosen(file: bytes) -> dict[str, Any]:
        pairs = map(json.loads, file.splitlines())
        return {pair["prompt"][0]["content"]: pair["chosen"] for pair in pairs}

    before, after = chosen(kept), chosen((bench.out / "pairs.jsonl").read_bytes())
    swapped = sum(before[prompt] != after[prompt] for prompt in before.keys() & after.keys())
    assert turned.judgements["changed_side"] == swapped > 0
    assert [turn.change for turn in turned.turns].count("changed_side") == swapped


def test_the_same_config_again_changes_nothing_and_keeps_what_was_kept(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.run()
    _extend(bench, 50)
    kept = (bench.out / BEFORE / "pairs.jsonl").read_bytes()
    again = bench.run(extend=True)
    assert again.turned is None and (bench.out / BEFORE / "pairs.jsonl").read_bytes() == kept


def test_the_next_extension_keeps_the_exports_before_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.run()
    _extend(bench, 50)
    second = (bench.out / "pairs.jsonl").read_bytes()
    _extend(bench, 1)
    assert (bench.out / BEFORE / "pairs.jsonl").read_bytes() == second


def test_a_stopped_extension_goes_on_and_counts_all_of_its_rows(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.run()
    first = (bench.out / "pairs.jsonl").read_bytes()
    calls = len(bench.calls())
    bench.constitution["principles"][1]["compare"] = "reworded"
    stopped = bench.run(extend=True, max_calls=calls + 8)
    assert stopped.progress.stopped and stopped.turned is not None and 0 < stopped.turned.rows < 12
    whole = bench.run(max_calls=None).turned  # the config is the directory's own by now
    assert whole is not None and whole.rows == 12
    assert (bench.out / BEFORE / "pairs.jsonl").read_bytes() == first


def test_answers_that_were_written_again_are_not_matched() -> None:
    one = judgement(both_orders("p", 2.0, 2.0), 0.88)
    old = row(candidates=("The Nile.", "The Po."), judgements=[one])
    new = row(candidates=("The Nile.", "The Rhine."), judgements=[one])
    turned = compare([(old, new), (old, None)])
    assert turned.judgements == {"group_is_gone": 1, "group_is_new": 1} and (turned.rows, turned.lost) == (2, 1)
    assert (turned.pairs_before, turned.pairs_after, turned.turns) == (2, 1, [])


def test_a_file_system_without_hard_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    bench = Bench(tmp_path)
    bench.run()
    first = (bench.out / "pairs.jsonl").read_bytes()
    _extend(bench, 50)
    assert (bench.out / BEFORE / "pairs.jsonl").read_bytes() == first


def test_a_run_that_was_never_extended_keeps_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.run().turned is None
    assert not (bench.out / BEFORE).exists()
    with RunStore.open_existing(bench.out)._db as db:  # nothing is stored twice
        assert db.execute("SELECT count(*) FROM replaced").fetchone() == (0,)


def test_a_file_where_the_folder_is_to_be_is_told_before_an_engine_opens(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.out.write_text("mine")
    with pytest.raises(InputError, match="this is a file"):
        bench.run()
    assert bench.out.read_text() == "mine"
