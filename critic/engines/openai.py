"""The `openai` engine: any OpenAI-compatible chat server as policy or judge (vLLM, SGLang, llama.cpp, Ollama, hosted).

Spec: ``openai:MODEL@URL?key=value``. MODEL is a name that the server lists, and may hold slashes; URL is the server's
base, such as ``http://127.0.0.1:8000/v1``. Without ``@URL`` it is the `openai` library's default server:
``OPENAI_BASE_URL``, else the hosted one. Options::

    key_env=NAME       the environment variable of the API key (default OPENAI_API_KEY); a server that asks for none
                       needs none
    timeout=120        seconds for an answer to be whole
    retries=5          how often what may pass is asked again
    concurrency=64     requests under way at once, and as many interactive ones
    rpm=N, tpm=N       requests and tokens a minute
    input_price=D, output_price=D     US dollars for a million tokens

vLLM on CPUs dies of a prompt with a seed that it computes in several pieces: start it with
``--no-enable-chunked-prefill``, and with ``--max-num-batched-tokens`` of at least its context. Ollama cuts prompts that
are too long without a word: give it a large enough ``num_ctx``.

How it differs from the engines in this process: `critic.engines.chat_engine`.
"""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from constitution.errors import InputError
from critic.engines.base import Engine, EngineDown, Usage
from critic.engines.chat_engine import ChatEngine
from critic.engines.chat_server import ChatServer
from critic.engines.server_options import ServerOptions
from critic.engines.survey import Known, survey
from critic.engines.wrappers import Concurrent, RateLimited, Retrying

T = TypeVar("T")


def open_engine(target: str, options: dict[str, str]) -> Engine:
    """Find the server and its model, and what it can do; see the module's docstring for target and options.

    Raises `InputError` for an unknown option or value, a server that isn't there or refuses the key, and a model that
    it doesn't serve.
    """
    wanted = ServerOptions.parse(target, options)
    usage = Usage(input_price=wanted.prices[0], output_price=wanted.prices[1]) if wanted.prices else Usage()
    known = _apart(_learn(wanted, usage))
    engine: Engine = ChatEngine(ChatServer(wanted.address, wanted.model), known, usage, wanted.must_count)
    engine = Concurrent(engine, wanted.concurrency)
    if wanted.rpm is not None or wanted.tpm is not None:
        engine = RateLimited(engine, wanted.rpm, wanted.tpm)
    return Retrying(engine, wanted.retries)


async def _learn(wanted: ServerOptions, usage: Usage) -> Known:
    server = ChatServer(wanted.address, wanted.model)
    try:
        known = Known.of(await server.card())
        engine = ChatEngine(server, known, usage, must_count=False)
        known.capabilities |= await survey(Retrying(engine, wanted.retries))
    except EngineDown as error:
        raise InputError(str(error), where=f"openai:{wanted.model}") from None
    finally:
        await server.close()
    if wanted.must_count and usage.calls and not usage.prompt_tokens:
        raise InputError(
            "the server tells no token counts, which prices and tpm need",
            where=f"openai:{wanted.model}",
            fix="Leave out input_price, output_price and tpm.",
        )
    return known


def _apart(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` in an event loop of its own: engines are opened from without a loop and from within one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
