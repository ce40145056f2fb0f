"""The bytes of a text file, whatever they are packed in: gzip, Zstandard, UTF-16 or UTF-32; they come out as UTF-8.

What a file is packed in is told by its first bytes, since a pipe has no name; its encoding by its byte-order mark.
"""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from base.errors import InputError
from critic.files.containers.unchanged import unchanged
from critic.files.remote import BLOCK as REMOTE_BLOCK
from critic.files.remote import Patient

if TYPE_CHECKING:
    from upath import UPath

    AnyPath = Path | UPath

PACKED = (".gz", ".zst")
GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # no text begins so: neither is UTF-8
BINARY = (b"PK\x03\x04", b"\x89PNG", b"PAR1")  # zip, png, Parquet
MARK_BYTES = 4  # of the longest mark
# UTF-32 first: its little-endian mark begins with that of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
BLOCK = 2**16  # bytes
ZSTANDARD_BLOCK = 2**12  # packed bytes; each can unpack to 32,768
# Text seldom packs better than 50 to 1. What unpacks to more than both of these was made to fill a disk or a memory.
MOST_UNPACKED, MOST_RATIO = 2**28, 200  # bytes; unpacked bytes for each packed one


def ending(name: str) -> tuple[str, str]:
    """Return a file name's ending in lower case, and that of what it is packed in, or an empty one."""
    path = PurePath(name.lower())
    packing = path.suffix if path.suffix in PACKED else ""
    return PurePath(path.stem).suffix if packing else path.suffix, packing


@contextmanager
def open_text(path: "AnyPath", name: str) -> Iterator[BinaryIO]:
    """Open a file of text for reading its UTF-8, in a ``with``.

    Raises `InputError` for what is no text, and where the file is another one at the end than at the beginning.
    """
    with path.open("rb") as file, unchanged(path, name):
        # Not every file system's files read lines up to a length.
        plain = file if isinstance(path, Path) else BufferedReader(Patient(file, name), REMOTE_BLOCK)
        yield as_text(plain, name)


def as_text(file: BinaryIO, name: str) -> BinaryIO:
    """Return a file's bytes as UTF-8, unpacked; its beginning says what else they are. Raises `InputError`."""
    return _decoded(_unpacked(file, name), name)


def _unpacked(file: BinaryIO, name: str) -> BinaryIO:
    buffered, head = _begun(file)
    if head.startswith(GZIP):
        counted = _CountedFile(buffered)
        return BufferedReader(_Unpacked(counted, gzip.GzipFile(fileobj=cast(BinaryIO, counted)), name))
    if head.startswith(ZSTANDARD):
        counted = _CountedFile(buffered)
        return BufferedReader(_Unpacked(counted, _Zstandard(counted), name))
    if head and ending(name)[1]:
        raise InputError(
            "its ending says that it is packed, and its first bytes say that it isn't",
            where=name,
            fix="Fetch the file again, or name it by what it is.",
        )
    return buffered


def _decoded(file: BinaryIO, name: str) -> BinaryIO:
    buffered, head = _begun(file)
    for mark, encoding in MARKS.items():
        if head.startswith(mark):
            return BufferedReader(_Transcoded(buffered, encoding))
    nuls = head.count(0)
    if head.startswith((*BINARY, GZIP, ZSTANDARD)) or nuls > len(head) // 10 or (nuls and not _is_utf8(head)):
        raise InputError(
            "this is binary data, or text in an encoding that it doesn't name, not UTF-8 text",
            where=name,
            fix="Unpack it (gzip and Zstandard are read as they are), or save it as UTF-8; Parquet ends in .parquet.",
        )
    return buffered


def _begun(file: BinaryIO) -> tuple[BinaryIO, bytes]:
    """Return a file and how it begins, with nothing of it taken: `MARK_BYTES` at least, unless it is shorter."""
    buffered = file if isinstance(file, BufferedReader) else BufferedReader(cast(RawIOBase, file))
    head = buffered.peek(BLOCK)[:4096]
    if len(head) >= MARK_BYTES:
        return buffered, head
    first = buffered.read(MARK_BYTES)  # a pipe gives what is in it; this waits for the rest of a mark
    joined = BufferedReader(_Rejoined(first, buffered))
    return joined, joined.peek(BLOCK)[:4096]


def rejoined(first: bytes, rest: BinaryIO) -> BinaryIO:
    """Return a file again of which the beginning was read."""
    return BufferedReader(_Rejoined(first, rest))


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # the block may end inside a character
    return True


class _CountedFile:
    """A file, and how many of its bytes were taken: a pipe can't tell."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        """Take bytes."""
        block = self._file.read(size)
        self.taken += len(block)
        return block


class _Unpacked(RawIOBase):
    """Bytes as they are unpacked. Raises `InputError` where they can't be, or are too many."""

    def __init__(self, packed: _CountedFile, reader: Any, name: str) -> None:
        self._packed, self._reader, self._name = packed, reader, name
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._block(len(buffer))
        buffer[: len(block)] = block
        self._count += len(block)
        if self._count > max(MOST_UNPACKED, MOST_RATIO * self._packed.taken):
            raise InputError(
                f"it unpacks to more than {self._count:,} bytes, over {MOST_RATIO} times its size",
                where=self._name,
                fix="Unpack it yourself, if you trust it.",
            )
        return len(block)

    def _block(self, size: int) -> bytes:
        try:
            return cast(bytes, self._reader.read(size))
        except (EOFError, OSError, zlib.error) as error:
            problem = str(error)
        except Exception as error:  # Zstandard's own, which has no public base
            if type(error).__module__.partition(".")[0] != "zstandard":
                raise
            problem = str(error)
        raise InputError(
            f"it can't be unpacked after {self._count:,} bytes: {problem}",
            where=self._name,
            fix="Fetch the file again: it is cut short, or damaged.",
        )


class _Zstandard:
    """Unpacks frame after frame. The library's own reader takes a file that is cut short for one that ends."""

    def __init__(self, file: _CountedFile) -> None:
        from zstandard import ZstdDecompressor

        self._file, self._new = file, ZstdDecompressor().decompressobj
        self._frame: Any = None
        self._packed = self._ready = b""
        self._taken = 0

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes, none at the end. Raises EOFError for a frame that is cut short."""
        while not self._ready:
            self._packed = self._packed or self._file.read(ZSTANDARD_BLOCK)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("the last frame has no end")
                return b""
            self._frame = self._frame or self._new()
            self._ready = self._frame.decompress(self._packed)
            self._packed = self._frame.unused_data if self._frame.eof else b""
            self._frame = None if self._frame.eof else self._frame
        taken, self._taken = self._ready[self._taken : self._taken + size], self._taken + size
        if self._taken >= len(self._ready):
            self._ready, self._taken = b"", 0
        return taken


class _Transcoded(RawIOBase):
    """Text of another encoding, as UTF-8. What is no text in it comes out as no UTF-8, for the row to be refused."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            block = self._file.read(BLOCK)
            self._ready = self._utf8(block)
            if not block:
                break
        taken, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def _utf8(self, block: bytes) -> bytes:
        try:
            return self._decoder.decode(block, final=not block).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError:  # half a character at the end, or a number that is no character
            self._decoder.reset()
            return b"\xff"


class _Rejoined(RawIOBase):
    """What was read of a file, and then the rest of it."""

    def __init__(self, first: bytes, rest: BinaryIO) -> None:
        self._first, self._rest = first, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._first[: len(buffer)] or self._rest.read(len(buffer))
        self._first = self._first[len(block) :]
        buffer[: len(block)] = block
        return len(block)
