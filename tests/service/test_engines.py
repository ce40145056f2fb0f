"""The service's engines: opened once, tried again, counted, and silent about addresses."""

import asyncio
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from base.errors import InputError
from critic.engine import (
    Completion,
    Engine,
    EngineDown,
    EngineError,
    Lane,
    Request,
    RequestTooLong,
    Sampling,
    Unavailable,
)
from critic.engine_kinds.kind import EngineKind
from critic.engines import Spec, kinds
from critic.records import Message
from service import engines as part
from service.cli.shown.missing import tell_missing
from service.engines import Engines, checked_engines
from service.outward.metrics import REGISTRY
from service.serving.server import run
from service.settings import EngineSettings, Settings
from service.store.database import Database
from service.store.tables import metadata, models, now
from tests.factories import FakeEngine
from tests.service.judges import scripted

ASKED = Request((Message(role="user", content="Name a river, and say why."),), Sampling(8), 1)


def settings(folder: Path, **engines: EngineSettings) -> Settings:
    return Settings(data=folder, engines=engines)


def opening(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Engine]) -> list[str]:
    """Have ``make`` open engines; return the names of the threads in which it did."""
    opened: list[str] = []

    def open_engine(spec: object) -> Engine:
        opened.append(threading.current_thread().name)
        return make()

    monkeypatch.setattr(part, "open_engine", open_engine)
    return opened


async def test_an_engine_is_opened_once_in_a_thread_and_closed_at_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    closed = []

    class Closing(FakeEngine):
        async def close(self) -> None:
            closed.append(self.identity.name)

    opened = opening(monkeypatch, Closing)
    async with Engines(settings(tmp_path, judge=EngineSettings(spec="embedded"))) as engines:
        assert engines.opened("judge") is None
        gathered = await asyncio.gather(*(engines.get(name) for name in ("judge", None, "judge")))
        assert len(opened) == 1 and opened[0] != threading.main_thread().name
        assert len(set(map(id, gathered))) == 1 and engines.opened("judge") is gathered[0] and not closed
    assert closed == ["fake"]


async def test_a_caller_that_goes_away_stops_no_opening(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    go = threading.Event()

    def slow() -> Engine:
        go.wait(600)
        return FakeEngine()

    opened = opening(monkeypatch, slow)
    async with Engines(settings(tmp_path, judge=EngineSettings(spec="embedded"))) as engines:
        first, second = (asyncio.create_task(engines.get("judge")) for _ in range(2))
        await asyncio.sleep(0.05)
        first.cancel()
        go.set()
        assert (await second).identity.name == "fake"
        assert len(opened) == 1


async def test_what_can_not_be_opened_is_told_without_its_address_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    states = [InputError("no connection", where="http://10.1.2.3:8000/v1"), None]

    def make() -> Engine:
        if (error := states.pop(0)) is not None:
            raise error
        return FakeEngine()

    opened = opening(monkeypatch, make)
    monkeypatch.setattr(part, "RETRY_SECONDS", 1.0)
    async with Engines(settings(tmp_path, judge=EngineSettings(spec="openai:m@http://10.1.2.3:8000/v1"))) as engines:
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                await engines.get("judge")
            assert "judge" in str(caught.value) and "10.1.2.3" not in str(caught.value)
            assert caught.value.retry_after is not None
        assert len(opened) == 1 and "10.1.2.3" in caplog.text
        while states:
            with suppress(Unavailable):
                await engines.get("judge")
            await asyncio.sleep(0.05)
        assert (await engines.get("judge")).identity.name == "fake"


@pytest.mark.parametrize("kind", [EngineError, RequestTooLong, Unavailable, EngineDown])
async def test_errors_keep_their_kind_and_tell_no_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type[Exception]
) -> None:
    class Failing(FakeEngine):
        async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
            raise kind("http://user:secret@10.1.2.3:8000/v1: the server answers 500 (see https://10.1.2.3/help)")

    opening(monkeypatch, Failing)
    async with Engines(settings(tmp_path, judge=EngineSettings(spec="openai:m@http://10.1.2.3:8000/v1"))) as engines:
        with pytest.raises(kind) as caught:
            await (await engines.get()).complete(ASKED, "interactive")
    assert "answers 500" in str(caught.value) and "10.1.2.3" not in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_the_name_of_a_folder_on_this_machine_is_its_last_part(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opening(monkeypatch, lambda: FakeEngine("/srv/secret/judge-7b"))
    async with Engines(settings(tmp_path, judge=EngineSettings(spec="hf:/srv/secret/judge-7b"))) as engines:
        assert (await engines.get()).identity.name == "judge-7b"


async def test_calls_tokens_and_cost_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Counting(FakeEngine):
        async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
            await asyncio.sleep(0)
            self.usage.input_price = 2.0  # dollars for a million tokens
            self.usage.prompt_tokens += 26
            self.usage.completion_tokens += 7
            return Completion("The Po.", "stop")

    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"engine": "counted"} | labels) or 0.0

    opening(monkeypatch, Counting)
    async with Engines(settings(tmp_path, counted=EngineSettings(spec="embedded"))) as engines:
        engine = await engines.get()
        await asyncio.gather(*(engine.complete(ASKED, "interactive") for _ in range(3)))
    assert value("cai_engine_calls_total", lane="interactive", verb="complete") == 3
    assert value("cai_engine_tokens_total", what="prompt") == 3 * 26
    assert value("cai_engine_tokens_total", what="completion") == 3 * 7
    assert value("cai_engine_cost_dollars_total") == pytest.approx(3 * 26 * 2 / 1e6)
    assert value("cai_engine_waiting", lane="interactive") == 0
    # The third began while two were under way.
    assert value("cai_engine_batch_size_sum") == 1 + 2 + 3


