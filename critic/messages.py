"""One turn of a chat, as files, APIs and templates have it: who says what, and which tools are called."""

import json
from typing import Annotated, Any, Literal, Self
from unicodedata import category

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

Role = Literal["system", "user", "assistant", "tool"]
_TAGS = frozenset(map(chr, range(0xE0020, 0xE0080)))  # they show nothing, and models read them as letters
_UNSEEN = ("Cf", "Cc", "Zs", "Zl", "Zp")  # of Unicode: format and control characters, and spaces


class Record(BaseModel):
    """Base of all records: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: it holds spaces alone, and characters that have no width."""
    bare = text.strip()
    if not bare or bare.isascii():
        return not bare
    # Most texts begin with a letter, which ends this at once.
    return all(category(character) in _UNSEEN and character not in _TAGS for character in bare)


def _encodable(text: str) -> str:
    if text.isascii():
        return text  # known without looking at it, and true of most
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half of a surrogate pair, which no file can store as UTF-8") from None
    return text


# The names of text parts: in chats for training, and in those of OpenAI's Responses API.
_TEXT_PARTS = ("text", "input_text", "output_text")


def join_parts(content: Any) -> Any:
    """Join a content that is a list of text parts, as multimodal chats have them; each has a ``text`` or a ``value``.

    Raises ValueError for any other part.
    """
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    texts = []
    for place, part in enumerate(content):
        fields = part if isinstance(part, dict) else {}
        text = fields.get("text", fields.get("value"))
        kind = fields.get("type", "text" if fields else type(part).__name__)
        if kind not in _TEXT_PARTS or not isinstance(text, str):
            raise ValueError(f"part {place} of the content, of type {str(kind)[:40]!r}, has neither a text nor a value")
        texts.append(text)
    return "".join(texts)


def _as_json(arguments: Any) -> Any:
    return json.dumps(arguments, ensure_ascii=False) if isinstance(arguments, dict) else arguments


def _content(content: Any) -> Any:
    """Read a content in one call: messages are made by the million."""
    text = content if isinstance(content, str) else join_parts(content)
    return _encodable(text) if isinstance(text, str) else text


def _of_assistant(calls: Any, info: ValidationInfo) -> Any:
    role = info.data.get("role")
    if calls is not None and role not in (None, "assistant"):
        raise ValueError(f"tool calls are the assistant's, not {role}'s")
    return calls


def _of_tool(text: str | None, info: ValidationInfo) -> str | None:
    role = info.data.get("role")
    if text is not None and role not in (None, "tool"):
        raise ValueError(f"tool_call_id and name are a tool's, not {role}'s")
    return text


def _is_none(value: object) -> bool:
    return value is None


Text = Annotated[str, AfterValidator(_encodable)]
Content = Annotated[str, BeforeValidator(_content, json_schema_input_type=str | list[dict[str, Any]] | None)]
_ROLES = {"enum": ["system", "developer", "user", "assistant", "tool"], "type": "string"}


class CalledFunction(Record):
    """What a tool call calls: a function's name and its arguments, in JSON as the model wrote them."""

    name: Text
    arguments: Annotated[Text, BeforeValidator(_as_json, json_schema_input_type=str | dict[str, Any])] = "{}"


class ToolCall(Record):
    """A call of a tool by the assistant, in OpenAI's form. ``id`` is what its result refers to."""

    id: Text | None = Field(default=None, exclude_if=_is_none)
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Record):
    """One turn of a chat, or a part of one: see `critic.engine.Node`.

    In a prompt's history an assistant may call tools (``tool_calls``), each answered by a message of the role ``tool``,
    which may say to which call (``tool_call_id``) and of which function (``name``). Tool fields that a message does not
    have are left out where it is written.

    Read are also ``developer``, which is the system, and contents that are lists of text parts.
    """

    role: Annotated[Role, WithJsonSchema(_ROLES, mode="validation")]
    content: Content = ""
    tool_calls: Annotated[tuple[ToolCall, ...] | None, AfterValidator(_of_assistant)] = Field(
        default=None, min_length=1, exclude_if=_is_none
    )
    tool_call_id: Annotated[Text | None, AfterValidator(_of_tool)] = Field(default=None, exclude_if=_is_none)
    name: Annotated[Text | None, AfterValidator(_of_tool)] = Field(default=None, exclude_if=_is_none)

    @model_validator(mode="before")
    @classmethod
    def _as_given(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        # An assistant that calls a tool says nothing beside; everyone else does.
        if given.get("content") is None and not given.get("tool_calls"):
            raise ValueError("content: Field required")
        # OpenAI's newer name of the system.
        return given | {"role": "system"} if given.get("role") == "developer" else given

    @classmethod
    def of_text(cls, role: Role, text: str) -> Self:
        """Return a message that is a text alone, one that UTF-8 can hold: whoever calls this has looked.

        Files have millions of them, and pydantic would ask each field again.
        """
        fields = {"role": role, "content": text, "tool_calls": None, "tool_call_id": None, "name": None}
        message = cls.__new__(cls)
        set_attribute = object.__setattr__  # as pydantic's model_construct does, which is slower than its validators
        set_attribute(message, "__dict__", fields)
        set_attribute(message, "__pydantic_fields_set__", {"role", "content"})
        set_attribute(message, "__pydantic_extra__", None)
        set_attribute(message, "__pydantic_private__", None)
        return message

    @property
    def text(self) -> str:
        """The message as people and judges read it: its content, and its tool calls a line each."""
        if not self.tool_calls:
            return self.content
        calls = (f"[calls {call.function.name} with {call.function.arguments}]" for call in self.tool_calls)
        return "\n".join(line for line in (self.content, *calls) if line)

    @property
    def tools(self) -> dict[str, Any]:
        """Its tool fields, as JSON: none where the message has nothing to do with tools."""
        if self.tool_calls is None and self.tool_call_id is None and self.name is None:
            return {}  # nearly all are like this, and millions are hashed
        return self.model_dump(mode="json", exclude={"role", "content"})

    def hashed(self) -> list[Any]:
        """Return what a chat's hash is made of: tool fields only where there are any, so that other hashes stay."""
        return [self.role, self.content, self.tools] if self.tools else [self.role, self.content]
