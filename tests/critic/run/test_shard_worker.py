"""The actor that runs shards on a node, called without a cluster: what becomes of each row, and who died of what."""

import asyncio
import itertools
import platform
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critic.calls.wrappers import Wrapper
from critic.cluster import shard_worker
from critic.cluster.shard_worker import LIVES, Attempts, ShardWorker
from critic.engine import Completion, Engine, EngineDown, Identity, Lane, Request
from critic.engines import Spec, open_engine
from critic.run.config import RunConfig
from critic.run.folder.shards import About, ShardStore
from critic.run.request import RunRequest, check
from critic.run.run import described
from tests.factories import provenance

from .run_bench import CALLS_A_ROW, Bench
from .shard_blocks import Shard, cut


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class Here:
    """`Attempts` as its actor is called, with what was called of a shard's lives."""

    def __init__(self) -> None:
        self.kept: Any = Attempts()  # to Ray's types, its methods are only those of an actor
        self.said = list[tuple[Any, ...]]()

    def __getattr__(self, name: str) -> SimpleNamespace:
        async def remote(*arguments: int) -> Any:
            if name != "earlier":
                self.said.append((name, *arguments))
            return getattr(self.kept, name)(*arguments)

        return SimpleNamespace(remote=remote)


class Died(BaseException):
    """The end of an actor's process."""


class Deadly(Wrapper):
    """An engine that is the end of whoever asks it one of these."""

    def __init__(self, engine: Engine, deadly: Collection[str]) -> None:
        super().__init__(engine)
        self._deadly = deadly

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        if request.messages[-1].content in self._deadly:
            raise Died
        return await self._engine.complete(request, lane)


def config_of(request: RunRequest) -> RunConfig:
    checked = check(request)
    config, _ = described(request, checked, {spec: open_engine(spec) for spec in checked.specs}, None)
    return config


def actor(request: RunRequest, attempts: Here) -> ShardWorker:
    return ShardWorker(request, check(request), config_of(request), attempts)


def run_shards(worker: ShardWorker, shards: Sequence[Shard]) -> list[Shard]:
    """Give all shards to the worker at once; return what it gives back, in their order."""

    async def one(shard: Shard) -> Shard:
        table = pa.Table.from_pylist([shard])
        [finished] = [row async for table in worker(table) for row in table.to_pylist()]
        return dict(finished)

    async def all_of_them() -> list[Shard]:
        return list(await asyncio.gather(*map(one, shards)))

    return asyncio.run(all_of_them())


def run_lives(bench: Bench, shard: Shard, attempts: Here) -> tuple[Shard, int]:
    """Run a shard on one actor after the other, until one lives. Return its result and how many there were."""
    for lives in range(1, 50):
        try:
            return run_shards(actor(bench.request(), attempts), [shard])[0], lives
        except BaseExceptionGroup as group:
            assert group.subgroup(Died) is not None
    raise AssertionError("it dies for ever")


@pytest.fixture
def store(bench: Bench) -> Iterator[ShardStore]:
    with closing(open_store(bench)) as store:
        yield store


def open_store(bench: Bench) -> ShardStore:
    return ShardStore.open(bench.folder / "shards", config_of(bench.request()), provenance(), 5, extend=False)


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make every engine the end of whoever asks it one of these prompts."""

    def make(*prompts: str) -> None:
        monkeypatch.setattr(shard_worker, "open_engine", lambda spec: Deadly(open_engine(spec), prompts))

    return make


def test_the_rows_are_those_of_a_plain_run(bench: Bench, store: ShardStore) -> None:
    bench.prompts[7] = bench.prompts[2]
    shards, last = cut(bench.request())
    attempts = Here()
    ends = run_shards(actor(bench.request(), attempts), [*shards, last])
    assert sorted(attempts.said) == [("begin", 0), ("begin", 1), ("begin", 2)]
    assert [(end["rows"], end["quarantined"]) for end in ends] == [(5, 0), (4, 1), (2, 0), (0, 0)]
    assert [end["calls"] for end in ends] == [5 * CALLS_A_ROW, 4 * CALLS_A_ROW, 2 * CALLS_A_ROW, 0]
    assert (ends[3]["shard"], ends[3]["data"]) == (3, None)
    assert [end["stopped"] for end in ends] == [""] * 4
    for end in ends[:3]:
        store.put(end["data"], whole=end["whole"])
    plain = bench.run()
    assert list(store.rows()) == bench.rows()
    assert [store.row(row) for row in (0, 7, 10, 99)] == [bench.rows()[0], None, bench.rows()[9], None]
    plan = config_of(bench.request()).plan
    assert sum(end["pairs"] for end in ends) == plain.progress.pairs > 0
    with bench.store() as expected:
        assert list(store.quarantined()) == list(expected.quarantined())
    assert store.finished() == {
        shard["shard"]: About(shard["shard"], plan, shard["items"], rows, lost, (), rows * CALLS_A_ROW)
        for shard, rows, lost in zip(shards, (5, 4, 2), (0, 1, 0), strict=True)
    }
    again, _ = cut(bench.request(), finished=store.finished(), plan=plan)
    assert again == []


class There:
    """An object of Ray's, as who waits for it sees it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __await__(self) -> Generator[Any, None, bytes]:
        yield from ()
        return self._data


