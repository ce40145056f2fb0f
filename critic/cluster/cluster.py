"""A run on a Ray cluster: Ray Data reads shards of the input and hands them to engine actors; this process writes.

Any actor or node may die: Ray runs its shards again on another. If this process dies, the same command goes on from
the shards that are in the directory: a finished row is there once, an unfinished shard's calls may be repeated.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from base.backoff import BackOff
from base.errors import InputError
from critic.cluster.shard_worker import SHARDS_AT_ONCE, Asker, Attempts, Cut, Part, ShardWorker
from critic.cluster.spec import Cluster
from critic.engine import RunStopped
from critic.records import Provenance
from critic.run.config import RunConfig
from critic.run.execute import Progress
from critic.run.folder.shards import About, ShardStore
from critic.run.folder.turned import changed
from critic.run.opening import Capabilities, settle
from critic.run.request import Checked, RunRequest, check
from critic.run.retest import Retest, Tally, chosen, parts, varying_seats, what_varies
from critic.run.run import Outcome, described, opened, sha256_and_rows, write_results
from critic.settings.run import RETEST, Format

_LOG = logging.getLogger(__name__)
_CLIENT_AGAIN = BackOff(first=2.0, longest=2.0, tries=2)


def run_on(
    cluster: Cluster,
    request: RunRequest,
    out: Path,
    *,
    extend: bool = False,
    format: Format = "jsonl",
    with_reasoning: bool = False,
    retest_share: float = RETEST,
    on_progress: Callable[[Progress, int, int | None], None] = lambda progress, calls, total: None,
) -> Outcome:
    """Do the run, or what is left of it, on ``cluster``, and write its shards and results into the directory ``out``.

    The input is read on this node of the cluster, or on the cluster's head where this machine is none of it. See
    `critic.run.run.run` for ``on_progress`` and errors.
    """
    checked = check(request)
    # The nodes need not have the constitution's file, and begin in directories of their own.
    request = replace(request, principles=checked.constitution, source=_source(request.source))
    with _connected(cluster):
        reader = _reader(request)
        input_hash, total = _get(reader.look.remote())
        # Its process ends with it, and with that what the engines had of memory.
        describe = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_calls=1)(_describe)
        checked, config, provenance, engines = _get(describe.remote(request, checked, input_hash))
        with closing(ShardStore.open(out, config, provenance, cluster.shard, extend=extend)) as store:
            began, calls = time.monotonic(), 0
            finished = store.finished()
            progress = _standing(finished.values())
            earlier = _earlier(store, finished, config.plan)
            _get(reader.start.remote(checked, config, finished, store.rows_a_shard, cluster, earlier))
            on_progress(progress, calls, total)
            for done in _results(reader, progress):
                calls += done["calls"]
                for name, said in json.loads(done["engines"]).items():
                    engines[name] |= said
                if done["data"] is None:
                    store.trim(done["shard"])
                    _forget(progress, [about for shard, about in finished.items() if shard >= done["shard"]])
                else:
                    store.put(done["data"], done["answers"], whole=done["whole"])
                    _count(progress, done, finished)
                on_progress(progress, calls, total)
            asked_twice = None
            if retest_share and not progress.stopped:
                asked_twice = _asked_twice(checked, config, engines, store, retest_share, progress, cluster)
            seconds = time.monotonic() - began
            results = write_results(store, out, format, engines, with_reasoning, asked_twice)
            turned = changed(store.replaced(), turns=store.turns, rows=progress.rows)
            return Outcome(progress, calls, seconds, results, turned)


def _earlier(store: ShardStore, finished: Mapping[int, About], plan: str) -> dict[int, Any]:
    """Put the answers of shards that may be done again where the cluster's actors find them, and return where.

    Ray keeps them in its object store, which goes to disk where memory ends.
    """
    references: dict[int, Any] = {}
    for shard, about in finished.items():
        if store.differs or about.plan != plan or about.retry:
            answers = store.answers(shard)
            references |= {} if answers is None else {shard: ray.put(answers)}
    return references


def _asked_twice(
    checked: Checked,
    config: RunConfig,
    engines: Capabilities,
    store: ShardStore,
    share: float,
    progress: Progress,
    cluster: Cluster,
) -> Retest | None:
    """Have a share of the votes asked again, by actors of their own; None where answers can't differ.

    As in a run on one machine (`critic.run.retest`), but that what was answered before is asked anew by a next start.
    """
    jurors = varying_seats(config.jury, engines)
    if not jurors:
        return None
    wanted = parts(chosen(store.rows(), jurors, share, config.settings.seed), store)
    tally = Tally()
    try:
        for part in _by_actors(wanted, checked, cluster):
            tally.add(part)
    except (RunStopped, InputError, RayError) as error:
        progress.stopped = f"votes could not be asked twice: {str(error).strip().splitlines()[-1]}"
        return None
    return tally.result(what_varies(jurors))


def _by_actors(wanted: Iterator[Part], checked: Checked, cluster: Cluster) -> Iterator[Tally]:
    """Yield what comes of each part, from as many actors as there is room for and parts to be asked."""
    options: dict[str, Any] = {"num_cpus": cluster.cpus, "num_gpus": cluster.gpus}
    options |= {"max_restarts": 3, "max_task_retries": 3}
    kind = ray.remote(**options)(Asker)
    actors: list[Any] = []
    idle: list[Any] = []
    asked: dict[Any, Any] = {}
    most = cluster.most or _room(cluster)
    for part in wanted:
        if len(actors) < most:
            actors.append(kind.remote(checked))
            idle.append(actors[-1])
        if not idle:
            yield _ended(asked, idle)
        actor = idle.pop()
        asked[actor.ask.remote(part)] = actor
    while asked:
        yield _ended(asked, idle)
    for actor in actors:
        ray.kill(actor)


def _ended(asked: dict[Any, Any], idle: list[Any]) -> Tally:
    """Wait for the first part that is done; its actor is idle then."""
    [first], _ = ray.wait(list(asked))
    idle.append(asked.pop(first))
    tally: Tally = _get(first)
    return tally


def _room(cluster: Cluster) -> int:
    """How many actors there is room for."""
    there, wanted = ray.cluster_resources(), {"CPU": cluster.cpus, "GPU": cluster.gpus}
    return max(1, min(int(there.get(name, 0) // each) for name, each in wanted.items() if each))


class _Reader(Attempts):
    """Reads the input, hands shards to the actors and their results to the driver, which may be no node itself.

    It counts their attempts, too: each process of Ray takes time from the engines of its node, even idle.
    """

    def __init__(self, request: RunRequest) -> None:
        super().__init__()
        self._request = request

    def look(self) -> tuple[str | None, int | None]:
        """Open the input, so that a missing file is told at once, and return its `sha256_and_rows`."""
        self._request.unread()
        return sha256_and_rows(self._request)

    def start(
        self,
        checked: Checked,
        config: RunConfig,
        finished: Mapping[int, About],
        rows_a_shard: int,
        cluster: Cluster,
        earlier: dict[int, Any],
    ) -> None:
        """Begin to run what is not finished. ``earlier`` says where the answers of shards that were done lie."""
        self._earlier = earlier
        context = ray.data.DataContext.get_current()
        context.target_max_block_size = context.target_min_block_size = 1  # a block is a shard
        context.enable_progress_bars = False
        context.autoscaling_config.actor_pool_util_upscaling_threshold = 0.9  # a full pool grows: no shard waits at it
        here = ray.get_runtime_context().get_node_id()
        shards = ray.data.read_datasource(
            Cut(self._request, finished, config.plan, rows_a_shard),
            override_num_blocks=1,
            num_cpus=0,
            label_selector={"ray.io/node-id": here},
        )
        pool = ray.data.ActorPoolStrategy(
            min_size=cluster.least,
            max_size=cluster.most,
            max_concurrent_calls_per_actor=SHARDS_AT_ONCE,
            max_tasks_in_flight_per_actor=SHARDS_AT_ONCE,
        )
        done = shards.map_batches(
            ShardWorker,
            fn_constructor_args=(self._request, checked, config, ray.get_runtime_context().current_actor),
            batch_size=1,
            batch_format="pyarrow",
            compute=pool,
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus,
            max_restarts=-1,
            max_task_retries=-1,  # Ray counts each try to reach a node that is gone; `Attempts` ends what has no end
        )
        self._done = iter(done.iter_rows())

    def next(self) -> dict[str, Any] | None:
        """What came of the next shard that is done, in whatever order they end; None after the last."""
        return next(self._done, None)


def _describe(
    request: RunRequest, checked: Checked, input_hash: str | None
) -> tuple[Checked, RunConfig, Provenance, Capabilities]:
    """Open the engines as an actor does, and say what the run is: the driver may have no room for them."""

    async def describe() -> tuple[Checked, RunConfig, Provenance, Capabilities]:
        async with opened(checked.specs) as engines:
            settled = await settle(checked.seats, engines)
            suited = replace(checked, seats=settled.seats)
            config, provenance = described(request, suited, engines, input_hash)
            return suited, config, provenance, settled.capabilities

    return asyncio.run(describe())


def _source(source: str) -> str:
    """The input as it is called on a node: a file of this machine by its whole path."""
    if source == "-":
        raise InputError(
            "a cluster can't read this machine's standard input", where="-", fix="Write it into a file, and name that."
        )
    path = Path(source).expanduser()
    return str(path.absolute()) if path.exists() else source


@contextmanager
def _connected(cluster: Cluster) -> Iterator[None]:
    address = cluster.address or os.environ.get("RAY_ADDRESS", "local")
    dashboard = False if address == "local" else None  # of a cluster that is there it can't be said
    try:
        _init(address, dashboard)
    except (ConnectionError, RuntimeError) as error:  # the latter for another version of Ray or Python there
        raise InputError(
            f"no Ray cluster that can be used answers: {error}",
            where=f"--on ray, at {address}",
            fix="`ray status` on its head says whether it runs. With token authentication set RAY_AUTH_MODE=token.",
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _init(address: str, dashboard: bool | None) -> None:
    """Connect. The head starts a server for each client, which can die as it starts: such a one is asked for anew."""
    waits = _CLIENT_AGAIN.waits()
    while True:
        try:
            ray.init(address, include_dashboard=dashboard, logging_level=logging.ERROR, log_to_driver=False)
            return
        except ConnectionAbortedError as error:  # the head was reached
            if (wait := next(waits, None)) is None:
                raise
            last_line = str(error).strip().rpartition("\n")[2]
            _LOG.warning("the head of %s could not start this client's server (%s): trying again", address, last_line)
            time.sleep(wait)


def _reader(request: RunRequest) -> Any:
    """A `_Reader` on this machine; on the cluster's head, where this machine is none of its nodes."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options: dict[str, Any] = {"num_cpus": 0, "concurrency_groups": {"attempts": 1}}  # the latter is not in Ray's types
    actor = ray.remote(**options)(_Reader)
    return actor.options(scheduling_strategy=here).remote(request)


