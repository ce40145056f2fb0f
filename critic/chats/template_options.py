"""Options of a spec that a model's chat template reads: ``think=true|false`` and ``template.KEY=VALUE``.

Templates have variables of their own beside the messages (``enable_thinking``, ``reasoning_effort``, ``date_string``).
Any of them can be named as ``template.KEY``. ``think`` is the one that most people want, under whatever name the
template has it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from base.errors import InputError
from critic.engine_kinds.options import TEMPLATE_KEY, TEMPLATE_PREFIX, SpecOption

THINK = "think"
PREFIX = TEMPLATE_PREFIX
TEMPLATE_OPTIONS = (
    SpecOption(THINK, "the template's own", "whether the model is to think before it answers: true or false"),
    SpecOption(
        TEMPLATE_KEY, "the template's own", "any variable of the model's chat template, read as JSON where it is"
    ),
)
"""The options that are read here, for the tables of engines."""

_BOOLS = {"true": True, "false": False}
# What every template is given already; to set them would be to change the chat.
_TAKEN = ("add_generation_prompt", "documents", "messages", "tools")
# Variables by which templates are told to let the model think, and what yes and no are to them, the commonest first.
_SWITCHES: tuple[tuple[str, object, object], ...] = (
    ("enable_thinking", True, False),
    ("thinking", True, False),
    ("reasoning_effort", "high", "none"),
)


@dataclass(frozen=True, slots=True)
class TemplateOptions:
    """What a spec's options say to the template: ``variables`` as they are, and ``think`` where it was given."""

    variables: tuple[tuple[str, object], ...] = ()
    think: bool | None = None


NO_OPTIONS = TemplateOptions()


def read_template_options(options: Mapping[str, str], where: str) -> TemplateOptions:
    """Read the template's options among ``options``, and leave out all others.

    A value that is JSON is read as JSON (``true``, ``3``, ``["a"]``), any other is a string. Raises `InputError` for a
    value of ``think`` that is neither ``true`` nor ``false``, and for a variable without a name or that is not free.
    """
    think = options.get(THINK)
    if think is not None and think not in _BOOLS:
        raise InputError(f"think={think} is none of true, false", where=where)
    named = {key.removeprefix(PREFIX): text for key, text in options.items() if key.startswith(PREFIX)}
    for name in named:
        if not name.isidentifier() or name in _TAKEN:
            raise InputError(
                f"{PREFIX}{name} names no variable of a chat template that is free to be set",
                where=where,
                fix=f"write {PREFIX}KEY=VALUE with a variable of the template's own, as {PREFIX}enable_thinking=false",
            )
    variables = tuple((name, _value(text)) for name, text in sorted(named.items()))
    return TemplateOptions(variables, None if think is None else _BOOLS[think])


def switches(think: bool) -> tuple[dict[str, object], ...]:
    """Return what tells a template to let the model ``think`` or not to, by each name that templates have for it.

    The first that changes what a template writes is its own.
    """
    return tuple({name: yes if think else no} for name, yes, no in _SWITCHES)


def _value(text: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value