async def test_only_configured_names_are_engines(tmp_path: Path) -> None:
    async with Engines(settings(tmp_path, judge=scripted(tmp_path, "s"))) as engines:
        for name in ("embedded", "openai:m@http://169.254.169.254", "scripted:/etc/passwd", "models/x", "", "judge "):
            if name:
                with pytest.raises(InputError, match="there is no engine"):
                    await engines.get(name)
        assert engines.names == ["judge"]


async def test_modes_of_requests(tmp_path: Path) -> None:
    known = {"judge": scripted(tmp_path, "s", mode="cot?samples=2"), "rule": EngineSettings(spec="verify:max-words=3")}
    async with Engines(settings(tmp_path, **known)) as engines:
        assert engines.mode("judge").model_dump()["samples"] == 2
        assert engines.mode("judge", "logprob").name == "logprob"
        assert engines.mode("rule").name == engines.mode("models/any").name == "rm"
        for refused in (
            "contrast?weights=/etc/passwd",
            "contrast?%77eights=/etc/passwd",
            "cot?samples=17",
            "cot?max_tokens=100000",
            "rm",
            "nonsense",
            "cot?samples",
        ):
            with pytest.raises(InputError):
                engines.mode("judge", refused)


def test_an_administrators_fault_is_told_when_the_service_starts(tmp_path: Path) -> None:
    for wrong in (
        EngineSettings(spec="nothing:x"),
        EngineSettings(spec="embedded", mode="rm"),
        EngineSettings(spec="embedded?bach=4"),
        EngineSettings(spec="verify:no-such-rule"),
    ):
        with pytest.raises(InputError):
            Engines(settings(tmp_path, judge=wrong))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{tmp_path / 'cai.db'}") as opened:
        async with opened.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        yield opened


async def test_trained_models_are_found_by_name_and_nowhere_else(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("rm-1", "reward", "models/1"), ("policy", "dpo", "models/2"), ("evil", "reward", "../../../etc")]
    for id, (name, trainer, folder) in enumerate(rows):
        row = {"id": str(id), "name": name, "trainer": trainer, "folder": folder, "lineage": {}, "created_at": now()}
        await database.insert({models: [row]})
    seen: list[Spec] = []

    def open_engine(spec: Spec) -> Engine:
        seen.append(spec)
        return FakeEngine(spec.target)

    monkeypatch.setattr(part, "open_engine", open_engine)
    async with Engines(settings(tmp_path, judge=EngineSettings(spec="embedded")), database) as engines:
        assert (await engines.get("models/rm-1")).identity.name == "models/rm-1"
        assert [(spec.kind, spec.target) for spec in seen] == [("rm", str(tmp_path.resolve() / "artifacts/models/1"))]
        with pytest.raises(InputError, match="trained by dpo"):
            await engines.get("models/policy")
        with pytest.raises(InputError, match="outside of the data folder"):
            await engines.get("models/evil")
        with pytest.raises(InputError, match="there is no engine"):
            await engines.get("models/nobody")
    assert len(seen) == 1


