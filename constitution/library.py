"""Where published constitutions are: ``<root>/<name>/<version>.yaml``, with their checksums in ``<root>/CHECKSUMS``.

A checksum is the SHA-256 of the file's bytes, in the format of ``sha256sum``. A published file never changes.
"""

import hashlib
import os
import re
from importlib.resources import files
from pathlib import Path

from base.errors import InputError
from base.nearest import nearest
from constitution.schema import SLUG, VERSION

CHECKSUMS = "CHECKSUMS"
PUBLISHED = Path("published")
"""Where a project's own constitutions are published: in the working folder."""
ROOTS_VARIABLE = "CAI_CONSTITUTIONS"
"""The environment's variable that names further folders, parted as in PATH."""


def shipped() -> Path:
    """Return the folder of the constitutions that come with the package."""
    return Path(str(files("principles")))


def roots() -> tuple[Path, ...]:
    """Return the folders in which a name is looked up, in this order.

    Those of ``CAI_CONSTITUTIONS``, then `PUBLISHED`, then what is shipped. Raises InputError for a folder of the
    environment that is not there. A folder called ``published`` without CHECKSUMS is somebody else's.
    """
    named = [Path(text) for text in os.environ.get(ROOTS_VARIABLE, "").split(os.pathsep) if text]
    for folder in named:
        if not folder.is_dir():
            raise InputError("there is no such folder", where=f"{ROOTS_VARIABLE}: {folder}")
    own = [PUBLISHED] if (PUBLISHED / CHECKSUMS).is_file() else []
    return tuple(dict.fromkeys([*named, *own, shipped()]))


def version_key(version: str) -> tuple[int, ...]:
    """Order versions by number: 1.10.0 comes after 1.9.0."""
    return tuple(int(part) for part in version.split("."))


def checksum(content: bytes) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    return hashlib.sha256(content).hexdigest()


def checksums(root: Path) -> dict[str, str]:
    """Read ``root``'s CHECKSUMS: ``name/version.yaml`` to SHA-256; empty where there is no such file."""
    file = root / CHECKSUMS
    if not file.is_file():
        return {}
    sums = {}
    for number, line in enumerate(file.read_text("utf-8", errors="replace").splitlines(), 1):
        match = re.fullmatch(f"([0-9a-f]{{64}}) [ *]({SLUG}/{VERSION}\\.yaml)", line)
        if match is None:
            raise InputError("not a checksum line", where=f"{file}:{number}", fix="expected SHA256  NAME/VERSION.yaml")
        sums[match[2]] = match[1]
    return sums


def published(root: Path) -> dict[str, list[str]]:
    """Return the versions of each name under ``root``, oldest first, names in alphabetical order."""
    by_name: dict[str, list[str]] = {}
    for file in sorted(root.glob("*/*.yaml")):
        if re.fullmatch(SLUG, file.parent.name) and re.fullmatch(VERSION, file.stem):
            by_name.setdefault(file.parent.name, []).append(file.stem)
    return {name: sorted(versions, key=version_key) for name, versions in by_name.items()}


def is_reference(ref: str) -> bool:
    """Whether ``ref`` is meant as NAME or NAME@VERSION, not as a path."""
    return re.fullmatch(f"{SLUG}(@[^/\\\\]*)?", ref) is not None


def find(ref: str, roots: tuple[Path, ...]) -> Path:
    """Return the file of NAME@VERSION, or of NAME's newest version, in the first of ``roots`` that has it."""
    name, at, version = ref.partition("@")
    known: dict[str, list[str]] = {}
    for root in roots:
        versions = published(root).get(name, [])
        if versions and (not at or version in versions):
            return root / name / f"{version or versions[-1]}.yaml"
        for other, own in published(root).items():
            known[other] = sorted({*known.get(other, ()), *own}, key=version_key)
    looked = ", ".join("those shipped" if root == shipped() else f"{root}/" for root in roots)
    raise InputError(_unknown(ref, name, version, known), fix=f"published: {_summary(known)} (looked in: {looked})")


def content_of(file: Path) -> bytes:
    """Return the bytes of a published file. Raises InputError where they are not those that were published."""
    content = file.read_bytes()
    listed = checksums(file.parent.parent).get(f"{file.parent.name}/{file.name}")
    if listed == checksum(content):
        return content
    ref = f"{file.parent.name}@{file.stem}"
    problem = f"{ref} has no line in {CHECKSUMS}" if listed is None else f"{ref} was changed after it was published"
    raise InputError(
        problem,
        where=str(file),
        fix="restore the file, or publish the change as a new version; `cai constitution verify` checks all of them",
    )


def _unknown(ref: str, name: str, version: str, known: dict[str, list[str]]) -> str:
    if name in known:
        return f"there is no version {version!r} of {name}; it has {', '.join(known[name])}"
    if Path(ref).is_dir():
        return f"there is no published constitution {ref!r}, and the folder of that name is no constitution"
    near = nearest(name, known)
    return f"there is no published constitution {ref!r}" + (f"; did you mean {near!r}?" if near else "")


def _summary(known: dict[str, list[str]]) -> str:
    return ", ".join(f"{name}@{versions[-1]}" for name, versions in known.items()) or "none"


def completed(incomplete: str) -> list[str]:
    """Return the published names, with and without versions, that begin like ``incomplete``."""
    names = set()
    for root in roots():
        for own, versions in published(root).items():
            names |= {own, *(f"{own}@{version}" for version in versions)}
    return sorted(name for name in names if name.startswith(incomplete))
