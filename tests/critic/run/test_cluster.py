"""What ``--on`` may say, where a run on a cluster stands, and whose errors reach a person: without a cluster."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st
from ray.exceptions import ActorDiedError, RayTaskError

from base.errors import InputError
from critic.cluster import cluster
from critic.cluster.spec import Cluster, parse_cluster
from critic.run.execute import Progress
from critic.run.folder.shards import About

# The spec.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ray", Cluster()),
        ("ray://head:10001", Cluster(address="ray://head:10001")),
        ("ray://[::1]:10001?actors=2", Cluster(address="ray://[::1]:10001", least=2, most=2)),
        ("ray?actors=1", Cluster(least=1, most=1)),
        ("ray?actors=2-", Cluster(least=2, most=None)),
        ("ray?actors=2-8", Cluster(least=2, most=8)),
        ("ray?actors=3-3", Cluster(least=3, most=3)),
        ("ray?cpus=0.5&gpus=1&shard=256", Cluster(cpus=0.5, gpus=1, shard=256)),
        ("ray?gpus=0.25&cpus=0", Cluster(cpus=0, gpus=0.25)),
    ],
)
def test_a_cluster_is_parsed(text: str, expected: Cluster) -> None:
    assert parse_cluster(text) == expected


def test_what_is_not_said() -> None:
    left = Cluster()
    assert (left.address, left.least, left.most, left.cpus, left.gpus, left.shard) == (None, 1, None, 1, 0, 64)


@pytest.mark.parametrize("text", ["", "Ray", "rays", "ray:", "ray://", "ray://head", "ray://head:port", "ray://h:1/x"])
def test_what_names_no_cluster_is_refused_with_what_does(text: str) -> None:
    with pytest.raises(InputError, match=r"this is no cluster\n  Write ray, or ray://HOST:PORT") as error:
        parse_cluster(text)
    assert error.value.where == f"--on {text}"


NO_NUMBERS = [
    (f"actors={bad}", f"actors={bad} is neither a number nor a range, as 2-8") for bad in ("0", "-2", "two", "")
]
BELOW_ZERO = [
    (f"{what}={bad}", "cpus and gpus are 0 or more") for what in ("cpus", "gpus") for bad in ("-1", "nan", "inf")
]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("nodes=2", "there is no option 'nodes'\n  Known: actors, cpus, gpus, shard"),
        ("actors", "not of the form key=value"),
        ("actors=1&actors=2", "an option is given twice"),
        *NO_NUMBERS,
        ("actors=8-2", "a range that goes up"),
        ("shard=0", "shard is a number of rows, from 1 to 1,000,000"),
        ("shard=1000001", "from 1 to 1,000,000"),
        ("gpus=1.5", "a share of one GPU, or whole ones"),
        ("cpus=0", "need a greatest number"),
        ("shard=-1", "shard is a number of rows, from 1 to 1,000,000"),
        ("shard=1.5", "'1.5'\n  As in ray?actors=2-8&cpus=4&gpus=1&shard=256"),
        ("cpus=many", "'many'\n  As in ray?actors=2-8"),
        *BELOW_ZERO,
    ],
)
def test_options_that_cannot_be_used_are_refused_with_what_can(query: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as error:
        parse_cluster(f"ray?{query}")
    assert error.value.where == f"--on ray?{query}"


@given(st.text(alphabet="ray:/?actorscpugshd=&-.0123456789", max_size=30))
def test_any_other_text_is_an_input_error(text: str) -> None:
    for spec in (text, f"ray?{text}"):
        try:
            parsed = parse_cluster(spec)
        except InputError:
            continue
        assert 1 <= parsed.least <= (parsed.most or parsed.least) and parsed.shard >= 1
        assert parsed.cpus >= 0 and parsed.gpus >= 0


# Where a run stands.


def about(shard: int, rows: int, quarantined: int = 0, retry: Sequence[int] = ()) -> About:
    return About(shard, "p", "i", rows, quarantined, tuple(retry), calls=0)


def done(shard: int, rows: int, quarantined: int = 0, *, whole: bool = True) -> dict[str, Any]:
    return {"shard": shard, "rows": rows, "quarantined": quarantined, "pairs": rows, "whole": whole}


# 64 rows each: all done; 3 lost, of which 2 are tried again; all lost, of which none is.
FINISHED = {0: about(0, 64), 1: about(1, 61, 3, retry=(70, 99)), 2: about(2, 0, 64)}


def test_a_begun_run_stands_where_its_shards_do() -> None:
    standing = cluster._standing(FINISHED.values())
    assert (standing.skipped, standing.quarantined, standing.rows, standing.pairs) == (125, 65, 0, 0)
    assert cluster._standing([]) == Progress()


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        pytest.param(done(3, 60, 4), Progress(rows=60, pairs=60, skipped=125, quarantined=69), id="a new shard"),
        pytest.param(
            done(1, 1, 1, whole=False), Progress(rows=1, pairs=1, skipped=125, quarantined=66), id="tried again"
        ),
        pytest.param(done(1, 64), Progress(rows=64, pairs=64, skipped=64, quarantined=64), id="run again whole"),
        pytest.param(done(2, 63, 1), Progress(rows=63, pairs=63, skipped=125, quarantined=2), id="all new results"),
    ],
)
def test_what_a_shard_adds_is_counted(end: dict[str, Any], expected: Progress) -> None:
    progress = cluster._standing(FINISHED.values())
    cluster._count(progress, end, FINISHED)
    assert progress == expected


def test_shards_of_a_longer_input_are_counted_no_more() -> None:
    progress = cluster._standing(FINISHED.values())
    cluster._forget(progress, [FINISHED[1], FINISHED[2]])
    assert (progress.skipped, progress.quarantined) == (64, 0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=8))
def test_in_the_end_every_row_is_counted_once(shards: list[tuple[int, int, int, bool]]) -> None:
    """Shards of 20 rows: ``lost`` have no result, ``again`` of these are tried again, or the shard is run whole."""
    finished = {
        shard: about(shard, 20 - lost, lost, retry=range(min(again, lost)))
        for shard, (lost, again, _, _) in enumerate(shards)
    }
    progress = cluster._standing(finished.values())
    for shard, (lost, again, still, whole) in enumerate(shards):
        tried = 20 if whole else min(again, lost)
        if tried:
            cluster._count(progress, done(shard, tried - min(still, tried), min(still, tried), whole=whole), finished)
    assert progress.skipped + progress.rows + progress.quarantined == 20 * len(shards)


# Errors.

GIVEN = InputError("there is no such file", where="p.jsonl", fix="Name another.")


def task_error(cause: Exception, text: str = "ray::next()\n  File ...\nTheError: words") -> RayTaskError:
    """What Ray raises for a task that raised ``cause``: an error of both kinds, but where that is such a one itself."""
    error = RayTaskError("next", text, cause, proctitle="ray::next", pid=1, ip="127.0.0.1")
    told = error if isinstance(cause, RayTaskError) else error.as_instanceof_cause()
    assert isinstance(told, RayTaskError)
    return told


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let `ray.get` give these one after the other."""

    def make(*answers: Any) -> None:
        left: Iterator[Any] = iter(answers)

        def get(reference: object) -> Any:
            answer = next(left)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(ray, "get", get)

    return make


