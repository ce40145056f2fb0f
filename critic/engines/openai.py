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

from base.errors import InputError
from critic.calls.waiting import log
from critic.calls.wrappers import Retrying
from critic.engine import REASONING_ROOM, Engine, EngineDown, EngineError, Usage
from critic.engine_kind import EngineKind
from critic.server.chat_engine import ChatEngine
from critic.server.chat_server import ChatServer, NotOffered
from critic.server.served import apart, priced, wrapped
from critic.server.server_options import CHAT_OPTIONS, ServerOptions
from critic.server.survey import FINISH, MODEL, NO_FINISH, Known, survey
from critic.server.template_kwargs import check_heeded, kwargs


def open_engine(target: str, options: dict[str, str]) -> Engine:
    """Find the server and its model, and what it can do; see the module's docstring for target and options.

    Raises `InputError` for an unknown option or value, a server that isn't there or refuses the key, and a model that
    it doesn't serve.
    """
    wanted = ServerOptions.parse(target, options)
    usage = priced(wanted)
    known = apart(_learn(wanted, usage))
    server = ChatServer(wanted.address, wanted.model)
    return wrapped(ChatEngine(server, known, usage, wanted.must_count), wanted)


async def _learn(wanted: ServerOptions, usage: Usage) -> Known:
    server = ChatServer(wanted.address, wanted.model)
    where = f"openai:{wanted.model}"
    try:
        card = await server.card()
        known = Known.of(card, kwargs(wanted.template))
        engine = Retrying(ChatEngine(server, known, usage, must_count=False), wanted.retries)
        try:
            await survey(engine, known)
        except NotOffered as error:
            if not card.listed:
                raise server.not_served(card, str(error)) from None
            raise InputError(f"the server refuses a request like a run's: {error}", where=where) from None
        except EngineError as error:
            raise InputError(f"the server answers no request like a run's: {error}", where=where) from None
        server.check_served(card, known.capabilities[MODEL])
        await check_heeded(server, known, where)
    except EngineDown as error:
        raise InputError(str(error), where=where) from None
    finally:
        await server.close()
    if wanted.must_count and usage.calls and not usage.prompt_tokens:
        raise InputError(
            "the server tells no token counts, which prices and tpm need",
            where=where,
            fix="Leave out input_price, output_price and tpm.",
        )
    _tell(wanted, known)
    return known


def _tell(wanted: ServerOptions, known: Known) -> None:
    """Say what was learnt that changes what is asked: once, where people look, and not only in the manifest."""
    lessons = known.manners.told()
    if known.capabilities.get(FINISH) == NO_FINISH:
        lessons["finish reasons"] = NO_FINISH
    for name, lesson in lessons.items():
        log.warning("%s at %s: %s: %s", wanted.model, wanted.address.place, name, lesson)


ENGINE = EngineKind(
    name="openai",
    open=open_engine,
    target="MODEL@URL",
    options=CHAT_OPTIONS,
    room=REASONING_ROOM,
    whole_trees=False,
)
