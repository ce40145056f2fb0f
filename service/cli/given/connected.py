"""A client of the server that a command was told."""

from base.errors import InputError
from service.cli.given.remote import HERE
from service.client import Client


def connected(server: str, key: str) -> Client:
    """Return a client of the server. Raises `InputError` where there is no key, or what is given can't be one."""
    text = key.strip()
    if not text:
        raise InputError(
            "no key", where="CAI_KEY", fix="Set it to an API key: `cai keys make NAME --scope ...` makes one."
        )
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise InputError("it holds no API key", where="CAI_KEY", fix="Expected one word, as in cai_...")
    if not server.startswith(("http://", "https://")):
        raise InputError(f"{server!r} is no address of a server", where="--server", fix=f"Expected one like {HERE}")
    return Client(server, text)