@pytest.mark.parametrize(
    "error",
    [
        task_error(GIVEN),
        task_error(task_error(GIVEN)),
        task_error(task_error(task_error(GIVEN))),
        task_error(caused(RuntimeError("a block failed"), GIVEN)),
        task_error(task_error(caused(RuntimeError("a block failed"), caused(ValueError("it failed"), GIVEN)))),
    ],
)
def test_what_a_person_gave_wrong_is_raised_as_it_was_there(answer: Callable[..., None], error: RayTaskError) -> None:
    answer(error)
    with pytest.raises(InputError) as raised:
        cluster._get("reference")
    assert raised.value is GIVEN and str(GIVEN) == "p.jsonl: there is no such file\n  Name another."


def test_any_other_error_is_left_as_it_is(answer: Callable[..., None]) -> None:
    error = task_error(task_error(caused(RuntimeError("a block failed"), KeyError("p0"))))
    answer(error)
    with pytest.raises(RayTaskError) as raised:
        cluster._get("reference")
    assert raised.value is error


def results(progress: Progress) -> Iterator[dict[str, Any]]:
    reader = SimpleNamespace(next=SimpleNamespace(remote=lambda: "reference"))
    return cluster._results(reader, progress)


def test_results_end_after_the_last_shard(answer: Callable[..., None]) -> None:
    ends, progress = [{"shard": 1, "stopped": ""}, {"shard": 0, "stopped": ""}], Progress()
    answer(*ends, None)
    assert (list(results(progress)), progress) == (ends, Progress())


