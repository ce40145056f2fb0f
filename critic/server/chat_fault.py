"""What a chat server says of a failure, read from whatever shape it says it in.

There are as many shapes as servers: ``{"error": {...}}`` (OpenAI, llama.cpp, OpenRouter, LiteLLM), the same in a list
(Gemini), a string for an error (Ollama), flat with ``object: error`` (vLLM, SGLang), ``detail`` (FastAPI) and
``error_type`` (TGI). Gateways send them with the status 200, too, and put them into a choice.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from critic.calls.faults import plain
from critic.engine import Signature

_QUOTED_CHARACTERS = 300
_BAD_GATEWAY = 502
_BAD_REQUEST = 400
_LEAST_STATUS, _MOST_STATUS = 400, 599

# What servers call failures in words, where the status doesn't say it, or there is none.
_STATUS_OF_CODE: Mapping[str, int] = {
    "authentication_error": 401,
    "invalid_api_key": 401,
    "insufficient_quota": 402,
    "payment_required": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "resource_exhausted": 429,
    "too_many_requests": 429,
    "overloaded_error": 529,
    "unavailable": 503,
    "invalid_argument": 400,
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
}
_NO_QUOTA = ("insufficient_quota", "payment_required", "billing_hard_limit_reached", "billing_not_active")
_TOO_LONG_CODES = ("context_length_exceeded", "exceed_context_size_error", "string_above_max_length")
_TOO_LONG = re.compile(
    r"context[ _](length|size|window)|maximum .{0,20}length|max_model_len|prompt is too long|"
    r"too (long|many tokens)|(request|prompt|payload|body|entity|input)\b.{0,20} too large|"
    r"inputs?\W{1,3}tokens?\b.{0,40}(<=|must be less|exceed)|reduce the length",
    re.I,
)
# OpenAI and Azure; OpenAI's reasoning models; DashScope; Bedrock; Moonshot and others.
_FILTER_CODES = (
    "content_filter",
    "content_policy_violation",
    "responsibleaipolicyviolation",
    "invalid_prompt",
    "data_inspection_failed",
    "datainspectionfailed",
    "guardrail_intervened",
    "moderation_blocked",
    "sensitive_content",
    "safety",
)
# OpenRouter's 403, DeepSeek's 400, and gateways that pass a filter's sentence on without its code.
_FILTERED = re.compile(
    r"content (exists risk|filter|management policy|policy)|flagged (as|by|for)|input was flagged|"
    r"requires moderation|responsible ai|(held back|blocked) by (a|the|our) .{0,20}(filter|policy|guardrail)",
    re.I,
)


@dataclass(frozen=True, slots=True)
class ServerFault:
    """One failure in the server's own words. ``param`` is the parameter that it names as the cause, if any."""

    status: int
    message: str
    code: str = ""
    kind: str = ""
    param: str = ""
    is_filter: bool = False

    @property
    def signature(self) -> Signature:
        """What makes it equal to others."""
        return Signature(plain(self.message), self.status, self.code, self.kind)

    @property
    def is_no_quota(self) -> bool:
        """Whether waiting does not help, though the status says that it does."""
        return self.code.lower() in _NO_QUOTA or self.kind.lower() in _NO_QUOTA

    @property
    def is_too_long(self) -> bool:
        """Whether the chat doesn't fit the model's context."""
        if self.status == 413:
            return True
        named = self.code.lower() in _TOO_LONG_CODES or self.kind.lower() in _TOO_LONG_CODES
        return named or (self.status in (400, 422, 500) and bool(_TOO_LONG.search(self.message)))

    def names(self, parameter: str) -> bool:
        """Whether the server says that it does not take ``parameter``, or not that value of it."""
        if self.param:
            return self.param == parameter or self.param.endswith(f".{parameter}")
        return re.search(rf"(?<![\w.]){re.escape(parameter)}(?!\w)", self.message) is not None


def fault_of(status: int, text: str) -> ServerFault | None:
    """Return the failure that an answer's ``text`` tells; None where it tells none, as a chat doesn't.

    With a failing ``status`` there always is one. With 200 its own code counts for the status.
    """
    body = _json(text)
    failing = status >= _LEAST_STATUS
    told = _told(body, failing)
    if told is not None:
        return _fault(status, told)
    if failing:
        return ServerFault(status, shown(text) or "no more than that")
    return None


def shown(text: str) -> str:
    """Return what an answer that is no chat is, for people: a page by its title, anything else by its beginning."""
    head = text.lstrip()[:_QUOTED_CHARACTERS]
    if head[:1] == "<":
        title = re.search(r"<title[^>]*>(.*?)</title>|<h1[^>]*>(.*?)</h1>", text, re.I | re.S)
        said = " ".join((title[1] or title[2] or "").split()) if title else ""
        return "an HTML page" + (f", {said[:_QUOTED_CHARACTERS]!r}" if said else "")
    return " ".join(head.split())


def is_page(text: str) -> bool:
    """Whether an answer is HTML or XML."""
    return text.lstrip()[:1] == "<"


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _told(body: Any, failing: bool) -> dict[str, Any] | None:
    """Return the part of an answer that tells a failure."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str) and error:
        return body | {"message": body.get("message") or error, "type": body.get("error_type") or body.get("type")}
    if body.get("object") == "error" or body.get("type") == "error":
        return body
    choices = body.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        inner = choices[0].get("error")
        return inner if isinstance(inner, dict) else None
    if failing:
        detail = body.get("message") or body.get("detail") or body.get("msg")
        return body | {"message": detail} if detail else None
    return None


def _fault(status: int, told: Mapping[str, Any]) -> ServerFault:
    inner = told.get("innererror")
    codes = [_text(told.get("code")), _text(inner.get("code")) if isinstance(inner, dict) else ""]
    kind, said, where = _text(told.get("type")), _message(told.get("message")), told.get("param")
    metadata = told.get("metadata")
    flagged = isinstance(metadata, dict) and "flagged_input" in metadata
    codes.append(_text(told.get("status")))
    names = [name.lower() for name in (*codes, kind) if name]
    is_filter = flagged or any(name in _FILTER_CODES for name in names) or bool(_FILTERED.search(said))
    own = status if status >= _LEAST_STATUS else _status([*codes, kind], is_filter)
    return ServerFault(own, said or "no more than that", codes[0], kind, _text(where) or _place(told), is_filter)


def _status(names: list[str], is_filter: bool) -> int:
    """Return the status that a failure under 200 stands for, by the first of its names that says one."""
    for name in names:
        if name.isdecimal() and _LEAST_STATUS <= int(name) <= _MOST_STATUS:
            return int(name)
        if name.lower() in _STATUS_OF_CODE:
            return _STATUS_OF_CODE[name.lower()]
    return _BAD_REQUEST if is_filter else _BAD_GATEWAY


def _message(told: object) -> str:
    """Return what a server says, on one line. Validation errors are lists, of which the first is told."""
    if isinstance(told, list) and told:
        told = told[0]
    if isinstance(told, dict):
        place = ".".join(str(part) for part in told.get("loc", ()))
        told = f"{place}: {told.get('msg') or told.get('message') or told}".removeprefix(": ")
    return " ".join(_text(told).split())


def _place(told: Mapping[str, Any]) -> str:
    """Return the parameter that a validation error names, as FastAPI tells it."""
    detail = told.get("detail") or told.get("message")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        loc = detail[0].get("loc")
        return str(loc[-1]) if isinstance(loc, list) and loc else ""
    return ""


def _text(value: object) -> str:
    return "" if value is None or isinstance(value, bool) else str(value)
