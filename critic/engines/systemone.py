"""The `systemone` engine: a server of ``POST /v1/systemone`` as judge (vLLM, Ollama, hosted decision models).

Spec: ``systemone:MODEL@URL?key=value``, with the options of `critic.engines.openai`. Each question is one read of the
first token of an answer, after a prompt that the server renders itself; vLLM tells the label mass with it, and has no
thought before it. It answers 501 for most architectures, which is told when the engine is opened.

vLLM 0.32's bounds are kept to: 64 questions a request, 26 choices, 10 levels.
"""

from types import ModuleType

from critic.engine import Engine
from critic.engine_kinds.kind import EngineKind
from critic.server.server_options import SERVER_OPTIONS, ServerOptions


def _opening() -> ModuleType:
    from critic.server.typed import systemone  # loads the openai library

    return systemone


def _open(target: str, options: dict[str, str]) -> Engine:
    engine: Engine = _opening().open_engine(target, options)
    return engine


def _check(target: str, options: dict[str, str]) -> None:
    ServerOptions.parse(target, options, "systemone", SERVER_OPTIONS, reads_key=False)


def _expect_there(target: str, options: dict[str, str]) -> None:
    _opening().expect_there(target, options)


ENGINE = EngineKind(
    name="systemone",
    open=_open,
    check=_check,
    expect_there=_expect_there,
    target="MODEL@URL",
    options=SERVER_OPTIONS,
    gives="decisions",
    mode="decision",
)
