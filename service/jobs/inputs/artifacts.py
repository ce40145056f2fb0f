"""The artifact store: what jobs read and leave behind, in one file system that all machines share.

Names in it are made here, of ids of ours. A name that a client gives is only ever looked up in a listing.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fsspec import AbstractFileSystem
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel

from base.disk import must_be_spare
from service.settings import Settings
from service.store.disk.scratch import scratch, sweep, temporary
from service.store.disk.synced import make_folder, sync_file, sync_folder

BLOCK = 2**20
CANT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)  # another disk, or one that knows no second names


class Artifact(BaseModel):
    """One file that a job left, or was given."""

    name: str
    bytes: int


class Artifacts:
    """Files by folder and name. A file is there whole, or not at all, and is never changed.

    ``spare`` bytes of the disk are left free: writing raises `DiskFull` before.
    """

    def __init__(self, root: Path, spare: int = 0) -> None:
        make_folder(root.absolute())
        self._spare = spare
        self.root = root.absolute()
        self._files: AbstractFileSystem = DirFileSystem(str(root.absolute()), fs=LocalFileSystem())

    @classmethod
    def of(cls, settings: Settings) -> "Artifacts":
        """The store of a service."""
        return cls(settings.data / "artifacts", settings.spare_disk_bytes)

    def listing(self, folder: str) -> list[Artifact]:
        """The files under ``folder``, by name; names of those further down have slashes."""
        if not self._files.isdir(folder):
            return []
        entries = self._files.find(folder, detail=True)
        names = {path.removeprefix(f"{folder}/"): entry["size"] for path, entry in entries.items()}
        return [Artifact(name=name, bytes=size) for name, size in sorted(names.items())]

    def find(self, folder: str, name: str) -> Artifact | None:
        """The file ``name`` under ``folder``, if the listing has it."""
        return next((artifact for artifact in self.listing(folder) if artifact.name == name), None)

    def blocks(self, folder: str, name: str) -> Iterator[bytes]:
        """The content of a file that `find` found."""
        with self._files.open(f"{folder}/{name}", "rb") as file:
            while block := file.read(BLOCK):
                yield block

    def put(self, source: Path, folder: str, name: str) -> None:
        """Store a local file as ``name``, in the place of an older one."""
        with source.open("rb") as file:
            self.write(file, folder, name)

    def put_folder(self, source: Path, folder: str, *, leave_out: str = "checkpoint-*") -> None:
        """Store what lies under a local folder, but for folders that are named like ``leave_out``."""
        for path in sorted(source.rglob("*")):
            inside = path.relative_to(source)
            hidden = any(part.startswith(".") for part in inside.parts)
            if path.is_file() and not hidden and not any(Path(part).match(leave_out) for part in inside.parts[:-1]):
                self.put(path, folder, inside.as_posix())

    def write(self, source: BinaryIO, folder: str, name: str) -> str:
        """Store what ``source`` holds, and return its SHA-256 when it is on the disk: rows may point to it then."""
        target, hashed = self.root / folder / name, hashlib.sha256()
        make_folder(target.parent)
        with scratch(self.root) as place:  # two may write the same name at once
            part = place / "part"
            with part.open("wb") as file:
                while block := source.read(BLOCK):
                    must_be_spare(self.root, self._spare)
                    hashed.update(block)
                    file.write(block)
            sync_file(part)
            part.replace(target)
        sync_folder(target.parent)
        return hashed.hexdigest()

    def copy(self, folder: str, name: str, to: str, as_name: str) -> None:
        """Give a file that `find` found a second name within the store."""
        self.link(self.root / folder / name, to, as_name)

    def link(self, source: Path, folder: str, name: str) -> None:
        """Give a file that never changes a name in the store. A thousand jobs may read one file that is there once.

        Where that can't be, on another file system, it is copied.
        """
        target = self.root / folder / name
        make_folder(target.parent)
        with scratch(self.root) as place:
            try:
                os.link(source, place / "part")
            except OSError as error:
                if error.errno not in CANT_LINK:
                    raise
                self.put(source, folder, name)
                return
            (place / "part").replace(target)
        sync_folder(target.parent)

    def fetch(self, folder: str, name: str, target: Path) -> None:
        """Copy a file to a local path."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._files.open(f"{folder}/{name}", "rb") as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, BLOCK)

    def fetch_folder(self, folder: str, target: Path) -> None:
        """Copy all files under ``folder`` to a local folder."""
        for artifact in self.listing(folder):
            self.fetch(folder, artifact.name, target / artifact.name)

    def size(self, folder: str) -> int:
        """How many bytes the files under ``folder`` have together."""
        return sum(artifact.bytes for artifact in self.listing(folder))

    def remove_file(self, folder: str, name: str) -> None:
        """Delete a file, if it is there; where it has other names, these stay."""
        (self.root / folder / name).unlink(missing_ok=True)

    def remove(self, folder: str) -> None:
        """Delete a folder, if it is there."""
        if self._files.isdir(folder):
            self._files.rm(folder, recursive=True)


def swept(settings: Settings) -> int:
    """Remove what killed processes left half written; return how many folders there were."""
    return sum(sweep(place) for place in (temporary(), settings.data, Artifacts.of(settings).root))


def of_job(id: str) -> str:
    """The folder of what a job leaves."""
    return f"jobs/{id}"


def input_of(id: str) -> str:
    """The folder of the rows that a job was given; it lies among what the job leaves."""
    return f"jobs/{id}/input"


UPLOADS = "uploads"
MODELS = "models"
