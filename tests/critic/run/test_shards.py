"""Rows in shards: there whole or not at all, in the order of the input, and the same exports as from ``run.db``."""

import asyncio
import resource
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import InputError
from critic.records import Quarantined, Row
from critic.run.folder.export import export
from critic.run.folder.reading import open_rows
from critic.run.folder.shards import FOLDER, RUN_FILE, About, ShardStore, pack
from critic.run.folder.store import RunStore, StoreError
from critic.run.run import write_results
from tests.factories import both_orders, judgement, provenance, row, run_config

CONFIG = run_config()
EXPORTS = ("pairs.jsonl", "sft.jsonl", "feedback.jsonl", "quarantine.jsonl")
PLAN, ITEMS = CONFIG.plan, "b" * 64
Ends = list[Row | Quarantined]


def result(number: int, text: str = "The Po.") -> Row:
    return row(number, [f"The Nile, {number}.", text], [judgement(both_orders("calm", 2.0, 1.0), 0.8)])


def refused(number: int, reason: str = "engine_error") -> Quarantined:
    return Quarantined(row=number, where=f"prompts.jsonl:{number + 1}", reason=reason, detail="It said nothing.")


def packed(shard: int, results: Ends, *, retry: Sequence[int] = (), calls: int = 0) -> bytes:
    done = sum(isinstance(result, Row) for result in results)
    return pack(About(shard, PLAN, ITEMS, done, len(results) - done, tuple(retry), calls), results)


def opened(directory: Path, *, extend: bool = False, **config: Any) -> "closing[ShardStore]":
    return closing(ShardStore.open(directory, run_config(**config), provenance(), 4, extend=extend))


def begun(directory: Path) -> None:
    """A run that was begun, and that no process works on."""
    with opened(directory):
        pass


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ShardStore]:
    with opened(tmp_path / "out") as store:
        yield store


def finish(store: RunStore, results: Ends) -> None:
    async def finish_all() -> None:
        for end in results:
            await store.finish(end, ITEMS, PLAN)

    asyncio.run(finish_all())


def shard_file(tmp_path: Path, shard: int) -> Path:
    return tmp_path / "out" / FOLDER / f"{shard:06}.parquet"


def test_the_same_results_give_the_same_bytes_in_whatever_order_they_ended() -> None:
    results: Ends = [result(0), refused(1), result(2)]
    assert packed(0, results) == packed(0, results[::-1])
    assert packed(0, results) != packed(0, [result(0), refused(1), result(2, "The Oder.")])


def test_what_is_put_is_there_for_whoever_opens_the_run(tmp_path: Path, store: ShardStore) -> None:
    store.put(packed(1, [result(4), result(5)], calls=20), whole=True)
    store.put(packed(0, [refused(1), result(0), refused(3, "duplicate"), result(2)], retry=[1], calls=23), whole=True)
    for opened in (store, open_rows(tmp_path / "out")):
        assert isinstance(opened, ShardStore)
        assert list(opened.rows()) == [result(0), result(2), result(4), result(5)]
        assert list(opened.quarantined()) == [refused(1), refused(3, "duplicate")]
        assert opened.finished() == {
            0: About(0, PLAN, ITEMS, rows=2, quarantined=2, retry=(1,), calls=23),
            1: About(1, PLAN, ITEMS, rows=2, quarantined=0, retry=(), calls=20),
        }
        assert (opened.calls(), opened.rows_a_shard) == (43, 4)
        assert (opened.config(), opened.provenance()) == (CONFIG.flat(), provenance())


def test_a_shard_that_is_put_again_replaces_the_old_one(store: ShardStore) -> None:
    store.put(packed(0, [result(0), result(1), refused(2)], calls=30), whole=True)
    store.put(packed(0, [result(0, "The Oder.")], calls=10), whole=True)
    assert list(store.rows()) == [result(0, "The Oder.")] and list(store.quarantined()) == []
    assert store.calls() == 10


