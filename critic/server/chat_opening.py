"""Opens a chat server as an engine (`critic.engines.openai`): what it can do is learnt before the first row."""

from base.errors import InputError
from critic.calls.waiting import log
from critic.calls.wrappers import Retrying
from critic.engine import Engine, EngineDown, EngineError, Usage
from critic.server.chat_engine import ChatEngine
from critic.server.chat_server import ChatServer, NotOffered
from critic.server.served import apart, expect_server, priced, wrapped
from critic.server.server_options import ServerOptions
from critic.server.survey import FINISH, MODEL, NO_FINISH, KnownServer, survey
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


def expect_there(target: str, options: dict[str, str]) -> None:
    """Raise `InputError` where the server doesn't answer, or refuses the key."""
    expect_server(ServerOptions.parse(target, options))


async def _learn(wanted: ServerOptions, usage: Usage) -> KnownServer:
    server = ChatServer(wanted.address, wanted.model)
    where = f"openai:{wanted.model}"
    try:
        card = await server.card()
        known = KnownServer.of(card, kwargs(wanted.template))
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


def _tell(wanted: ServerOptions, known: KnownServer) -> None:
    """Say what was learnt that changes what is asked: once, where people look, and not only in the manifest."""
    lessons = known.manners.told()
    if known.capabilities.get(FINISH) == NO_FINISH:
        lessons["finish reasons"] = NO_FINISH
    for name, lesson in lessons.items():
        log.warning("%s at %s: %s: %s", wanted.model, wanted.address.place, name, lesson)