async def test_only_so_many_trained_models_are_open_and_idle_ones_make_room(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, closed = now(), list[str]()
    for id in range(part.MOST_TRAINED + 2):
        row = {"id": str(id), "name": f"rm-{id}", "trainer": "reward", "folder": f"models/{id}", "lineage": {}}
        await database.insert({models: [row | {"created_at": at}]})

    class Closing(FakeEngine):
        async def close(self) -> None:
            closed.append(Path(self.identity.name).name)

    monkeypatch.setattr(part, "open_engine", lambda spec: Closing(spec.target))
    async with Engines(settings(tmp_path, judge=EngineSettings(spec="embedded")), database) as engines:
        for id in range(part.MOST_TRAINED):
            await engines.get(f"models/rm-{id}")
        with pytest.raises(Unavailable, match="no more fit"):
            await engines.get(f"models/rm-{part.MOST_TRAINED}")
        await engines.get("models/rm-0")  # those that are open stay so
        monkeypatch.setattr(part, "IDLE_SECONDS", -1.0)
        await engines.get(f"models/rm-{part.MOST_TRAINED}")
        assert closed == ["0"]


def test_an_administrators_fault_names_its_engine(tmp_path: Path) -> None:
    both = {"good": EngineSettings(spec="verify:max-words=9"), "judge": EngineSettings(spec="openai:m?rpm=none")}
    with pytest.raises(InputError, match=r"the engine judge: openai:m: rpm=none") as caught:
        checked_engines(settings(tmp_path, **both))
    assert "good" not in str(caught.value)


MISSING = [
    ("scripted:none.yaml", "the script can't be read"),
    ("hf:/nowhere/model", "no such folder"),
    ("rm:./nowhere/model", "no such folder"),
    ("vllm:/nowhere/model", "no such folder|not installed"),
    ("openai:m@http://127.0.0.1:9/v1", "no connection"),
    ("openai:m@http://127.0.0.1:9/v1?key_env=CAI_NO_SUCH_KEY", "CAI_NO_SUCH_KEY is not set"),
    ("decisions:m@http://127.0.0.1:9/v1", "no connection"),
    ("systemone:m@http://127.0.0.1:9/v1", "no connection"),
]


@pytest.mark.parametrize(("spec", "said"), MISSING)
async def test_of_an_engine_that_is_missing_it_is_told_at_the_start_and_the_others_are_served(
    spec: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A script that was missing stopped the service, and of all else that was missing the first request heard."""
    both = settings(tmp_path, judge=EngineSettings(spec=spec), good=EngineSettings(spec="verify:max-words=9"))
    for looking in tell_missing(both):
        looking.join()
    [told] = re.findall(r"^the engine .*(?:\n  .*)*", capsys.readouterr().err, re.MULTILINE)
    assert told.startswith("the engine judge can't be used now: ") and re.search(said, told)
    async with Engines(both) as engines:
        assert (await engines.get("good")).identity.name
        with pytest.raises(Unavailable, match="the engine judge can't be opened"):
            await engines.get("judge")
    assert re.search(said, caplog.text)


@pytest.mark.parametrize("kind", [kind for kind in kinds().values() if kind.target is not None and not kind.is_text])
def test_each_kind_of_engine_can_be_looked_for(kind: EngineKind) -> None:
    assert kind.expect_there is not None


def test_a_service_that_can_not_start_fails_as_a_machine_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn's 3 means here that a run is done, with rows that are quarantined."""

    def fail(*_: object, **__: object) -> None:
        raise SystemExit(3)

    monkeypatch.setattr("service.serving.server.Server.run", fail)
    monkeypatch.setattr("service.serving.server.quieten", lambda level: None)  # of the whole process
    unread: Any = SimpleNamespace()
    with socket.socket() as listener, pytest.raises(SystemExit) as caught:
        run(unread, Settings(data=tmp_path), listener)
    assert caught.value.code == 1