def test_a_patch_replaces_its_rows_and_counts_them_again(store: ShardStore) -> None:
    whole: Ends = [result(0), refused(1), refused(2), refused(3, "duplicate")]
    store.put(packed(0, whole, retry=[1, 2], calls=18), whole=True)
    store.put(packed(0, [result(1), refused(2, "bad_answer")], retry=[2], calls=12), whole=False)
    assert list(store.rows()) == [result(0), result(1)]
    assert list(store.quarantined()) == [refused(2, "bad_answer"), refused(3, "duplicate")]
    assert store.finished() == {0: About(0, PLAN, ITEMS, rows=2, quarantined=2, retry=(2,), calls=18 + 12)}
    store.put(packed(0, [result(2)], calls=10), whole=False)
    assert store.finished() == {0: About(0, PLAN, ITEMS, rows=3, quarantined=1, retry=(), calls=40)}


def test_trimming_forgets_the_shards_of_a_longer_input(store: ShardStore) -> None:
    for shard in range(4):
        store.put(packed(shard, [result(4 * shard)]), whole=True)
    store.trim(4)
    assert sorted(store.finished()) == [0, 1, 2, 3]
    store.trim(2)
    assert [row.row for row in store.rows()] == [0, 4]


def test_rows_come_in_the_order_of_the_input_beyond_a_million_shards(store: ShardStore) -> None:
    for shard in (1_000_000, 20, 999_999, 3_000_000):
        store.put(packed(shard, [result(4 * shard)]), whole=True)
    assert [row.row for row in store.rows()] == [80, 3_999_996, 4_000_000, 12_000_000]
    store.trim(1_000_000)
    assert sorted(store.finished()) == [20, 999_999]


