"""The `openai` engine: any OpenAI-compatible chat server as policy or judge (vLLM, SGLang, llama.cpp, Ollama, hosted).

Spec: ``openai:MODEL@URL?key=value``. MODEL is a name that the server lists, and may hold slashes; URL is the server's
base, such as ``http://127.0.0.1:8000/v1``. Without ``@URL`` it is the `openai` library's default server:
``OPENAI_BASE_URL``, else the hosted one. The options are those of `critic.server.server_options.CHAT_OPTIONS`;
``think`` and ``template.KEY`` are sent as ``chat_template_kwargs``.

vLLM on CPUs dies of a prompt with a seed that it computes in several pieces: start it with
``--no-enable-chunked-prefill``, and with ``--max-num-batched-tokens`` of at least its context. Ollama cuts prompts that
are too long without a word: give it a large enough ``num_ctx``.

A server that does not list the model is tried all the same, and one that answers as another model that it lists is
refused. How each wants to be asked is learnt at opening: see `critic.server.survey` and `critic.server.manners`.

How it differs from the engines in this process: `critic.server.chat_engine`.
"""

from types import ModuleType

from critic.engine import REASONING_ROOM, Engine
from critic.engine_kinds.kind import EngineKind
from critic.server.server_options import CHAT_OPTIONS, ServerOptions


def _opening() -> ModuleType:
    from critic.server import chat_opening  # loads the openai library

    return chat_opening


def _open(target: str, options: dict[str, str]) -> Engine:
    engine: Engine = _opening().open_engine(target, options)
    return engine


def _check(target: str, options: dict[str, str]) -> None:
    ServerOptions.parse(target, options, "openai", CHAT_OPTIONS, reads_key=False)


def _expect_there(target: str, options: dict[str, str]) -> None:
    _opening().expect_there(target, options)


ENGINE = EngineKind(
    name="openai",
    open=_open,
    check=_check,
    expect_there=_expect_there,
    target="MODEL@URL",
    options=CHAT_OPTIONS,
    room=REASONING_ROOM,
    whole_trees=False,
)
