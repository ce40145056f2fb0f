"""Runs on scripted engines: exactly once, by plan, stopped, quarantined, refused."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from base.errors import InputError
from critic.run import plan as planning
from critic.run.folder.store import RunStore, StoreError
from critic.run.run import dry_run

from .run_bench import CALLS_A_ROW, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield Bench(tmp_path)


def test_every_row_once_and_every_call_once(bench: Bench) -> None:
    outcome = bench.run()
    assert outcome.progress.rows == 12 and outcome.calls == 12 * CALLS_A_ROW
    assert [row.row for row in bench.rows()] == list(range(12))
    assert [row.prompt.messages[0].content for row in bench.rows()] == bench.prompts
    assert max(Counter(bench.calls()).values()) == 1


def test_the_same_command_again_calls_nothing_and_changes_nothing(bench: Bench) -> None:
    bench.run()
    before = bench.rows()
    bench.calls()
    again = bench.run()
    assert (again.progress.skipped, again.progress.rows, bench.calls()) == (12, 0, [])
    assert bench.rows() == before


def test_results_do_not_depend_on_the_order_in_which_rows_end(bench: Bench, tmp_path: Path) -> None:
    bench.run()
    slow = Bench(tmp_path / "slow")
    slow.folder.mkdir()
    slow.prompts = bench.prompts[::-1]
    slow.run()
    expected = {r.prompt.key: r.pairs for r in slow.rows()}
    assert {r.prompt.key: r.pairs for r in bench.rows()} == expected


def test_no_stage_waits_for_another_prompt(bench: Bench) -> None:
    bench.prompts = [f"question {i}" for i in range(200)]
    bench.run()
    calls = [json.loads(call) for call in bench.calls()]
    completions = [i for i, answer in enumerate(calls) if isinstance(answer[0], str)]
    reads = [i for i, answer in enumerate(calls) if not isinstance(answer[0], str)]
    # The first comparison is judged while most prompts have not even been sampled.
    assert sum(i > reads[0] for i in completions) > len(completions) / 2


def test_a_dry_run_plans_exactly_the_calls(bench: Bench) -> None:
    planned = asyncio.run(dry_run(bench.request()))
    assert bench.calls() == [] and not bench.out.exists()
    made = bench.run()
    assert planned.calls == made.calls == 12 * CALLS_A_ROW
    assert (planned.rows, planned.completions, planned.reads) == (12, 72, 96)


def test_a_dry_run_names_the_rows_that_the_run_refuses(bench: Bench) -> None:
    bench.prompts = ["one", "two", "one", " ", "x" * 50]
    planned = asyncio.run(dry_run(bench.request(max_chars=40)))
    assert (planned.rows, planned.quarantined) == (2, 2)
    assert planned.reasons == {"duplicate": 1, "too_long": 1}
    assert planned.first["duplicate"].startswith("p.txt:3: the same prompt as in row 0")
    progress = bench.run(max_chars=40).progress
    assert (progress.rows, progress.quarantined) == (planned.rows, planned.quarantined)


def test_a_plan_of_many_rows_alike_is_that_of_each_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.prompts = [f"question {i} " + "why " * (i * 7 % 40) for i in range(60)]
    monkeypatch.setattr(planning, "PLANNED", 20)
    estimated = asyncio.run(dry_run(bench.request()))
    monkeypatch.setattr(planning, "PLANNED", 1000)
    exact = asyncio.run(dry_run(bench.request()))
    assert (estimated.rows, estimated.calls, estimated.completion_tokens) == (60, exact.calls, exact.completion_tokens)
    assert estimated.prompt_tokens == pytest.approx(exact.prompt_tokens, rel=0.01)


@pytest.mark.parametrize(
    ("strategy", "mode"),
    [  # a strategy's calls don't depend on the mode of the judge, nor its calls on the strategy
        ("samples", "logprob"), ("revision", "contrast"), ("best-of-n", "cot?samples=2"),
        ("samples", "verdict"), ("revision", "score"), ("best-of-n", "logprob?prior=true"),
    ],
)  # fmt: skip
def test_a_dry_run_plans_the_calls_of_every_strategy_and_mode(bench: Bench, strategy: str, mode: str) -> None:
    settings = {"strategy": strategy, "samples": 3, "revisions": 2, "judge_principles": 2}
    planned = asyncio.run(dry_run(bench.request(settings=settings, modes=(mode,))))
    assert planned.calls == bench.run(settings=settings, modes=(mode,)).calls


def test_a_ranking_makes_no_more_calls(bench: Bench) -> None:
    settings = {"samples": 3, "ranking": True}
    assert asyncio.run(dry_run(bench.request(settings=settings))).calls == bench.run(settings=settings).calls
    assert all(len(row.rankings[0].ranks) == 3 for row in bench.rows())
    bench.calls()
    bench.run(settings={"samples": 3}, extend=True)
    assert bench.calls() == [] and not any(row.rankings for row in bench.rows())


def test_a_budget_is_hard_and_a_larger_one_goes_on(bench: Bench) -> None:
    stopped = bench.run(max_calls=50)
    assert stopped.progress.stopped and stopped.calls <= 50
    first = bench.calls()
    with bench.store() as store:
        assert store.calls() == len(first)
    whole = bench.run(max_calls=1000)
    assert not whole.progress.stopped and [row.row for row in bench.rows()] == list(range(12))
    assert not set(first) & set(bench.calls())


def test_editing_one_principle_makes_exactly_its_calls(bench: Bench) -> None:
    settings = {"revisions": 0}
    bench.run(settings=settings)
    bench.calls()
    bench.constitution["principles"][2]["compare"] = "reworded"
    edited = bench.run(settings=settings, extend=True)
    assert edited.calls == len(bench.calls()) == 12 * 2
    for row in bench.rows():
        assert {vote.principle for vote in row.votes()} == {"p0", "p1", "p2", "p3"}


def test_editing_a_principle_redoes_the_chains_that_drew_it(bench: Bench) -> None:
    bench.run()
    drew = sum(r.critique.principle == "p2" for row in bench.rows() for c in row.chains for r in c.revisions)
    bench.calls()
    bench.constitution["principles"][2]["critique"] = "reworded"
    assert bench.run(extend=True).calls == 2 * drew > 0  # a critique and its revision each; no vote reads it


def test_changing_a_weight_makes_no_call_and_moves_the_labels(bench: Bench) -> None:
    bench.run()
    before = bench.rows()
    bench.calls()
    bench.constitution["principles"][0]["weight"] = 50
    assert bench.run(extend=True).calls == 0
    after = bench.rows()
    expected = [r.chains for r in after]
    assert [r.chains for r in before] == expected
    wanted = [r.judgements[0].votes for r in after]
    assert [r.judgements[0].votes for r in before] == wanted
    changed = [row.judgements[0].probability for row in after]
    assert [row.judgements[0].probability for row in before] != changed


def test_a_call_that_fails_costs_its_row_and_is_tried_again(bench: Bench) -> None:
    bench.script = {"fail": {"every": 10, "how": "raise"}}
    outcome = bench.run()
    failed = outcome.progress.quarantined
    assert 0 < failed < 12 and outcome.progress.rows == 12 - failed
    with bench.store() as store:
        assert {q.reason for q in store.quarantined()} == {"engine_error"}
        numbers = [refused.row for refused in store.quarantined()]
        numbers += [row.row for row in store.rows()]
        assert sorted(numbers) == list(range(12))
    first = bench.calls()
    for _ in range(40):
        if not bench.run().progress.quarantined:
            break
    assert len(bench.rows()) == 12 and len(first) < 12 * CALLS_A_ROW


@pytest.mark.parametrize("how", ["empty", "nan", "repeat"])
def test_odd_answers_cost_no_row(bench: Bench, how: str) -> None:
    bench.script = {"fail": {"every": 10, "how": how}}
    outcome = bench.run()
    assert (outcome.progress.rows, outcome.progress.quarantined) == (12, 0)
    drops = Counter(drop.reason for row in bench.rows() for drop in row.drops)
    votes = [vote for row in bench.rows() for vote in row.votes()]
    if how == "nan":
        assert 0 < sum(vote.log_odds is None for vote in votes) < len(votes) / 2
    if how == "empty":
        assert drops["empty_response"] + drops["unreadable"] > 0


def test_a_directory_of_something_else_is_refused(bench: Bench) -> None:
    bench.out.mkdir()
    (bench.out / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="not empty"):
        bench.run()
    (bench.out / "run.db").write_text("not a database, but long enough to be looked at" * 20)
    with pytest.raises(InputError, match="not a run's database"):
        bench.run()
    assert (bench.out / "thesis.tex").read_text() == "precious"


def test_two_processes_do_not_share_a_directory(bench: Bench) -> None:
    bench.run()
    with bench.store() as store:
        config = store.config()
    with closing(RunStore.open(bench.out, config, extend=False)), pytest.raises(InputError, match="another process"):
        RunStore.open(bench.out, config, extend=False)


def test_a_full_disk_stops_the_run_and_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from critic.run.folder import store as module

    bench.prompts = [f"question {i}" for i in range(100)]
    connect = module._connect

    def small(path: Path, *, read_only: bool = False) -> Any:
        connection = connect(path, read_only=read_only)
        connection.execute("PRAGMA max_page_count = 30")  # SQLite then says what it says on a full disk
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(module, "_connect", small)
        with pytest.raises(StoreError, match="full"):
            bench.run()
    before = bench.calls()
    with bench.store() as store:
        committed = store.calls()
    assert 0 < committed < 100 * CALLS_A_ROW
    outcome = bench.run()
    assert outcome.calls == 100 * CALLS_A_ROW - committed and len(bench.rows()) == 100
    assert len(set(before) & set(bench.calls())) == len(before) - committed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 1}, "needs --samples 2"),
        ({"strategy": "revision", "revisions": 0}, "needs --revisions 1"),
        ({"tie_band": 0.7}, "--tie-band"),
        ({"aggregation": "loudest"}, "--aggregation"),
        ({"strategy": "revision", "ranking": True}, "--ranking needs every answer compared with every other"),
    ],
)
def test_settings_that_cannot_work_are_told_before_anything_starts(
    bench: Bench, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        bench.run(settings=settings)
    assert not bench.out.exists()


@pytest.mark.parametrize(
    ("modes", "message"),
    [
        (("coin",), "no judge mode 'coin'"),
        (("logprob", "score"), "2 modes for 1 judges"),
        (("rm",), "can't be asked in mode rm"),
        (("cot?samples=none",), "samples: .*integer.*\\n.*Options of cot: samples, temperature, max_tokens, low, high"),
        (("cot?sample=2",), "no option 'sample'; did you mean 'samples'"),
        (("cot?samples=2&temperature=0",), "several samples at temperature 0"),
        (("cot?samples",), "key=value"),
        (("contrast?weights=no.json",), "can't be read"),
    ],
)
def test_modes_that_cannot_work_are_told_before_anything_starts(
    bench: Bench, modes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=f"(?s){message}"):
        bench.run(modes=modes)
    assert not bench.out.exists()


def test_a_jury_votes_each_in_its_mode_and_the_first_writer_revises(bench: Bench) -> None:
    other = bench.folder / "other.yaml"
    other.write_text(yaml.safe_dump({"choose": "first", "likelihood": "long"}))
    scripted = bench.request().judges[0]
    bench.run(judges=(scripted, f"scripted:{other}"), modes=("logprob", "contrast"))
    for row in bench.rows():
        [judged] = row.judgements
        assert (judged.mode, judged.judge) == ("jury", "scripted:s.yaml, scripted:other.yaml")
        assert {(v.judge, v.mode, v.order) for v in judged.votes} == {
            ("scripted:s.yaml", "logprob", "given"),
            ("scripted:s.yaml", "logprob", "swapped"),
            ("scripted:other.yaml", "contrast", None),
        }
        assert {r.critique.model for chain in row.chains for r in chain.revisions} == {"scripted:s.yaml"}


def test_a_judge_named_twice_in_one_mode_is_refused(bench: Bench) -> None:
    with pytest.raises(InputError, match="named twice"):
        bench.run(judges=bench.request().judges * 2)


def test_two_judges_of_one_name_are_refused(bench: Bench) -> None:
    (bench.folder / "other").mkdir()
    namesake = bench.folder / "other" / "s.yaml"
    namesake.write_text(yaml.safe_dump({"choose": "first"}))
    with pytest.raises(InputError, match="can't be told apart"):
        bench.run(judges=(bench.request().judges[0], f"scripted:{namesake}"))


def test_an_answer_that_a_chat_ended_with_is_counted_as_left_off(bench: Bench) -> None:
    chat = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "yes"}]
    source = bench.folder / "p.jsonl"
    source.write_text(json.dumps({"messages": chat}) + "\n")
    bench.run(source=str(source))
    [row] = bench.rows()
    assert [(drop.what, drop.reason) for drop in row.drops if drop.reason == "given_answer"] == [
        ("response", "given_answer")
    ]


def test_thoughts_of_the_input_are_counted_as_left_out(bench: Bench) -> None:
    thinks = {"role": "assistant", "content": "yes", "reasoning_content": "is it?"}
    chat = [{"role": "user", "content": "one"}, thinks, {"role": "user", "content": "two"}]
    source = bench.folder / "p.jsonl"
    source.write_text(json.dumps({"messages": chat}) + "\n")
    bench.run(source=str(source))
    [row] = bench.rows()
    assert [(drop.what, drop.detail) for drop in row.drops if drop.reason == "thoughts"] == [
        ("response", "of 1 turns or answers")
    ]