def test_a_write_that_was_killed_left_nothing_that_counts(tmp_path: Path, store: ShardStore) -> None:
    data = packed(0, [result(0)])
    part = shard_file(tmp_path, 0).with_name(".000000.parquet.part")
    part.write_bytes(data[: len(data) // 2])
    assert (list(store.rows()), store.finished()) == ([], {})
    store.put(data, whole=True)
    assert list(store.rows()) == [result(0)] and not part.exists()


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond one KiB: the kernel then refuses a write as it does on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("whole", [True, False])
def test_a_full_disk_leaves_the_shard_that_is_there(tmp_path: Path, store: ShardStore, whole: bool) -> None:
    store.put(packed(0, [result(0), refused(1)], retry=[1]), whole=True)
    before = shard_file(tmp_path, 0).read_bytes()
    with full_disk(), pytest.raises(StoreError, match=r"000000\.parquet can't be written(.|\n)*Make room"):
        store.put(packed(0, [result(1, "x" * 10_000)]), whole=whole)
    assert shard_file(tmp_path, 0).read_bytes() == before
    assert list((tmp_path / "out" / FOLDER).iterdir()) == [shard_file(tmp_path, 0)]
    store.put(packed(0, [result(1)]), whole=False)
    assert list(store.rows()) == [result(0), result(1)]


def test_a_folder_that_is_gone_is_told(tmp_path: Path, store: ShardStore) -> None:
    (tmp_path / "out" / FOLDER).rmdir()
    with pytest.raises(StoreError, match="can't be written"):
        store.put(packed(0, [result(0)]), whole=True)


def write_text(path: Path) -> None:
    path.write_text("no Parquet at all")


def write_half(path: Path) -> None:
    path.write_bytes(packed(0, [result(0)])[:-100])


def write_other_table(path: Path) -> None:
    pq.write_table(pa.table({"row": [1]}), path)


def write_other_metadata(path: Path) -> None:
    pq.write_table(pa.table({"row": [1]}).replace_schema_metadata({"cai": '{"retry": [], "colour": 1}'}), path)


@pytest.mark.parametrize("name", ["000000.parquet", "notes.parquet"])
@pytest.mark.parametrize("write", [write_text, write_half, write_other_table, write_other_metadata])
def test_a_file_that_is_no_shard_is_named(
    tmp_path: Path, store: ShardStore, name: str, write: Callable[[Path], None]
) -> None:
    store.put(packed(1, [result(4)]), whole=True)
    write(tmp_path / "out" / FOLDER / name)
    with pytest.raises(InputError, match=rf"{name}: this is no shard of a run(.|\n)*Delete it"):
        store.finished()


def test_what_a_new_plan_replaces_is_kept_until_the_next_and_beside_what_is_there_now(tmp_path: Path) -> None:
    old: Ends = [result(0), result(1, "The Rhine."), refused(2)]
    new: Ends = [result(0, "The Elbe."), refused(1), result(2)]
    with opened(tmp_path / "out") as store:
        store.put(packed(0, old), whole=True)
        assert not store.turns and list(store.replaced()) == []
    other = run_config(seed=7).plan
    with opened(tmp_path / "out", extend=True, seed=7) as store:
        assert store.turns and list(store.replaced()) == []
        store.put(pack(About(0, other, ITEMS, 2, 1, (), 0), new), whole=True)
        assert list(store.replaced()) == [(old[0], new[0]), (old[1], None)]
        store.put(pack(About(0, other, ITEMS, 2, 1, (), 0), new[:1]), whole=True)  # the same plan again keeps the first
        assert list(store.replaced()) == [(old[0], new[0]), (old[1], None)]
        store.trim(0)
        assert list(store.replaced()) == [(old[0], None), (old[1], None)]
    with opened(tmp_path / "out", seed=7) as store:
        assert not store.turns and len(list(store.replaced())) == 2
    with opened(tmp_path / "out", extend=True) as store:
        assert store.turns and list(store.replaced()) == []


def test_another_config_is_refused_by_name_unless_extended(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as store:
        store.put(packed(0, [result(0)]), whole=True)
    with pytest.raises(InputError, match=r"seed: 0 there, 7 now(.|\n)*--extend") as error:
        opened(tmp_path / "out", seed=7)
    assert "samples" not in str(error.value)
    with pytest.raises(InputError, match="kind: generate there, judge now"):
        opened(tmp_path / "out", extend=True, kind="judge")
    with opened(tmp_path / "out", extend=True, seed=7) as store:
        assert store.config()["seed"] == 7 and list(store.rows()) == [], "its label was made under another plan"
    with opened(tmp_path / "out", extend=True) as store:
        assert list(store.rows()) == [result(0)]
    with opened(tmp_path / "out", extend=True, seed=7):
        pass
    with pytest.raises(InputError, match=r"seed: 7 there, 0 now"):
        opened(tmp_path / "out")


def test_a_run_keeps_the_shard_size_that_it_began_with(tmp_path: Path) -> None:
    begun(tmp_path / "out")
    with closing(ShardStore.open(tmp_path / "out", CONFIG, provenance(), 64, extend=False)) as store:
        assert store.rows_a_shard == 4


def test_two_processes_do_not_share_a_directory(tmp_path: Path) -> None:
    with opened(tmp_path / "out"), pytest.raises(InputError, match="another process"):
        opened(tmp_path / "out")
    begun(tmp_path / "out")
    with pytest.raises(InputError, match="seed"):
        opened(tmp_path / "out", seed=1)
    begun(tmp_path / "out")  # whom it refused holds nothing


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="not empty and holds no run on a cluster"):
        opened(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.tex", ".lock"}


def test_a_folder_of_a_training_run_is_neither_adopted_nor_read(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"trainer": "dpo", "settings": {}, "data": "d", "parent": {}}')
    with pytest.raises(InputError, match="holds no run on a cluster"):
        opened(tmp_path)
    with pytest.raises(InputError, match="no run here"):
        open_rows(tmp_path)


def test_a_run_without_a_cluster_goes_on_without_one(tmp_path: Path) -> None:
    RunStore.open(tmp_path, CONFIG.flat(), extend=False).close()
    with pytest.raises(InputError, match=r"holds no run on a cluster(.|\n)*begun without --on goes on without it"):
        opened(tmp_path)
    with closing(open_rows(tmp_path)) as store:
        assert isinstance(store, RunStore)


def test_a_run_on_a_cluster_is_not_taken_for_one_without(tmp_path: Path) -> None:
    begun(tmp_path)
    with pytest.raises(InputError, match="not empty and holds no run"):
        RunStore.open(tmp_path, CONFIG.flat(), extend=False)


@pytest.mark.parametrize("left", [[], [f".{RUN_FILE}.part"], [RUN_FILE]])
def test_a_start_that_was_killed_is_begun_again(tmp_path: Path, left: Sequence[str]) -> None:
    begun(tmp_path)
    (tmp_path / FOLDER).rmdir()
    content = (tmp_path / RUN_FILE).read_text()
    (tmp_path / RUN_FILE).unlink()
    for name in left:
        (tmp_path / name).write_text(content)
    with opened(tmp_path) as store:
        store.put(packed(0, [result(0)]), whole=True)
        assert list(store.rows()) == [result(0)]


Outcomes = list[tuple[str, bool]]  # of each row: what came of it, and whether a shard ends after it


@settings(max_examples=25)  # each writes and syncs some twenty files
@given(
    outcomes=st.lists(st.tuples(st.sampled_from(["row", "refused", "second try"]), st.booleans()), max_size=10),
    random=st.randoms(use_true_random=False),
)
def test_shards_in_any_order_are_the_run_that_one_machine_does(outcomes: Outcomes, random: Any) -> None:
    final: Ends = [refused(i) if what == "refused" else result(i) for i, (what, _) in enumerate(outcomes)]
    failed_first = {i for i, (what, _) in enumerate(outcomes) if what == "second try"}
    ends = [0, *(i + 1 for i, (_, ends) in enumerate(outcomes) if ends), len(outcomes)]
    split = [range(begin, end) for begin, end in pairwise(ends) if begin < end]
    writes, patches = [], []
    for number, own in enumerate(split):
        writes.append((number, [refused(i) if i in failed_first else final[i] for i in own]))
        patches.append((number, [final[i] for i in own if i in failed_first]))
    random.shuffle(writes)
    random.shuffle(patches)
    with tempfile.TemporaryDirectory() as name:
        one, many = Path(name) / "one", Path(name) / "many"
        with closing(RunStore.open(one, CONFIG.flat(), extend=False)) as plain, opened(many) as store:
            plain.set_provenance(provenance(), PLAN)
            finish(plain, random.sample(final, len(final)))
            for shard, results in writes:
                store.put(packed(shard, results, retry=sorted(failed_first & {*split[shard]})), whole=True)
            for shard, results in patches:
                if results:
                    store.put(packed(shard, results), whole=False)
            assert list(store.rows()) == list(plain.rows())
            assert list(store.quarantined()) == list(plain.quarantined())
            for kept, directory in ((plain, one), (store, many)):
                export(kept.rows, kept.quarantined, kept.provenance(), directory, "jsonl")
        for file in EXPORTS:
            assert (many / file).read_bytes() == (one / file).read_bytes(), file


def test_results_are_written_from_shards_as_from_a_plain_run(tmp_path: Path, store: ShardStore) -> None:
    results: Ends = [result(0), refused(1), result(2), result(3, "The Oder."), refused(4, "duplicate")]
    store.put(packed(1, results[4:]), whole=True)
    store.put(packed(0, results[:4], retry=[1]), whole=True)
    with closing(RunStore.open(tmp_path / "plain", CONFIG.flat(), extend=False)) as plain:
        plain.set_provenance(provenance(), PLAN)
        finish(plain, results[::-1])
        expected = write_results(plain, tmp_path / "plain", "jsonl", {})
    written = write_results(store, tmp_path / "out", "jsonl", {})
    assert (written.exported, written.quarantined) == (expected.exported, expected.quarantined)
    for file in (*EXPORTS, "README.md"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "plain" / file).read_bytes(), file
