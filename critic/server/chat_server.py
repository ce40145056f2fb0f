"""An OpenAI-compatible chat server: whether it is there and serves the model, and what it answers.

The `openai` client does the transport, and no retries. Here its exceptions become this project's errors, by what they
mean for a request: it may be answered later (`Unavailable`), never (`EngineError`), or none can be any more
(`EngineDown`). Answers are validated. The API key stays in the client, and is cut out of whatever a server says.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime
from typing import NoReturn, TypeVar

import httpx2
import openai
from pydantic import BaseModel, ValidationError

from base.errors import InputError
from critic.calls.faults import plain
from critic.calls.waiting import Notices
from critic.calls.wrappers import ServerBusy, Unreachable
from critic.engine import EngineDown, EngineError, HeldBack, RequestTooLong, Signature, Unavailable
from critic.server.chat_fault import ServerFault, fault_of, is_page, shown
from critic.server.chat_reply import Card, Cards, Reply, Tokenized
from critic.server.server_options import Address

T = TypeVar("T", bound=BaseModel)

_CONNECTING_SECONDS = 10.0
_QUOTED_CHARACTERS = 300
_SHOWN_MODELS = 8
_START = "Start it, wait until it has loaded its model, and check host and port."
_SHOWN_CHARACTERS = 80
_REFUSED = (401, 402, 403)
_BUSY = 429
_PASSING = (408, 409, 425)
_NOT_BUILT = 501
_HIDDEN = (401, 403, 404, 405, _NOT_BUILT)
# A gateway that lists no models says so with these; 401 is a refused key.
_NO_LIST = (400, 403, 404, 405, 422, _NOT_BUILT)


class NotOffered(EngineError):
    """The server doesn't do what was asked: it refused the request, or answered without what was asked for.

    ``fault`` is what it said, where it said anything.
    """

    def __init__(self, problem: str, fault: ServerFault | None = None) -> None:
        super().__init__(problem, fault.signature if fault else None)
        self.fault = fault


class ServerRefused(EngineDown):
    """The server refuses the key, or has no quota left for it."""


class ChatServer:
    """A server that may have ``model``; see the module's docstring. For one event loop."""

    def __init__(self, address: Address, model: str) -> None:
        self._address, self._model = address, model
        self._client = openai.AsyncOpenAI(
            api_key=address.key or "none",
            base_url=address.url,
            timeout=openai.Timeout(address.timeout, connect=min(_CONNECTING_SECONDS, address.timeout)),
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=not address.is_local),
        )
        self._asked: set[asyncio.Future[str]] = set()
        self._knocking: asyncio.Future[bool] | None = None
        self._closed = False
        self._notices = Notices()

    async def card(self) -> Card:
        """Return the model's card; one that is not `Card.listed` where the server lists no models, or not this one.

        Such a model may be there all the same: gateways hide their lists, and know models by other names. Whoever opens
        the engine tries a request. Raises `InputError` where the server can't be reached or refuses the key.
        """
        place, timeout = self._address.place, min(_CONNECTING_SECONDS, self._address.timeout)
        try:
            with self._waited():
                text = await self._client.get("/models", cast_to=str, options={"timeout": timeout})
            cards = Cards.model_validate_json(text).data
        except openai.APIStatusError as error:
            if error.status_code in _NO_LIST:
                return Card.unlisted(self._model, ())
            raise InputError(self._say(error), where=place, fix=self._fix(error)) from None
        except openai.OpenAIError as error:
            raise InputError(self._say(error), where=place, fix=self._fix(error)) from None
        except ValidationError:
            return Card.unlisted(self._model, ())
        for card in cards:
            if card.id == self._model:
                return card
        return Card.unlisted(self._model, tuple(card.id for card in cards))

    @property
    def place(self) -> str:
        """Where the server is, for people."""
        return self._address.place

    def check_served(self, card: Card, answered: str) -> None:
        """Raise `InputError` where a model ``answered`` that is another one of the server's list."""
        if answered != self._model and answered in card.others:
            raise self.not_served(card, f"it answered as {answered!r}")

    def not_served(self, card: Card, why: str) -> InputError:
        """Return the error of a model that the server neither lists nor answers for."""
        served = ", ".join(card.others[:_SHOWN_MODELS]) + (" ..." if len(card.others) > _SHOWN_MODELS else "")
        if not card.others:
            return InputError(
                f"{why}; it lists no models either, so it may be no OpenAI-compatible server",
                where=self.place,
                fix="Give the server's base URL; most end in /v1.",
            )
        return InputError(
            f"the server has no model {self._model!r}: {why}", where=self.place, fix=f"It serves: {served}"
        )

    async def ask(self, body: Mapping[str, object]) -> Reply:
        """Send a chat completion request and return the answer. Raises what the module's docstring says."""
        return await self.send("/chat/completions", body, Reply, "a chat")

    async def send(self, path: str, body: Mapping[str, object], form: type[T], what: str) -> T:
        """Send a request and return the answer, which must be of ``form``: ``what`` it is, for people."""
        try:
            text = await self._post(path, body)
        except openai.OpenAIError as error:
            if isinstance(error, openai.APIConnectionError) and not await self._is_there():
                self._refuse_all(error)
            self._refuse(error)
        fault = fault_of(200, text)
        if fault is not None:
            self._refuse_fault(fault, f"it answers with an error under the status 200: {fault.message}", None)
        try:
            return form.model_validate_json(text)
        except ValidationError as error:
            detail = _mismatch(text, error)
            said = f"{self._address.place} answered with something else than {what}: {detail}"
            raise Unavailable(said, signature=Signature(plain(detail), 200)) from None

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

    async def close(self) -> None:
        """End the calls under way, with `EngineError`, and close the connections."""
        self._closed = True
        for call in self._asked:
            call.cancel()
        await self._client.close()

    async def _post(self, path: str, body: Mapping[str, object]) -> str:
        if self._closed:
            raise EngineError("the engine is closed")
        call = asyncio.ensure_future(self._client.post(path, body=dict(body), cast_to=str))
        self._asked.add(call)
        try:
            # The client's own limit is one between two pieces of an answer, and a server can send it byte by byte.
            with self._waited():
                async with asyncio.timeout(self._address.timeout):
                    return await call
        except TimeoutError:
            raise openai.APITimeoutError(httpx2.Request("POST", path)) from None
        except asyncio.CancelledError:
            if self._closed:
                raise EngineError("the engine was closed before the server answered") from None
            raise
        finally:
            self._asked.discard(call)

    def _waited(self) -> AbstractContextManager[None]:
        """Have it said where there is no answer for long."""
        return self._notices.waiting(f"{self._model} at {self._address.place} has not answered")

    def _refuse(self, error: openai.OpenAIError) -> NoReturn:
        """Raise what the client's ``error`` means for a request."""
        if isinstance(error, openai.APIStatusError):
            fault = fault_of(error.status_code, error.response.text)
            assert fault is not None, "a status of 400 or more is a failure"
            self._refuse_fault(fault, self._say(error), retry_after(error.response.headers), self._fix(error))
        said, fix = self._say(error), self._fix(error)
        told = f"{self._address.place}: {said}" + (f" ({fix})" if fix else "")
        raise Unavailable(told, signature=Signature(plain(said), kind=type(error).__name__)) from None

    def _refuse_all(self, error: openai.APIConnectionError) -> NoReturn:
        """Raise that nobody is there: not for this request, and not for any other."""
        said = f"{self._address.place}: {self._say(error)}"
        told = said if _is_unreachable(error) else f"{said}; nor does the server answer anything else"
        raise Unreachable(f"{told} ({_START})", signature=Signature("nobody is there")) from None

    async def _is_there(self) -> bool:
        """Whether anything answers at the address. One request can break its connection; all can't.

        Calls that fail together ask once.
        """
        if self._knocking is None or self._knocking.done():
            self._knocking = asyncio.ensure_future(self._knock())
        return await asyncio.shield(self._knocking)

    async def _knock(self) -> bool:
        timeout = min(_CONNECTING_SECONDS, self._address.timeout)
        try:
            with self._waited():
                await self._client.get("/models", cast_to=str, options={"timeout": timeout})
        except openai.APIConnectionError:
            return False
        except openai.OpenAIError:
            return True
        return True

    def _refuse_fault(self, fault: ServerFault, said: str, wait: float | None, fix: str = "") -> NoReturn:
        """Raise what a failure that the server told means for a request."""
        said, status = self._safe(said), fault.status
        told = f"{self._address.place}: {said}" + (f" ({fix})" if fix else "")
        if fault.is_filter:
            raise HeldBack(told, fault.signature) from None
        if status in _REFUSED or fault.is_no_quota:
            raise ServerRefused(told) from None
        if fault.is_too_long:
            raise RequestTooLong(said, fault.signature) from None
        if status == _BUSY:
            raise ServerBusy(told, wait, signature=fault.signature) from None
        if status in _PASSING or (status >= 500 and status != _NOT_BUILT):
            raise Unavailable(told, wait, signature=fault.signature) from None
        raise NotOffered(told, fault) from None

    def _say(self, error: openai.OpenAIError) -> str:
        """Tell ``error`` in a sentence, without the key."""
        if _is_unreachable(error):
            return f"there is no connection to the server: {_cause(error)}"
        if isinstance(error, openai.APITimeoutError):
            return "the server did not answer in time"
        if isinstance(error, openai.APIConnectionError):
            return f"the connection broke before the answer was whole: {_cause(error)}"
        text = "the server's answer can't be read"
        if isinstance(error, openai.APIStatusError):
            fault = fault_of(error.status_code, error.response.text)
            assert fault is not None, "a status of 400 or more is a failure"
            text = f"the server answers {error.status_code}: {fault.message}"
        return self._safe(text)

    def _safe(self, text: str) -> str:
        """Return ``text`` without the key, and not too long."""
        if self._address.key:
            text = text.replace(self._address.key, "***")
        return text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + " ..."

    def _fix(self, error: openai.OpenAIError) -> str:
        """Say what a person can do about ``error``."""
        if _is_unreachable(error):
            return _START
        match error:
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                was = "is set, but refused" if self._address.key else "is not set"
                return f"The API key comes from the environment variable {self._address.key_env}, which {was}."
            case openai.RateLimitError():
                return "The options rpm=N and tpm=N make fewer requests, and use fewer tokens, a minute."
            case openai.APITimeoutError():
                return "Is it overloaded? The option timeout=SECONDS waits longer."
            case openai.NotFoundError():
                return "Give the server's base URL; most end in /v1."
            case _:
                return ""


def _mismatch(text: str, error: ValidationError) -> str:
    """Say why an answer is not of its form: what it is, where it is no JSON at all."""
    if is_page(text):
        return f"it is {shown(text)}; is the URL the server's API, and not its page?"
    fault = error.errors()[0]
    if fault["type"] == "json_invalid":
        return f"it is no JSON: {shown(text)[:_SHOWN_CHARACTERS]!r}"
    return f"{'.'.join(map(str, fault['loc'])) or 'the body'}: {fault['msg']}"


def _is_unreachable(error: openai.OpenAIError) -> bool:
    return isinstance(error, openai.APIConnectionError) and isinstance(
        error.__cause__, (httpx2.ConnectError, httpx2.ConnectTimeout)
    )


def _cause(error: openai.OpenAIError) -> str:
    cause = error.__cause__ or error
    return str(cause) or type(cause).__name__


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds a server asks to wait (RFC 9110, section 10.2.3); None where it says nothing sensible."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "")
        try:
            seconds = float(text) * unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(text).timestamp() - time.time()
            except (ValueError, OverflowError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
