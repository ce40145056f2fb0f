"""The `decisions` engine: a server of ``POST /v1/decisions`` as judge (OpenAI's beta since October 2026, and others).

Spec: ``decisions:MODEL@URL?key=value``, with the options of `critic.engines.openai`; without ``@URL`` it is the
`openai` library's default server. The API tells no label mass. Each question may be refused, and the others answered.

Bounds: 64 questions a request (OpenAI takes 400, others fewer; the text that they are about is cached all the same),
255 choices (Fireworks 208), 10 levels.
"""

from types import ModuleType

from critic.engine import Engine
from critic.engine_kinds.kind import EngineKind
from critic.server.server_options import SERVER_OPTIONS, ServerOptions


def _opening() -> ModuleType:
    from critic.server.typed import decisions  # loads the openai library

    return decisions


def _open(target: str, options: dict[str, str]) -> Engine:
    engine: Engine = _opening().open_engine(target, options)
    return engine


def _check(target: str, options: dict[str, str]) -> None:
    ServerOptions.parse(target, options, "decisions", SERVER_OPTIONS, reads_key=False)


def _expect_there(target: str, options: dict[str, str]) -> None:
    _opening().expect_there(target, options)


ENGINE = EngineKind(
    name="decisions",
    open=_open,
    check=_check,
    expect_there=_expect_there,
    target="MODEL@URL",
    options=SERVER_OPTIONS,
    gives="decisions",
    mode="decision",
)