def test_results_end_where_an_actor_says_that_the_run_must_stop(answer: Callable[..., None]) -> None:
    progress = Progress()
    answer({"shard": 0, "stopped": ""}, {"shard": 1, "stopped": "the key is refused"}, AssertionError("asked on"))
    assert [end["shard"] for end in results(progress)] == [0]
    assert progress.stopped == "the key is refused"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (task_error(ValueError("words")), "TheError: words"),
        (task_error(task_error(ActorDiedError())), "TheError: words"),
        (ActorDiedError(), "The actor died unexpectedly"),
        (ConnectionError("the client is disconnected"), "the client is disconnected"),
    ],
)
def test_where_ray_gives_up_the_results_so_far_stay_and_its_words_are_passed_on(
    answer: Callable[..., None], error: Exception, said: str
) -> None:
    progress = Progress()
    answer({"shard": 0, "stopped": ""}, error)
    assert [end["shard"] for end in results(progress)] == [0]
    assert progress.stopped.startswith("Ray gave up: ") and said in progress.stopped
    assert "ray::next" not in progress.stopped


def test_a_file_is_named_to_the_nodes_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.jsonl").write_text("")
    monkeypatch.chdir(tmp_path)
    assert cluster._source("p.jsonl") == str(tmp_path / "p.jsonl")
    for elsewhere in ("s3://bucket/p.jsonl", "organisation/data", "only-there.jsonl"):
        assert cluster._source(elsewhere) == elsewhere
    with pytest.raises(InputError, match="can't read this machine's standard input"):
        cluster._source("-")


def test_an_input_that_is_wrong_stops_everything(answer: Callable[..., None]) -> None:
    answer({"shard": 0, "stopped": ""}, task_error(GIVEN))
    with pytest.raises(InputError, match="no such file"):
        list(results(Progress()))


@pytest.mark.parametrize("failures", [0, 1, 2, 3])
def test_a_client_server_that_dies_as_it_starts_is_asked_for_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failures: int
) -> None:
    """Three times. The head is there: it says so by this class."""
    tried: list[str] = []

    def init(address: str, **_: Any) -> None:
        tried.append(address)
        if len(tried) <= failures:
            raise ConnectionAbortedError("Initialization failure from server:\nit is a zombie")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(cluster, "_CLIENT_AGAIN", replace(cluster._CLIENT_AGAIN, first=0.0))
    refused = pytest.raises(InputError, match="it is a zombie") if failures == 3 else nullcontext()
    with refused, cluster._connected(parse_cluster("ray://head:10001")):
        pass
    assert len(tried) == min(failures + 1, 3)
    assert caplog.text.count("trying again") == min(failures, 2)


@pytest.mark.parametrize("kind", [ConnectionError, RuntimeError])  # nobody; another version of Ray or Python
def test_a_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, kind: type[Exception]) -> None:
    def init(address: str, **_: Any) -> None:
        raise kind(f"nobody at {address}")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    for spec, address in (("ray://head:10001", "ray://head:10001"), ("ray", "10.0.0.1:6379")):
        with (
            pytest.raises(InputError, match=rf"at {address}: no Ray cluster that can be used answers(.|\n)*ray status"),
            cluster._connected(parse_cluster(spec)),
        ):
            raise AssertionError("there is nothing to do without it")