def test_an_edited_principle_costs_its_own_calls_alone_here_too(bench: Bench, store: ShardStore) -> None:
    def start() -> list[Shard]:
        plan, finished = config_of(bench.request()).plan, store.finished()
        attempts = Here()
        attempts.kept._earlier = {shard: There(store.answers(shard) or b"") for shard in finished}
        ends = run_shards(actor(bench.request(), attempts), cut(bench.request(), finished=finished, plan=plan)[0])
        for end in ends:
            store.put(end["data"], end["answers"], whole=end["whole"])
        return ends

    start()
    bench.calls()
    for _ in range(2):  # the second goes back to what was asked first
        bench.constitution["principles"][2]["compare"] += " reworded"
        ends = start()
        assert sum(end["calls"] for end in ends) == len(bench.calls()) == 12 * 2
    bench.constitution["principles"][2]["compare"] = bench.constitution["principles"][2]["compare"].split(" re")[0]
    assert sum(end["calls"] for end in start()) == len(bench.calls()) == 0
    assert store.calls() == 12 * (CALLS_A_ROW + 2 * 2)
    store.trim(1)
    assert store.answers(0) and store.answers(1) is None
    bench.prompts[0] = "another question"
    assert sum(end["calls"] for end in start()) == 12 * CALLS_A_ROW - 4 * CALLS_A_ROW


