"""Publish a constitution, and check that nothing published has changed since."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from base.errors import InputError
from constitution.library import CHECKSUMS, checksum, checksums, published, version_key
from constitution.load import load
from constitution.schema import Constitution


@dataclass(frozen=True, slots=True)
class VersionFault:
    """A published file that is not as it was published. ``file`` is ``name/version.yaml``, or a CHECKSUMS line."""

    file: str
    problem: str


def publish(file: Path, into: Path) -> Path:
    """Copy ``file`` to ``into/<name>/<version>.yaml``, add it to CHECKSUMS, and return its new path.

    The file must load, with its includes published. A published version is never overwritten: the same bytes again
    are no error and change nothing, others are refused. So is a version below the newest one of its name, because
    NAME alone means the newest. Raises InputError.
    """
    constitution = load(file, root=into)
    content = file.read_bytes()
    key = f"{constitution.name}/{constitution.version}.yaml"
    target = into / key
    known = checksums(into)
    listed = known.get(key)
    if listed is None:
        _refuse_older(constitution, file, known)
    if (listed or checksum(content)) != checksum(content) or (target.exists() and target.read_bytes() != content):
        raise InputError(
            f"{constitution.ref} is published already, with other content",
            where=str(file),
            fix="a published version never changes: raise `version`",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    _replace(target, content)
    if listed is None:
        lines = [f"{sha256}  {name}\n" for name, sha256 in {**known, key: checksum(content)}.items()]
        _replace(into / CHECKSUMS, "".join(lines).encode())
    return target


def _refuse_older(constitution: Constitution, file: Path, known: Iterable[str]) -> None:
    paths = [PurePosixPath(key) for key in known]
    versions = [path.stem for path in paths if path.parent.name == constitution.name]
    newest = max(versions, key=version_key, default=constitution.version)
    if version_key(constitution.version) < version_key(newest):
        raise InputError(
            f"{constitution.ref} is older than the published {newest}",
            where=str(file),
            fix=f"give it a version above {newest}",
        )


def _replace(target: Path, content: bytes) -> None:
    """Write all or nothing: a reader never sees half a file."""
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(content)
    os.replace(part, target)


def verify(root: Path) -> tuple[VersionFault, ...]:
    """Return every file under ``root`` that is changed, missing or not listed in CHECKSUMS; () if all is well.

    Raises InputError where CHECKSUMS itself is missing or can't be read.
    """
    if not (root / CHECKSUMS).is_file():
        raise InputError(
            "there is no such file", where=str(root / CHECKSUMS), fix="`cai constitution publish` makes it"
        )
    listed = checksums(root)
    names = {f"{name}/{version}.yaml" for name, versions in published(root).items() for version in versions}
    faults = [VersionFault(file, f"not listed in {CHECKSUMS}") for file in names - listed.keys()]
    for file, expected in listed.items():
        if file not in names:
            faults.append(VersionFault(file, "missing"))
        elif checksum((root / file).read_bytes()) != expected:
            faults.append(VersionFault(file, "changed since it was published"))
    strangers = [f.relative_to(root).as_posix() for f in root.glob("*/*.y*ml")]
    faults += [VersionFault(f, "not named NAME/VERSION.yaml") for f in strangers if f not in names]
    return tuple(sorted(faults, key=lambda fault: fault.file))
