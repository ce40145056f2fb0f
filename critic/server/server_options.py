"""What a spec ``KIND:MODEL@URL?key=value`` says: the server, the model, and how both are to be used."""

import ipaddress
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from base.errors import InputError
from critic.calls.api_key import KEY_ENV, api_key, key_variable
from critic.chats.template_options import TEMPLATE_OPTIONS, TemplateOptions, read_template_options
from critic.engine_kinds.options import SpecOption, check_known

_FORM = "Write {kind}:MODEL@URL, as in {kind}:my-model@http://127.0.0.1:8000/v1"
_PRICES = ("input_price", "output_price")
SERVER_OPTIONS = (
    SpecOption("key_env", KEY_ENV, "the environment variable of the API key; a server that asks for none needs none"),
    SpecOption("timeout", "120", "seconds for an answer to be whole"),
    SpecOption("retries", "5", "how often a request is repeated after a fault that may pass"),
    SpecOption(
        "concurrency", "64", "requests in progress at once; interactive requests have as many places of their own"
    ),
    SpecOption("rpm", "no limit", "requests per minute"),
    SpecOption("tpm", "no limit", "tokens per minute, read and written"),
    SpecOption("input_price", "free", "US dollars for a million tokens read; with output_price"),
    SpecOption("output_price", "free", "US dollars for a million tokens written; with input_price"),
)
"""Options of every server."""
CHAT_OPTIONS = (*SERVER_OPTIONS, *TEMPLATE_OPTIONS)
"""Options of a chat server."""


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


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """A parsed spec. ``prices`` are of a million tokens read and written, in US dollars; None where none are given."""

    model: str
    address: Address
    retries: int
    rpm: int | None
    tpm: int | None
    concurrency: int
    prices: tuple[float, float] | None
    template: TemplateOptions

    @property
    def must_count(self) -> bool:
        """Whether nothing goes without the server's token counts."""
        return self.prices is not None or self.tpm is not None

    @classmethod
    def parse(
        cls,
        target: str,
        options: Mapping[str, str],
        kind: str = "openai",
        known: Sequence[SpecOption] = CHAT_OPTIONS,
        *,
        reads_key: bool = True,
    ) -> Self:
        """Read a spec's target and options, and the server's key, which another machine may not have.

        Raises `InputError` for an option that is not ``known``, and for one that is not valid.
        """
        model, url = _split(target, kind)
        where = f"{kind}:{model}"
        check_known(options, known, where)

        def whole(name: str, default: int, least: int = 1) -> int:
            return _whole(name, options.get(name, str(default)), least, where)

        key_env, key = api_key(options, where) if reads_key else (key_variable(options, where), "")
        return cls(
            model,
            Address(url, key_env, whole("timeout", 120), key),
            retries=whole("retries", 5, least=0),
            rpm=whole("rpm", 1) if "rpm" in options else None,
            tpm=whole("tpm", 1) if "tpm" in options else None,
            concurrency=whole("concurrency", 64),
            prices=prices(options, where),
            template=read_template_options(options, where),
        )


def prices(options: Mapping[str, str], where: str) -> tuple[float, float] | None:
    """Return what a spec's options say a million tokens cost in US dollars, read and written; None where they don't."""
    given = {name: _price(name, options[name], where) for name in _PRICES if name in options}
    if len(given) == 1:
        raise InputError(f"only {next(iter(given))} is given", where=where, fix=f"Give both: {' and '.join(_PRICES)}")
    return (given["input_price"], given["output_price"]) if given else None


def _price(name: str, text: str, where: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not 0 <= price < math.inf:
        raise InputError(f"{name}={text} is not a price in US dollars for a million tokens", where=where)
    return price


def _whole(name: str, text: str, least: int, where: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise InputError(f"{name}={text} is not a whole number of at least {least}", where=where)
    return int(text)


def _split(target: str, kind: str) -> tuple[str, str | None]:
    """Split ``MODEL@URL``. A model's name may hold an ``@`` itself where a URL follows."""
    form = _FORM.format(kind=kind)
    at = max(target.rfind("@http://"), target.rfind("@https://"))
    model, url = (target[:at], target[at + 1 :]) if at >= 0 else (target, None)
    if not model or (url is None and "@" in model):
        raise InputError("the spec is not of the engine's form", where=f"{kind}:", fix=form)
    if url is None:
        return model, None
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:
        valid = False
    if not valid:
        raise InputError("the spec's URL is not valid", where=f"{kind}:{model}", fix=form)
    if "@" in parts.netloc:
        raise InputError(
            "the URL holds a user name or a password, which would end up in logs",
            where=f"{kind}:{model}",
            fix="Put the key in an environment variable, and name that with ?key_env=NAME",
        )
    return model, url
