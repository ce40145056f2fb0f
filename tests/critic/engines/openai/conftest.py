"""A server on the loopback, whose every answer the test chooses, and the `openai` engine on it."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from critic.engine import Engine
from critic.server.chat_opening import open_engine
from tests.critic.engines.fake_server import VLLM, FakeServer


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critic.calls.wrappers.FIRST_WAIT", 0.001)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    started = FakeServer()
    thread = started.serve()
    yield started
    started.die()
    thread.join()


@pytest_asyncio.fixture
async def engine(server: FakeServer) -> AsyncIterator[Engine]:
    opened = open_engine(f"org/model@{server.url}", {"timeout": "20"})
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def vllm(server: FakeServer) -> AsyncIterator[Engine]:
    """vLLM, where the letters' ids can be looked up."""
    server.models = (200, {}, {"data": [VLLM]})
    server.ids = {"A": [330], "B": [365]}
    opened = open_engine(f"org/model@{server.url}", {})
    yield opened
    await opened.close()
