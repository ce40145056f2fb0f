"""An input by its address, on any file system that fsspec knows: S3, Google Cloud Storage, the hub, HTTP.

The file systems' own libraries are not installed with this one; where one is missing, the error names it.
"""

import logging
import re
from collections.abc import Callable, Iterator
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from base.backoff import told
from base.errors import InputError
from base.hub_client import patient

if TYPE_CHECKING:
    from upath import UPath

T = TypeVar("T")
log = logging.getLogger("cai.files")
CONNECTING, READING = 10.0, 30.0  # seconds: until there is a connection, and without a byte
BLOCK = 2**20  # bytes, asked for at once of a file elsewhere


def open_remote(address: str, open_file: "Callable[[Path | UPath], T]") -> T:
    """Open a file by its address. Whatever its file system raises becomes an `InputError`."""
    from upath import UPath

    scheme = address.partition("://")[0]
    try:
        path = UPath(address, **_options(scheme))
        with patient() if scheme == "hf" else told(log, without_secrets(address)):
            if path.fs.info(path.path)["type"] != "file":
                raise InputError("this is no file", where=without_secrets(address), fix="Give the address of one file.")
            return open_file(Path(path.path) if scheme == "file" else path)
    except InputError:
        raise
    except FileNotFoundError as error:  # over HTTP it hides what happened behind it
        cause = f" ({brief(error.__cause__)})" if error.__cause__ else ""
        raise InputError(
            f"no such file{cause}", where=without_secrets(address), fix="Give the address of one file."
        ) from None
    except ImportError as error:  # it names the package that is missing
        raise InputError(f"{scheme} can't be read here: {error}", where=f"{scheme}://") from None
    except Exception as error:  # the boundary: each file system's library has errors of its own
        raise InputError(f"can't be read: {brief(error)}", where=without_secrets(address)) from None


def _options(scheme: str) -> dict[str, Any]:
    """Return how a file system is to wait: the one of HTTP gives up a file after five minutes, and not before."""
    if scheme not in ("http", "https"):
        return {}
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=CONNECTING, sock_read=READING)}}


class Patient(RawIOBase):
    """A file elsewhere, which says that it is waited for where a block of it takes long to come."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with told(log, self._name):
            block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


def while_connected(rows: Iterator[T], name: str) -> Iterator[T]:
    """Yield ``rows``. Where the connection breaks, say after which."""
    number = 0
    try:
        for row in rows:
            yield row
            number += 1
    except InputError:
        raise
    except Exception as error:  # the boundary, as above
        raise InputError(
            f"can't be read on: {brief(error)}",
            where=f"{name}, after row {number}",
            fix="The same command goes on from what is done.",
        ) from None


def without_secrets(address: str) -> str:
    """An address without a password and without a query, which may hold a signature; a path as it is."""
    if "://" not in address:
        return address
    return re.sub(r"//[^/]*@", "//***@", address.partition("?")[0])


def brief(error: BaseException) -> str:
    """The first line of an error, without the secrets of addresses in it."""
    text = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"\w+://[^\s'\"]+", lambda address: without_secrets(address[0]), text)
