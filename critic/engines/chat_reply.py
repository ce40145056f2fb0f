"""What chat servers answer, as far as it is used here. Anything else is no answer, though the client takes any JSON."""

import math

from pydantic import BaseModel, Field

# Servers write -inf as this, since JSON has no infinity.
_NO_LOGPROB = -9999.0


class Likely(BaseModel):
    """A token that could come next."""

    token: str
    logprob: float


class Position(BaseModel):
    """The likeliest tokens at one position."""

    top_logprobs: tuple[Likely, ...] | None = None

    def logprob_of(self, text: str) -> float:
        """Return the log-probability that exactly ``text`` comes next; -inf where it isn't among the likeliest tokens.

        Tokens count whose text is exactly ``text``: ``" A"`` is not ``"A"``, as in every engine. Vocabularies can hold
        several tokens with one text; their probabilities are summed. The token that was drawn counts only where it is
        listed, so that chance plays no part.
        """
        listed = self.top_logprobs or ()
        found = [likely.logprob for likely in listed if likely.token == text and not likely.logprob <= _NO_LOGPROB]
        if not found:
            return -math.inf
        top = max(found)
        return top + math.log(math.fsum(math.exp(value - top) for value in found))


class Logprobs(BaseModel):
    """One `Position` a token; ``content`` is None where the server offers none."""

    content: tuple[Position, ...] | None = None


class Written(BaseModel):
    """The message that the server wrote."""

    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    """One answer and how it ended."""

    message: Written
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Tokens(BaseModel):
    """What the server counted."""

    prompt_tokens: int = Field(default=0, ge=0)
    completion_tokens: int = Field(default=0, ge=0)


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
    """

    id: str
    root: str | None = None
    parent: str | None = None
    owned_by: str | None = None
    max_model_len: int | None = None


class Cards(BaseModel):
    """A server's list of models."""

    data: tuple[Card, ...]
