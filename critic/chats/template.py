"""A model's chat template: what it writes for a list of messages, which variables and which strings it knows.

What a template prints of the day is pinned, so that one request has the same tokens tomorrow.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from jinja2 import Environment, nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser
from transformers import PreTrainedTokenizerBase

from base.errors import InputError
from critic.chats.template_options import NO_OPTIONS, PREFIX, THINK, TemplateOptions, switches
from critic.engine import EngineError

_TODAY = datetime(2024, 7, 26)
PINNED = {"date_string": _TODAY.strftime("%d %b %Y"), "strftime_now": _TODAY.strftime}
"""What templates print of the day."""

Turn = dict[str, Any]
"""A message as templates read it: ``role``, ``content``, and what tool turns have beside them."""


class TemplateRefusal(EngineError):
    """The template refuses this chat."""


class Template:
    """Renders chats. Raises `InputError` for a tokenizer without a template, and for options that change nothing."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, where: str, options: TemplateOptions = NO_OPTIONS) -> None:
        if not tokenizer.chat_template:
            raise InputError(
                "its tokenizer has no chat template", where=where, fix="choose an instruction-tuned (chat) model"
            )
        self._tokenizer, self._where = tokenizer, where
        self.source = str(tokenizer.get_chat_template())
        # Its own private characters, if it has any: see `critic.chats.rendering`.
        self.source_if_private = self.source if max(self.source) >= "\U000f0000" else ""
        self.variables: dict[str, object] = {}
        for name, value in options.variables:
            if name not in self.names:
                raise InputError(
                    f"{PREFIX}{name}: the model's chat template reads no variable of that name",
                    where=where,
                    fix=f"those it reads: {', '.join(sorted(self.names)) or 'none'}",
                )
            self.variables[name] = value
        if options.think is not None:
            self.variables |= self._switch(options.think)

    def render(self, turns: Sequence[Turn], opened: bool) -> str:
        """Return the whole chat, ``opened`` for the assistant to speak or not. Raises `TemplateRefusal`."""
        try:
            return self._render(turns, opened, self.variables)
        except Exception as error:  # a template may fail in any way on a chat that it was not written for
            roles = ", ".join(turn["role"] for turn in turns)
            raise TemplateRefusal(f"the model's chat template refuses the roles {roles}: {error}") from error

    @cached_property
    def names(self) -> frozenset[str]:
        """The variables that it reads beside those that every template is given."""
        given = {"messages", "tools", "documents", "add_generation_prompt", "raise_exception", "strftime_now"}
        return frozenset(find_undeclared_variables(self._parsed)) - given - set(self._tokenizer.special_tokens_map)

    @cached_property
    def strings(self) -> tuple[str, ...]:
        """The strings that it may look for in a message, longest first: all its constants that hold more than space."""
        constants = {constant.value for constant in self._parsed.find_all(nodes.Const)}
        texts = {text for text in constants if isinstance(text, str) and len(text.strip()) > 1}
        return tuple(sorted(texts, key=len, reverse=True))

    @cached_property
    def _parsed(self) -> nodes.Template:
        environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation])
        try:
            return environment.parse(self.source)
        except TemplateError as error:
            raise InputError(f"its chat template can't be read: {error}", where=self._where) from error

    def _render(self, turns: Sequence[Turn], opened: bool, variables: Mapping[str, object]) -> str:
        given: dict[str, Any] = PINNED | dict(variables)
        text = self._tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=opened, **given)
        assert isinstance(text, str)
        return text

    def _switch(self, think: bool) -> dict[str, object]:
        """Return the variable by which this template is told to let the model ``think``, or not to."""
        asked = f"{THINK}={'true' if think else 'false'}"
        for on, off in zip(switches(True), switches(False), strict=True):
            chosen = on if think else off
            (name,) = chosen
            if name not in self.names or self._answers(on) == self._answers(off):
                continue
            value = chosen[name]
            if self._answers(chosen) is None or (isinstance(value, str) and not self._knows(value)):
                raise InputError(
                    f"{asked}: the model's chat template knows levels of thinking ({name}), and {value!r} is none",
                    where=self._where,
                    fix=f"set the level that the model was trained with, as {PREFIX}{name}=low",
                )
            return chosen
        raise InputError(
            f"{asked}: the model's chat template has no switch for thinking",
            where=self._where,
            fix=f"leave {THINK} out; other variables of the template are set with {PREFIX}KEY=VALUE",
        )

    def _answers(self, variables: Mapping[str, object]) -> str | None:
        """Return what a question looks like under ``variables``, or None where the template refuses them."""
        try:
            return self._render([{"role": "user", "content": "?"}], True, self.variables | dict(variables))
        except Exception:  # as in `render`
            return None

    def _knows(self, level: str) -> bool:
        """Whether the template names ``level``: a level that it never names may still be right, but "none" is not."""
        return level != "none" or level in self.strings


class _Generation(Extension):
    """Reads ``{% generation %}`` blocks, by which templates mark what the assistant wrote."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it for instances

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Leave the block's body in its place."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