def test_an_actor_opens_each_engine_once_for_all_its_shards(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = list[Spec]()

    def counted(spec: Spec) -> Engine:
        opened.append(spec)
        return open_engine(spec)

    monkeypatch.setattr(shard_worker, "open_engine", counted)
    run_shards(actor(bench.request(), Here()), cut(bench.request())[0])
    assert [str(spec) for spec in opened] == [bench.request().policy]


def test_rows_that_an_engine_fails_on_are_quarantined_and_tried_again(bench: Bench) -> None:
    bench.script = {"fail": {"every": 20, "how": "raise"}}
    bench.prompts[7] = bench.prompts[2]  # no later try helps this one
    plan, store = config_of(bench.request()).plan, open_store(bench)
    for _ in range(40):
        before = store.finished()
        shards, _ = cut(bench.request(), finished=before, plan=plan)
        if not shards:
            break
        for end in run_shards(actor(bench.request(), Here()), shards):
            store.put(end["data"], whole=end["whole"])
        if not before:
            failed = [refused.row for refused in store.quarantined() if refused.reason == "engine_error"]
            assert sorted(row for about in store.finished().values() for row in about.retry) == failed
            assert 0 < len(failed) < 11
        else:
            assert not any(shard["whole"] for shard in shards)
    assert [row.row for row in store.rows()] == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    assert [(refused.row, refused.reason) for refused in store.quarantined()] == [(7, "duplicate")]
    bench.script = {}
    bench.run()
    expected = [row.pairs for row in bench.rows()]
    assert [row.pairs for row in store.rows()] == expected
    store.close()


def test_an_engine_that_is_gone_stops_the_run_and_its_shard_is_no_shard(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(Wrapper):
        async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
            if request.messages[-1].content == "question 3":
                raise EngineDown("nobody answers at this address")
            return await self._engine.complete(request, lane)

    monkeypatch.setattr(shard_worker, "open_engine", lambda spec: Gone(open_engine(spec)))
    [end] = run_shards(actor(bench.request(), Here()), cut(bench.request())[0][:1])
    assert (end["stopped"], end["data"]) == ("nobody answers at this address", None)


def test_an_engine_that_cannot_be_opened_stops_the_run_and_says_where(bench: Bench) -> None:
    request = bench.request()
    shards, _ = cut(request)
    worker = actor(request, Here())
    (bench.folder / "s.yaml").unlink()  # this node does not have it
    [end] = run_shards(worker, shards[:1])
    said = f"can't be used on {platform.node()}: {bench.folder / 's.yaml'}: the script can't be read"
    assert said in end["stopped"]
    assert end["data"] is None


def test_an_engine_that_is_not_the_run_s_makes_no_label(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Older(Wrapper):
        @property
        def identity(self) -> Identity:
            return replace(self._engine.identity, revision="older")

    worker = actor(bench.request(), Here())
    monkeypatch.setattr(shard_worker, "open_engine", lambda spec: Older(open_engine(spec)))
    for end in run_shards(worker, cut(bench.request())[0]):
        assert end["data"] is None
        assert f"on {platform.node()}: they are not those that the run began with" in end["stopped"]
        assert "'older'" in end["stopped"] and "jury: " in end["stopped"] and "seed" not in end["stopped"]


@pytest.mark.parametrize("poisoned", [[2], [0, 4], [0, 1, 2, 3, 4]])
def test_a_row_that_kills_its_actor_is_found_and_costs_no_other_row(
    bench: Bench, store: ShardStore, deadly: Callable[..., None], poisoned: list[int]
) -> None:
    deadly(*(bench.prompts[row] for row in poisoned))
    attempts = Here()
    end, lives = run_lives(bench, cut(bench.request())[0][0], attempts)
    # The whole shard, then each such row alone, each until it has cost so many lives; the last one lives.
    assert lives == LIVES + LIVES * len(poisoned) + 1
    assert (end["rows"], end["quarantined"]) == (5 - len(poisoned), len(poisoned))
    store.put(end["data"], whole=True)
    expected = [(row, "poisoned") for row in poisoned]
    assert [(refused.row, refused.reason) for refused in store.quarantined()] == expected
    assert all(f"died {LIVES} times" in refused.detail for refused in store.quarantined())
    assert store.finished()[0].retry == tuple(poisoned), "the next start tries them again"
    bench.run()
    assert list(store.rows()) == [row for row in bench.rows()[:5] if row.row not in poisoned]


def test_a_shard_whose_actors_died_of_something_else_has_all_its_results(bench: Bench, store: ShardStore) -> None:
    bench.prompts[3] = bench.prompts[1]
    attempts = Here()
    for _ in range(LIVES):
        attempts.kept.begin(0)
    end, lives = run_lives(bench, cut(bench.request())[0][0], attempts)
    assert (lives, end["rows"], end["quarantined"]) == (1, 4, 1)
    assert attempts.said == [("begin", 0), *(("alone", 0, row) for row in range(5)), ("end", 0)]
    store.put(end["data"], whole=True)
    bench.run()
    assert list(store.rows()) == bench.rows()[:4]


def test_rows_run_alone_one_after_the_other_even_of_two_shards(bench: Bench) -> None:
    asked = list[int]()

    class Asked(Here):
        def __getattr__(self, name: str) -> SimpleNamespace:
            if name == "alone":
                asked.append(len((bench.folder / "calls.log").read_text().splitlines()))
            return super().__getattr__(name)

    bench.prompts = bench.prompts[:6]
    shards, _ = cut(bench.request(), size=3)
    attempts = Asked()
    for shard in (0, 1):
        for _ in range(LIVES):
            attempts.kept.begin(shard)
    run_shards(actor(bench.request(), attempts), shards)
    assert asked == [row * CALLS_A_ROW for row in range(6)]


@pytest.mark.parametrize("alone_first", [True, False])
def test_a_row_is_not_blamed_for_a_shard_beside_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, alone_first: bool
) -> None:
    attempts, at_death = Here(), list[tuple[Any, ...]]()
    for _ in range(LIVES):
        attempts.kept.begin(0)

    class Last(Deadly):
        async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
            if request.messages[-1].content in self._deadly:
                while not {("begin", 0), ("begin", 1)} <= set(attempts.said):
                    await asyncio.sleep(0.01)
                at_death.extend(attempts.said)
            return await super().complete(request, lane)

    monkeypatch.setattr(shard_worker, "open_engine", lambda spec: Last(open_engine(spec), bench.prompts[7:8]))
    shards = cut(bench.request())[0][:2]
    with pytest.raises(BaseExceptionGroup) as died:
        run_shards(actor(bench.request(), attempts), shards if alone_first else shards[::-1])
    assert died.group_contains(Died)
    alone = [("begin", 0), *(("alone", 0, row) for row in range(5)), ("end", 0)]
    assert list(dict.fromkeys(at_death)) == ([*alone, ("begin", 1)] if alone_first else [("begin", 1), ("begin", 0)])


def test_two_starts_give_a_shard_the_same_bytes(bench: Bench) -> None:
    shard = cut(bench.request())[0][0]
    first, second = (run_shards(actor(bench.request(), Here()), [shard]) for _ in range(2))
    assert first == second


# Who died of what.

Event = tuple[str, int, int]
events: st.SearchStrategy[list[Event]] = st.lists(
    st.tuples(st.sampled_from(["begin", "alone", "end"]), st.integers(0, 2), st.integers(0, 3)), max_size=60
)


@settings(max_examples=200)
@given(events)
def test_a_death_counts_against_a_row_only_if_it_ran_alone(events: list[Event]) -> None:
    attempts: Any = Attempts()
    history = dict[int, list[int | str]]()
    for what, shard, offset in events:
        row = 10 * shard + offset
        before = history.setdefault(shard, [])
        if what == "alone":
            attempts.alone(shard, row)
            before.append(row)
        elif what == "end":
            attempts.end(shard)
            before.append("end")
        else:
            before.append("begin")
            lives, deaths = attempts.begin(shard)
            assert lives == before.count("begin")
            # A shard is begun again because its actor died: what stands right before that is what was under way.
            fatal = [a for past in history.values() for a, b in itertools.pairwise(past) if b == "begin"]
            assert deaths == Counter(a for a in fatal if isinstance(a, int))