def _results(reader: Any, progress: Progress) -> Iterator[dict[str, Any]]:
    """Yield what came of each shard, until all are done or ``progress.stopped`` says why not."""
    try:
        while (done := _get(reader.next.remote())) is not None:
            if done["stopped"]:
                progress.stopped = done["stopped"]
                return
            yield done
    except RayTaskError as error:  # its text is a traceback, and ends with the cause
        progress.stopped = f"Ray gave up: {str(error).strip().splitlines()[-1]}"
    except (RayError, ConnectionError) as error:  # the latter from Ray's client, where its connection breaks
        progress.stopped = f"Ray gave up: {error}"


def _get(reference: Any) -> Any:
    """Wait for what a task returns. Raises what a person gave wrong as it was raised there."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        cause = error.cause
        while isinstance(cause, RayTaskError):  # of a task that another task waited for
            cause = cause.cause
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        raise cause or error from None


def _standing(shards: Iterable[About]) -> Progress:
    """Where a run stands that has these shards. What will be tried again is not counted yet."""
    done = list(shards)
    kept = sum(about.quarantined - len(about.retry) for about in done)
    return Progress(skipped=sum(about.rows for about in done), quarantined=kept)


def _count(progress: Progress, done: Mapping[str, Any], finished: Mapping[int, About]) -> None:
    for name in ("rows", "pairs", "quarantined"):
        setattr(progress, name, getattr(progress, name) + done[name])
    if done["whole"] and (before := finished.get(done["shard"])) is not None:  # of an input or config that has changed
        _forget(progress, [before])


def _forget(progress: Progress, shards: Iterable[About]) -> None:
    """Count no longer what `_standing` counted of these shards."""
    before = _standing(shards)
    progress.skipped -= before.skipped
    progress.quarantined -= before.quarantined
