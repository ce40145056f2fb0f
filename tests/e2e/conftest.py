"""vLLM for several test files: it loads for half a minute, so one server and one engine serve them all."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import unavailable
from tests.e2e.remote_engine import RemoteEngine
from tests.e2e.vllm_server import KEY, served

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """The interpreter of an environment with vLLM and this project."""
    # Not resolved: through a symbolic link a virtual environment's Python would lose its packages.
    python = Path(os.environ.get("CAI_VLLM_PYTHON") or ROOT / ".venv-vllm" / "bin" / "python")
    if not python.is_file():
        unavailable(f"there is no vLLM: {python} is missing; `make vllm` installs it")
    return python


@pytest.fixture(scope="session")
def url(vllm_python: Path, embedded_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a vLLM server with the embedded model in float32."""
    with served(vllm_python, embedded_model, tmp_path_factory.mktemp("vllm") / "server.log") as address:
        yield address


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's key, where the `openai` engine looks for it."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture(scope="session")
def vllm_engines(
    vllm_python: Path, embedded_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], RemoteEngine]]:
    """What gives the engine of all tests, and another one after a test has closed it."""
    opened: list[RemoteEngine] = []
    spec = f"vllm:{embedded_model}?dtype=float32&context=2048&kv_gib=1"

    def current() -> RemoteEngine:
        if not opened or opened[-1].closed:
            opened.append(RemoteEngine(vllm_python, spec, tmp_path_factory.mktemp("vllm") / "engine.log"))
        return opened[-1]

    yield current
    for engine in opened:
        engine.end()


@pytest.fixture
def vllm_engine(vllm_engines: Callable[[], RemoteEngine]) -> RemoteEngine:
    """The `vllm` engine with the embedded model in float32, in a process of the environment that has vLLM."""
    return vllm_engines()
