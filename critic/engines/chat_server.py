"""An OpenAI-compatible chat server: where it is, whether it is there and serves the model, and what it answers.

The `openai` client does the transport: connections, and retries of what passes (429, with its Retry-After; 5xx;
time-outs). Here its exceptions become this project's errors, and answers are validated, since the client takes any
JSON for an answer. The API key stays in the client, and is cut out of whatever a server says.
"""

import asyncio
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import urlsplit

import openai
from pydantic import BaseModel, TypeAdapter, ValidationError

from constitution.errors import InputError
from critic.engines.base import EngineError, RequestTooLong

_MAX_RETRIES = 5
_OPENING_SECONDS = 10.0
_QUOTED_CHARACTERS = 300
_SHOWN_MODELS = 8
_HIDDEN = (401, 403, 404, 405, 501)
_TOO_LONG = re.compile(
    r"context[ _](length|size|window)|maximum .{0,20}length|max_model_len|too (long|large|many tokens)", re.I
)


class Likely(BaseModel):
    """A token that could come next."""

    token: str
    logprob: float


class Position(BaseModel):
    """The likeliest tokens at one position."""

    top_logprobs: tuple[Likely, ...] | None = None


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

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Reply(BaseModel):
    """A chat completion, as far as it is used here."""

    choices: tuple[Choice, ...]
    usage: Tokens | None = None


class Tokenized(BaseModel):
    """What vLLM makes of a text."""

    tokens: tuple[int, ...]


class Card(BaseModel):
    """What a server tells of a model. ``root`` and ``parent`` are vLLM's and SGLang's: weights, and a LoRA's base."""

    id: str
    root: str | None = None
    parent: str | None = None
    owned_by: str | None = None


class _Cards(BaseModel):
    data: tuple[Card, ...]


_CARDS: TypeAdapter[_Cards] = TypeAdapter(_Cards)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and how to knock. ``url`` None is the `openai` library's default server."""

    url: str | None
    key_env: str
    timeout: float
    key: str = field(repr=False)

    @property
    def place(self) -> str:
        """The URL, for people."""
        return self.url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, where no proxy must come between."""
        host = urlsplit(self.place).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


class ChatServer:
    """A server that was there, and served ``model``, when this was made; see the module's docstring.

    For one event loop. Raises `InputError` where the server can't be reached, refuses the key, or has no such model.
    """

    def __init__(self, address: Address, model: str) -> None:
        self._address, self._model = address, model
        self.card = self._find(model)
        self._client = openai.AsyncOpenAI(
            api_key=address.key or "none",
            base_url=address.url,
            timeout=address.timeout,
            max_retries=_MAX_RETRIES,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=not address.is_local),
        )
        self._asked: set[asyncio.Future[str]] = set()
        self._closed = False

    async def ask(self, body: Mapping[str, object]) -> Reply:
        """Send a chat completion request and return the answer. Raises `EngineError` and `RequestTooLong`."""
        try:
            return Reply.model_validate_json(await self._post("/chat/completions", body))
        except openai.OpenAIError as error:
            self._refuse(error)
        except ValidationError as error:
            fault = error.errors()[0]
            detail = f"{'.'.join(map(str, fault['loc'])) or 'the body'}: {fault['msg']}"
            raise EngineError(f"{self._address.place} answered with something else than a chat: {detail}") from None

    async def tokenize(self, text: str) -> tuple[int, ...] | None:
        """Return the ids of ``text`` from vLLM's ``/tokenize``, beside ``/v1``; None where a gateway hides that."""
        url = self._address.place.rstrip("/").removesuffix("/v1") + "/tokenize"
        body = {"model": self._model, "prompt": text, "add_special_tokens": False}
        try:
            return Tokenized.model_validate_json(await self._post(url, body)).tokens
        except ValidationError:
            return None
        except openai.OpenAIError as error:
            if isinstance(error, openai.APIStatusError) and error.status_code in _HIDDEN:
                return None
            self._refuse(error)

    async def _post(self, path: str, body: Mapping[str, object]) -> str:
        if self._closed:
            raise EngineError("the engine is closed")
        call = asyncio.ensure_future(self._client.post(path, body=dict(body), cast_to=str))
        self._asked.add(call)
        try:
            return await call
        except asyncio.CancelledError:
            if self._closed:
                raise EngineError("the engine was closed before the server answered") from None
            raise
        finally:
            self._asked.discard(call)

    async def close(self) -> None:
        """End the calls under way, with `EngineError`, and close the connections."""
        self._closed = True
        for call in self._asked:
            call.cancel()
        await self._client.close()

    def _find(self, model: str) -> Card:
        """Return the model's card, asking the server for its list."""
        address = self._address
        with openai.OpenAI(
            api_key=address.key or "none",
            base_url=address.url,
            timeout=min(_OPENING_SECONDS, address.timeout),
            max_retries=1,
            http_client=openai.DefaultHttpxClient(trust_env=not address.is_local),
        ) as client:
            try:
                cards = _CARDS.validate_json(client.get("/models", cast_to=str)).data
            except openai.OpenAIError as error:
                raise InputError(self._say(error), where=address.place, fix=self._fix(error)) from None
            except ValidationError:
                raise InputError(
                    "what is there lists no models, so it is no OpenAI-compatible server",
                    where=address.place,
                    fix="Give the server's base URL; most end in /v1.",
                ) from None
        for card in cards:
            if card.id == model:
                return card
        served = ", ".join(card.id for card in cards[:_SHOWN_MODELS]) + (" ..." if len(cards) > _SHOWN_MODELS else "")
        raise InputError(
            f"the server has no model {model!r}", where=address.place, fix=f"It serves: {served or 'none at all'}"
        )

    def _refuse(self, error: openai.OpenAIError) -> NoReturn:
        """Raise what the client's ``error`` means for a request."""
        said = self._say(error)
        status = error.status_code if isinstance(error, openai.APIStatusError) else 0
        code = error.code if isinstance(error, openai.APIError) else None
        too_long = code == "context_length_exceeded" or _TOO_LONG.search(said)
        if status == 413 or (status in (400, 422) and too_long):
            raise RequestTooLong(said) from None
        fix = self._fix(error)
        raise EngineError(f"{self._address.place}: {said}" + (f" ({fix})" if fix else "")) from None

    def _say(self, error: openai.OpenAIError) -> str:
        """Tell ``error`` in a sentence, without the key."""
        if isinstance(error, openai.APITimeoutError):
            return "the server did not answer in time"
        if isinstance(error, openai.APIConnectionError):
            return f"there is no connection to the server: {error.__cause__ or error}"
        text = "the server's answer can't be read"
        if isinstance(error, openai.APIStatusError):
            body = error.body if isinstance(error.body, dict) else {}
            detail = str(body.get("message") or error.body or error.response.reason_phrase)
            text = f"the server answers {error.status_code}: {detail}"
        if self._address.key:
            text = text.replace(self._address.key, "***")
        return text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + " ..."

    def _fix(self, error: openai.OpenAIError) -> str:
        """Say what a person can do about ``error``."""
        match error:
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                was = "is set, but refused" if self._address.key else "is not set"
                return f"The API key comes from the environment variable {self._address.key_env}, which {was}."
            case openai.APITimeoutError():
                return "Is it overloaded? The option timeout=SECONDS waits longer."
            case openai.APIConnectionError():
                return "Start it, wait until it has loaded its model, and check host and port."
            case openai.NotFoundError():
                return "Give the server's base URL; most end in /v1."
            case _:
                return ""
