"""A pretended server of typed decisions, and an engine of either shape on it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial

import pytest
import pytest_asyncio

from critic.engine import Engine
from critic.engines import open_engine, parse_spec
from tests.critic.engines.typed.pretended import DecisionServer

Opener = Callable[..., Engine]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critic.calls.wrappers.FIRST_WAIT", 0.001)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[DecisionServer]:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    started = DecisionServer()
    thread = started.serve()
    yield started
    started.die()
    thread.join()


@pytest.fixture(params=["decisions", "systemone"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture
async def open_as(server: DecisionServer) -> AsyncIterator[Opener]:
    """Opens the engine of a kind with options."""
    async with AsyncExitStack() as stack:

        def opener(kind: str, **options: object) -> Engine:
            query = "&".join(f"{key}={value}" for key, value in options.items())
            engine = open_engine(parse_spec(f"{kind}:org/model@{server.url}" + (f"?{query}" if query else "")))
            stack.push_async_callback(engine.close)
            return engine

        yield opener


@pytest.fixture
def opened(open_as: Opener, kind: str) -> Opener:
    """Opens the engine of ``kind``, which goes through both."""
    return partial(open_as, kind)
