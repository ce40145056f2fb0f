"""What a server is told for its chat template: ``chat_template_kwargs``, and whether it heeds them.

vLLM, SGLang and llama.cpp know the field. Others overlook it without a word, and a model that was asked not to think
would think: so it is tried when the engine is opened, and refused by name where it does nothing.
"""

from base.errors import InputError
from critic.chats.template_options import TemplateOptions
from critic.engine import Unavailable
from critic.server.chat_server import ChatServer, NotOffered
from critic.server.survey import ASK_PLAIN, KnownServer

FIELD = "chat_template_kwargs"
# What these call themselves in their lists of models. llama.cpp reads a field of the wrong type as none.
_KNOWING = ("vllm", "sglang", "llamacpp")
# A template reads one of these, and its own alone: the other is a variable that nothing looks at.
_SWITCHES = ("enable_thinking", "thinking")


def kwargs(options: TemplateOptions) -> dict[str, object]:
    """Return what the spec's options say to the template."""
    thinking = {} if options.think is None else dict.fromkeys(_SWITCHES, options.think)
    return thinking | dict(options.variables)


async def check_heeded(server: ChatServer, known: KnownServer, where: str) -> None:
    """Raise `InputError` where the server was told something for its template that it overlooks.

    Two signs say that it reads the field: it refuses one that is no object, or the prompt's length depends on it.
    """
    if not known.template or (known.card.owned_by or "").lower() in _KNOWING:
        return
    if await _refuses_a_wrong_type(server, known) or await _length_depends_on_it(server, known):
        return
    names = ", ".join(known.template)
    raise InputError(
        f"the server overlooks {FIELD} ({names}), so think and template.KEY do nothing there",
        where=where,
        fix="Leave them out, or use a server that knows them, such as vLLM, SGLang or llama.cpp.",
    )


async def _refuses_a_wrong_type(server: ChatServer, known: KnownServer) -> bool:
    try:
        await server.ask(_body(known, "none"))
    except (NotOffered, Unavailable):  # some answer what they can't read with 500
        return True
    return False


async def _length_depends_on_it(server: ChatServer, known: KnownServer) -> bool:
    negated = {name: not value if isinstance(value, bool) else "" for name, value in known.template.items()}
    lengths = []
    for told in (dict(known.template), negated):
        try:
            reply = await server.ask(_body(known, told))
        except (NotOffered, Unavailable):
            return False
        lengths.append(reply.usage.prompt_tokens if reply.usage else 0)
    return lengths[0] != lengths[1]


def _body(known: KnownServer, told: object) -> dict[str, object]:
    asked = {"model": known.card.id, "messages": [{"role": "user", "content": ASK_PLAIN}], FIELD: told}
    return known.manners.adapted(asked, 1)
