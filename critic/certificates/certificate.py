"""A judge's certificate: its figures, and all that they are figures of. Identity is content, as everywhere.

It is void where any of what it names is another one: the judge's weights or settings, the mode, the templates, a
principle's words. Weights and priorities of principles move no vote, but they move what votes come to, so the
constitution's hash is held, too.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from base.digest import digest
from base.errors import InputError
from critic.files.row_prompt import readable
from critic.messages import Record
from critic.statistics.intervals import Figure
from critic.statistics.judges.maps import Map

FILE = "certificate.json"
Hash = str


class CertifiedFigure(Record):
    """An estimate with its 95 % interval; no limit where too little was known for one."""

    estimate: float
    low: float | None
    high: float | None
    n: int
    clusters: int

    @classmethod
    def of(cls, figure: Figure) -> Self:
        """Take a figure over; JSON has no infinity."""
        low = figure.low if abs(figure.low) < float("inf") else None
        high = figure.high if abs(figure.high) < float("inf") else None
        return cls(estimate=figure.estimate, low=low, high=high, n=figure.n, clusters=figure.clusters)


class CertifiedJudge(Record):
    """Who judged: the model's name, the hash of its weights, the settings that move numbers, and its mode's options."""

    name: str
    revision: str
    settings: tuple[tuple[str, str], ...]
    mode: dict[str, Any]

    @property
    def mode_name(self) -> str:
        """As rows have it."""
        return str(self.mode.get("name", ""))


class CertifiedData(Record):
    """People's labels that it was measured against, by hash and number."""

    sha256: Hash
    items: int
    prompts: int
    labels: int
    annotators: int


class Coverage(Record):
    """What the labelled texts are like. ``scripts`` are the writing systems that at least 1 in 20 texts are in mostly.

    ``characters`` are the 5th and 95th percentile of the answers' lengths, ``turns`` the most turns of a chat.
    ``words`` are the words that most distinguish the prompts' topics: a digest of the vocabulary, for the eye.
    """

    scripts: tuple[str, ...]
    characters: tuple[int, int]
    turns: int
    words: tuple[str, ...]


class Certificate(Record):
    """See the module's docstring. ``not_covered`` says in sentences what nothing is known of."""

    format: Literal[1] = 1
    made: str
    judge: CertifiedJudge
    templates: Hash
    constitution: str
    constitution_hash: Hash
    principles: dict[str, Hash]
    data: CertifiedData
    code: dict[str, str]
    figures: dict[str, CertifiedFigure]
    faults: tuple[str, ...] = ()
    map: Map | None = None
    covers: Coverage
    not_covered: tuple[str, ...] = Field(min_length=1)

    @cached_property
    def sha256(self) -> Hash:
        """Hash of everything but the date: the same measurement is the same certificate."""
        return digest(self.model_dump(mode="json", exclude={"made"}))

    def text(self) -> str:
        """What its file holds: its content and its hash, as JSON."""
        content = self.model_dump(mode="json") | {"sha256": self.sha256}
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_certificate(path: Path) -> Certificate:
    """Read a certificate, or the one in a folder. Raises `InputError` where there is none, or it was changed."""
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise InputError("there is no certificate", where=str(file), fix="`cai certify` makes one.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise InputError("it is not JSON", where=str(file), fix="Give a file that `cai certify` wrote.") from None
    return certificate_of(content, str(file))


def certificate_of(content: Any, where: str) -> Certificate:
    """Return the certificate of parsed JSON. Raises `InputError` where it is none, or its hash is another one's."""
    if not isinstance(content, dict):
        raise InputError("it is no certificate", where=where, fix="Give a file that `cai certify` wrote.")
    told = content.get("sha256")
    try:
        certificate = Certificate.model_validate_json(
            json.dumps({key: value for key, value in content.items() if key != "sha256"})
        )
    except ValidationError as error:
        raise InputError(
            f"it is no certificate: {readable(error)}", where=where, fix="Give a file that `cai certify` wrote."
        ) from None
    if told != certificate.sha256:
        raise InputError(
            "its content is not what its hash says: it was changed after it was made",
            where=where,
            fix="Certify the judge again; a certificate is not edited.",
        )
    return certificate
