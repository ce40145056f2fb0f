"""What is read again of an input whose shards are finished, edited, cut short or of another plan."""

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critic.cluster.shard_worker import Cut
from critic.records import Quarantined
from critic.run.folder.shards import About

from .run_bench import Bench
from .shard_blocks import PLAN, Finished, Shard, cut, entries


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def positions(shards: Sequence[Shard]) -> dict[int, list[int]]:
    by_shard = {}
    for shard in shards:
        by_shard[shard["shard"]] = [entry.row for entry in entries(shard)]
    return by_shard


def done(shards: Sequence[Shard], retry: Collection[int] = ()) -> Finished:
    """The shards as if each had been run, and an engine had failed on the rows ``retry``."""
    finished = {}
    for shard in shards:
        rows = [entry.row for entry in entries(shard)]
        failed = tuple(row for row in rows if row in retry)
        finished[shard["shard"]] = About(
            shard["shard"], PLAN, shard["items"], len(rows) - len(failed), len(failed), failed, 0
        )
    return finished


def test_the_input_is_cut_by_position_and_the_last_block_counts_the_shards(bench: Bench) -> None:
    request = bench.request()
    shards, last = cut(request)
    assert positions(shards) == {0: [0, 1, 2, 3, 4], 1: [5, 6, 7, 8, 9], 2: [10, 11]}
    assert [entry for shard in shards for entry in entries(shard)] == list(request.lines())
    assert all(shard["whole"] for shard in shards)
    assert (last["shard"], last["entries"], last["whole"]) == (3, [], False)
    assert cut(request, size=6)[1]["shard"] == 2, "a last shard that is full is no shard more"
    assert positions(cut(replace(request, limit=7))[0]) == {0: [0, 1, 2, 3, 4], 1: [5, 6]}


def test_one_task_reads_however_many_are_asked_for(bench: Bench) -> None:
    assert len(Cut(bench.request(), {}, PLAN, 5).get_read_tasks(8)) == 1


def test_a_duplicate_is_named_as_in_a_plain_run_whatever_shard_it_is_in(bench: Bench) -> None:
    bench.prompts[11] = bench.prompts[6] = bench.prompts[2]
    bench.run()
    with bench.store() as store:
        named = list(store.quarantined())
    shards, _ = cut(bench.request())
    assert [entry for shard in shards for entry in entries(shard) if isinstance(entry, Quarantined)] == named
    assert [(refused.row, refused.reason) for refused in named] == [(6, "duplicate"), (11, "duplicate")]


def test_finished_shards_are_left_out(bench: Bench) -> None:
    shards, _ = cut(bench.request())
    assert positions(cut(bench.request(), finished=done(shards[1:2]))[0]) == {0: [0, 1, 2, 3, 4], 2: [10, 11]}
    again, last = cut(bench.request(), finished=done(shards))
    assert (again, last["shard"]) == ([], 3)


def test_of_a_finished_shard_only_the_rows_are_read_that_an_engine_failed_on(bench: Bench) -> None:
    shards, _ = cut(bench.request())
    again, _ = cut(bench.request(), finished=done(shards, retry=[6, 8, 11]))
    assert positions(again) == {1: [6, 8], 2: [11]}
    expected = [(False, shards[n]["items"]) for n in (1, 2)]
    assert [(shard["whole"], shard["items"]) for shard in again] == expected
    assert entries(again[0]) == [entries(shards[1])[i] for i in (1, 3)]


def test_shards_of_another_plan_are_run_whole(bench: Bench) -> None:
    shards, _ = cut(bench.request())
    before = {number: replace(about, plan="b" * 64) for number, about in done(shards, retry=[6]).items()}
    assert cut(bench.request(), finished=before)[0] == shards


def test_an_edited_item_reruns_its_shard_whole(bench: Bench) -> None:
    shards, _ = cut(bench.request())
    bench.prompts[7] = "edited"
    again, _ = cut(bench.request(), finished=done(shards, retry=[6]))
    assert positions(again) == {1: [5, 6, 7, 8, 9]} and again[0]["whole"]
    bench.prompts[7] = bench.prompts[2]  # a duplicate now
    again, _ = cut(bench.request(), finished=done(shards))
    assert positions(again) == {1: [5, 6, 7, 8, 9]}


def test_a_shorter_input_reruns_its_last_shard_and_says_how_many_there_are(bench: Bench) -> None:
    shards, _ = cut(bench.request())
    bench.prompts = bench.prompts[:8]
    again, last = cut(bench.request(), finished=done(shards))
    assert (positions(again), last["shard"]) == ({1: [5, 6, 7]}, 2)


questions = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12)


@settings(max_examples=25)  # each writes files
@given(before=questions, after=questions, size=st.integers(1, 5))
def test_exactly_the_shards_that_changed_are_read_again(before: list[str], after: list[str], size: int) -> None:
    def new(prompts: list[str], shard: int) -> list[str | int]:
        """What a shard answers: its prompts, or where they came before."""
        here = range(shard * size, min((shard + 1) * size, len(prompts)))
        return [prompts[i] if prompts.index(prompts[i]) == i else prompts.index(prompts[i]) for i in here]

    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        bench.prompts = before
        shards, _ = cut(bench.request(), size)
        bench.prompts = after
        again, last = cut(bench.request(), size, done(shards))
    count = -(-len(after) // size)
    expected = [n for n in range(count) if new(before, n) != new(after, n)]
    assert [shard["shard"] for shard in again] == expected
    assert last["shard"] == count
