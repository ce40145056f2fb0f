"""What chat servers answer, as far as it is used here. Anything else is no answer, though the client takes any JSON."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, field_validator

from critic.chats.reasoning import split

# Servers write -inf as this, since JSON has no infinity.
_NO_LOGPROB = -9999.0


class Likely(BaseModel):
    """A token that could come next."""

    token: str
    logprob: float


class Position(BaseModel):
    """The likeliest tokens at one position."""

    top_logprobs: tuple[Likely, ...] | None = None

    def read(self, texts: Iterable[str]) -> tuple[tuple[float, ...], float]:
        """Return the log-probabilities that exactly each of ``texts`` comes next, and the probability of any of them.

        One that is not listed is less likely than any that is: so the least that is listed stands for it, and never an
        impossibility. In the probability of any of them only what was listed counts.
        """
        logprobs = [self._logprob_of(text) for text in texts]
        mass = math.fsum(math.exp(value) for value in logprobs if value is not None)
        bound = min(self._listed().values(), default=math.nan)
        return tuple(bound if value is None else value for value in logprobs), mass if mass < 1 or math.isnan(
            mass
        ) else 1.0

    def _logprob_of(self, text: str) -> float | None:
        """Return the log-probability that exactly ``text`` comes next; None where it isn't among the likeliest tokens.

        Tokens count whose text is exactly ``text``: ``" A"`` is not ``"A"``, as in every engine. Vocabularies can hold
        several tokens with one text; their probabilities are summed. The token that was drawn counts only where it is
        listed, so that chance plays no part.
        """
        logprobs = [value for (token, _), value in self._listed().items() if token == text]
        if not logprobs:
            return None
        top = max(logprobs)
        return top + math.log(math.fsum(math.exp(value - top) for value in logprobs))

    def _listed(self) -> dict[tuple[str, int], float]:
        """The likeliest tokens by text and place, but for those that a server lists as impossible."""
        told = self.top_logprobs or ()
        return {(likely.token, i): likely.logprob for i, likely in enumerate(told) if not likely.logprob <= _NO_LOGPROB}


class Logprobs(BaseModel):
    """One `Position` a token; ``content`` is None where the server offers none."""

    content: tuple[Position, ...] | None = None


# How servers say that the model came to its end, and that it came to the limit. Anything else is no answer.
_STOPPED = ("stop", "eos", "eos_token", "end_turn", "stop_sequence", "end", "complete", "completed", "finished")
_CUT = ("length", "max_tokens", "model_length", "max_length", "max_output_tokens", "model_context_window_exceeded")
# A filter's words, each with its family: OpenAI and Azure; Anthropic's gateways; Gemini; Bedrock.
_FILTERED = ("content_filter", "refusal", "safety", "recitation", "blocklist", "prohibited_content", "spii")
_GUARDED = ("guardrail_intervened", "content_filtered", "sensitive")
_CALLED = ("tool_calls", "tool_call", "function_call", "tool_use")
# DeepSeek's, and what routers say where the provider behind them failed.
_PASSING = ("insufficient_system_resource", "error", "abort", "cancelled", "network_error")

Ending = Literal["stop", "length", "filtered", "tools", "failed", "untold", "unknown"]
_ENDINGS: Mapping[str, Ending] = MappingProxyType(
    {
        **dict.fromkeys(_STOPPED, "stop"),
        **dict.fromkeys(_CUT, "length"),
        **dict.fromkeys((*_FILTERED, *_GUARDED), "filtered"),
        **dict.fromkeys(_CALLED, "tools"),
        **dict.fromkeys(_PASSING, "failed"),
    }
)


class WrittenMessage(BaseModel):
    """The message that the server wrote. Contents in parts are joined: the thoughts to thoughts, the text to text."""

    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    parted_thoughts: str | None = None

    @field_validator("reasoning", "reasoning_content", "refusal", mode="before")
    @classmethod
    def _only_text(cls, value: object) -> str | None:
        return value if isinstance(value, str) else None

    @classmethod
    def of(cls, message: Any) -> Any:
        """Join the parts of a message's content, as Mistral and gateways to Anthropic write them."""
        if not isinstance(message, dict) or not isinstance(message.get("content"), list):
            return message
        texts, thoughts = [], []
        for part in message["content"]:
            if isinstance(part, str):
                texts.append(part)
            elif isinstance(part, dict) and part.get("type") in ("thinking", "reasoning"):
                thoughts.append(_thoughts_in(part))
            elif isinstance(part, dict) and isinstance(part.get("text"), str):
                texts.append(part["text"])
        return message | {"content": "".join(texts), "parted_thoughts": "\n".join(thoughts) or None}

    def split(self) -> tuple[str | None, str | None]:
        """Return the answer and the thoughts before it. The answer is None where there is no text at all."""
        told = self.reasoning_content or self.reasoning or self.parted_thoughts
        if self.content is None:
            return None, told
        answer, thoughts = split(self.content)
        return answer, told or thoughts


def _thoughts_in(part: dict[str, Any]) -> str:
    """Return a part's thoughts: a text, or (Mistral's) texts in a list."""
    said = part.get("thinking") or part.get("reasoning") or part.get("text") or ""
    if isinstance(said, list):
        return "".join(str(one.get("text", "")) for one in said if isinstance(one, dict))
    return str(said)


class Choice(BaseModel):
    """One answer and how it ended."""

    message: WrittenMessage
    finish_reason: str | None = None
    logprobs: Logprobs | None = None

    @field_validator("message", mode="before")
    @classmethod
    def _joined(cls, message: Any) -> Any:
        return WrittenMessage.of(message)

    @property
    def ending(self) -> Ending:
        """How it ended, whatever the server calls it. ``untold`` is a reason that is null or empty."""
        if not self.finish_reason:
            return "untold"
        return _ENDINGS.get(self.finish_reason.lower(), "unknown")


class Details(BaseModel):
    """What a server tells of the tokens that it wrote."""

    reasoning_tokens: int | None = Field(default=None, ge=0)


class Tokens(BaseModel):
    """What the server counted."""

    prompt_tokens: int = Field(default=0, ge=0)
    completion_tokens: int = Field(default=0, ge=0)
    completion_tokens_details: Details | None = None
    reasoning_tokens: int | None = Field(default=None, ge=0)

    @property
    def thought(self) -> int:
        """How many tokens the model thought, as far as it is told."""
        details = self.completion_tokens_details
        return (details.reasoning_tokens if details else None) or self.reasoning_tokens or 0


class Reply(BaseModel):
    """A chat completion: one choice, since one is asked for. ``model`` is who answered."""

    model: str | None = None
    choices: tuple[Choice]
    usage: Tokens | None = None

    @property
    def choice(self) -> Choice:
        """The answer."""
        return self.choices[0]


class Tokenized(BaseModel):
    """What vLLM makes of a text."""

    tokens: tuple[int, ...]


class Card(BaseModel):
    """What a server tells of a model.

    ``root`` and ``parent`` are vLLM's and SGLang's: weights, and a LoRA's base; so is ``max_model_len``, the context.
    ``listed`` and ``others`` are said here, and not by a server.
    """

    id: str
    root: str | None = None
    parent: str | None = None
    owned_by: str | None = None
    max_model_len: int | None = None
    listed: bool = True
    others: tuple[str, ...] = ()

    @classmethod
    def unlisted(cls, model: str, others: tuple[str, ...]) -> Self:
        """The card of a model that a server does not list beside ``others``."""
        return cls(id=model, listed=False, others=others)


class Cards(BaseModel):
    """A server's list of models."""

    data: tuple[Card, ...]
