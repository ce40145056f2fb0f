"""Runs that go on: what is done again, and what is not, where their input or their config has changed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from critic.files import inputs
from critic.files.row_messages import prompt_messages

from .run_bench import CALLS_A_ROW, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield Bench(tmp_path)


def test_a_raised_limit_is_the_same_run_and_a_lowered_one_is_not(bench: Bench) -> None:
    bench.run(limit=5)
    bench.calls()
    raised = bench.run(limit=8)
    assert (raised.progress.skipped, raised.progress.rows, raised.turned) == (5, 3, None)
    assert len(bench.calls()) == 3 * CALLS_A_ROW
    with pytest.raises(InputError, match="--limit: 8 there, 6 now"):
        bench.run(limit=6)
    assert bench.run().progress.rows == 4  # none at all is the largest


def test_another_config_is_refused_by_name_unless_extended(bench: Bench) -> None:
    bench.run()
    before = bench.rows()
    with pytest.raises(InputError, match=r"--seed: 0 there, 7 now(.|\n)*pass --extend"):
        bench.run(settings={"seed": 7})
    assert bench.rows() == before
    bench.run(settings={"seed": 7}, extend=True)
    assert bench.rows() != before


def test_where_an_extended_run_stops_no_label_of_another_config_is_exported_under_its_hash(bench: Bench) -> None:
    whole = bench.run()
    stopped = bench.run(settings={"seed": 7}, extend=True, max_calls=whole.calls + 3 * CALLS_A_ROW)
    assert stopped.progress.stopped and stopped.progress.rows == len(bench.rows()) < 12
    assert stopped.results.exported.rows == stopped.progress.rows
    bench.run(settings={"seed": 7})
    assert len(bench.rows()) == 12


def test_more_prompts_need_extend_and_make_only_their_calls(bench: Bench) -> None:
    bench.run()
    bench.calls()
    bench.prompts += ["one more"]
    with pytest.raises(InputError, match=r"input: p\.txt has other content now"):
        bench.run()
    assert bench.run(extend=True).calls == CALLS_A_ROW
    bench.prompts = bench.prompts[:5]
    assert bench.run(extend=True).calls == 0 and len(bench.rows()) == 5


def test_a_prompt_that_comes_twice_is_answered_once_and_named(bench: Bench) -> None:
    bench.prompts[7] = bench.prompts[2]
    outcome = bench.run()
    assert (outcome.progress.rows, outcome.progress.quarantined) == (11, 1)
    with bench.store() as store:
        [twice] = store.quarantined()
    assert (twice.row, twice.where, twice.reason) == (7, "p.txt:8", "duplicate") and "row 2" in twice.detail


def test_a_resumed_run_reads_only_the_rows_that_have_no_result(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.script = {"fail": {"every": 100, "how": "raise"}}
    parse, read = prompt_messages, list[object]()

    def counted(columns: dict[str, Any]) -> Any:
        read.append(columns)
        return parse(columns)

    monkeypatch.setattr(inputs, "prompt_messages", counted)
    quarantined = bench.run().progress.quarantined
    assert len(read) == 12 and 0 < quarantined < 12
    read.clear()
    again = bench.run().progress
    assert (len(read), again.skipped) == (quarantined, 12 - quarantined)


def test_what_a_resumed_run_leaves_is_what_an_undisturbed_one_does(bench: Bench, tmp_path: Path) -> None:
    bench.prompts = [f"question {i}" for i in range(120)]
    bench.prompts[30] = bench.prompts[110] = bench.prompts[111] = bench.prompts[2]
    bench.prompts[112] = " "  # no row
    assert bench.run(max_calls=90 * CALLS_A_ROW).progress.stopped
    resumed = bench.run().progress
    assert resumed.skipped + resumed.rows == 116 and resumed.skipped > 20
    undisturbed = Bench(tmp_path / "undisturbed")
    undisturbed.folder.mkdir()
    undisturbed.prompts = bench.prompts
    undisturbed.run()
    for name in ("pairs.jsonl", "feedback.jsonl", "quarantine.jsonl"):
        assert (bench.out / name).read_bytes() == (undisturbed.out / name).read_bytes()
    named = [json.loads(line) for line in (bench.out / "quarantine.jsonl").read_text().splitlines()]
    assert [(row["row"], row["where"]) for row in named] == [(30, "p.txt:31"), (110, "p.txt:111"), (111, "p.txt:112")]
    assert all("row 2 (p.txt:3)" in row["detail"] for row in named)


def test_rows_of_another_input_are_looked_at_again(bench: Bench) -> None:
    bench.run()
    bench.calls()
    bench.prompts[4] = "edited"
    edited = bench.run(extend=True)
    assert edited.calls == len(bench.calls()) == CALLS_A_ROW and edited.progress.skipped == 11
    assert bench.rows()[4].prompt.messages[0].content == "edited"
    assert bench.run().calls == 0
    bench.prompts = bench.prompts[1:]
    moved = bench.run(extend=True)
    assert (moved.calls, [row.row for row in bench.rows()]) == (0, list(range(11)))
    assert [row.prompt.messages[0].content for row in bench.rows()] == bench.prompts


def test_two_prompts_of_one_id_are_named_also_when_the_run_goes_on(bench: Bench) -> None:
    rows = [
        {"id": 7, "prompt": "one"},
        {"id": "7", "prompt": "two"},
        {"id": "8", "prompt": "three"},
        {"prompt": "four"},
        {"prompt": "five"},
    ]
    source = bench.folder / "p.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    stopped = bench.run(source=str(source), max_calls=CALLS_A_ROW).progress
    assert stopped.stopped
    progress = bench.run(source=str(source)).progress
    assert (progress.rows + progress.skipped, progress.quarantined) == (4, 1)
    [named] = [json.loads(line) for line in (bench.out / "quarantine.jsonl").read_text().splitlines()]
    assert (named["row"], named["reason"]) == (1, "same_id") and "row 0 (p.jsonl:1)" in named["detail"]


def test_one_prompt_may_come_with_its_id_as_often_as_it_has_pairs(bench: Bench) -> None:
    rows = [{"id": "7", "prompt": "one", "responses": [f"a{i}", f"b{i}"]} for i in range(3)]
    source = bench.folder / "p.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert bench.run(source=str(source), policy=None).progress.rows == 3
