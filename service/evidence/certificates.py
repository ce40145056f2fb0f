"""Certificates of judges in the database, and which of them covers a label."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, select
from sqlalchemy.exc import IntegrityError

from base.errors import InputError
from critic.certificates.certificate import Certificate, certificate_of
from critic.certificates.gate import RowsOrigin, require
from critic.feedback import ComparisonLabel
from service.keys.auth import Caller, audited
from service.labels.label_query import StoredFeedback
from service.labels.label_text import PAGE_BYTES
from service.refusals import Conflict, Invalid, not_found
from service.store.database import Database
from service.store.repeats.idempotency import Once
from service.store.tables import certificates, now

MOST_LISTED = 200
ALL_BYTES = 64 * 2**20  # of those among which a data set's labels look for theirs
ROWS_READ = 4  # that are in memory at once: each may have megabytes
WHERE = "/require_certificate"
MAKE = "Make one with `cai certify`, and store it: POST /v1/certificates."


@dataclass(frozen=True, slots=True)
class KeptCertificate:
    """A certificate as it is stored: its judge's name, and since when."""

    certificate: Certificate
    judge: str
    created_at: datetime


def new(certificate: Certificate) -> KeptCertificate:
    """A certificate that is to be stored now."""
    return KeptCertificate(certificate, certificate.judge.name, now())


async def add(once: Once, kept: KeptCertificate, answer: Any, caller: Caller) -> None:
    """Store a certificate. Raises `Conflict` where somebody else just did."""
    sha256 = kept.certificate.sha256
    row = {
        "sha256": sha256,
        "judge": kept.judge,
        "content": kept.certificate.text(),
        "key": caller.key,
        "created_at": kept.created_at,
    }
    entry = audited(caller, "certificate.stored", sha256, judge=kept.judge[:200])
    try:
        await once.insert({certificates: [row], **entry}, answer)
    except IntegrityError:
        raise Conflict("the same certificate was stored at the same time", "Read it: it is there.") from None


async def find(database: Database, sha256: str) -> KeptCertificate | None:
    """Return a certificate by its hash, where it is stored."""
    async with database.read() as connection:
        row = (await connection.execute(select(certificates).where(certificates.c.sha256 == sha256))).mappings().first()
    return None if row is None else _kept(row)


async def get(database: Database, sha256: str) -> KeptCertificate:
    """Return a certificate by its hash. Raises `NotFound`."""
    if (kept := await find(database, sha256)) is None:
        raise not_found("certificate", sha256, "GET /v1/certificates lists them.")
    return kept


async def newest_first(database: Database) -> list[KeptCertificate]:
    """Return the newest certificates, that first: `MOST_LISTED`, or fewer where they are long."""
    return await database.look(_newest)


def _newest(connection: Connection) -> list[KeptCertificate]:
    query = select(certificates).order_by(certificates.c.created_at.desc(), certificates.c.sha256).limit(MOST_LISTED)
    kept: list[KeptCertificate] = []
    left = PAGE_BYTES
    with connection.execute(query, execution_options={"yield_per": ROWS_READ}) as rows:
        for row in rows.mappings():
            left -= len(row["content"])
            if left < 0 and kept:
                break
            kept.append(_kept(row))
    return kept


def _kept(row: RowMapping) -> KeptCertificate:
    return KeptCertificate(certificate_of(json.loads(row["content"]), "the database"), row["judge"], row["created_at"])


def stored_certificates(connection: Connection, named: str | None) -> list[Certificate]:
    """Return the certificate of the hash ``named``, or all, the newest first. Raises `Invalid` where these are long."""
    query = select(certificates.c.content).order_by(certificates.c.created_at.desc(), certificates.c.sha256)
    if named is not None:
        query = query.where(certificates.c.sha256 == named)
    known: list[Certificate] = []
    left = ALL_BYTES
    with connection.execute(query, execution_options={"yield_per": ROWS_READ}) as rows:
        for content in rows.scalars():
            left -= len(content)
            if left < 0:
                raise Invalid("there are too many certificates to choose from", "Name one by its hash.", where=WHERE)
            known.append(certificate_of(json.loads(content), "the database"))
    return known


@dataclass(slots=True)
class Covering:
    """Holds judges' labels against certificates: the one of the hash ``named``, else the newest of their judge.

    ``used`` has those that covered some label, by hash. Labels by people need none.
    """

    known: list[Certificate]
    named: str | None
    bounds: Mapping[str, float]
    used: dict[str, Certificate] = field(default_factory=dict)
    _covered: dict[RowsOrigin, Certificate] = field(default_factory=dict)

    def of(self, label: StoredFeedback) -> Certificate | None:
        """Return the certificate of a label's judge; None for a person's. Raises `Invalid` where none covers it."""
        if label.source == "human":
            return None
        origin = _origin(label)
        if origin not in self._covered:
            self._covered[origin] = self._found(origin, f"{origin.judge or 'a judge without a name'}'s labels")
        certificate = self._covered[origin]
        self.used[certificate.sha256] = certificate
        return certificate

    def _found(self, origin: RowsOrigin, whose: str) -> Certificate:
        candidates = [one for one in self.known if self.named in (None, one.sha256)]
        if not candidates:
            named = "no certificate is stored" if self.named is None else f"there is no certificate {self.named}"
            raise Invalid(f"{whose} need a certificate, and {named}", MAKE, where=WHERE)
        refusals = []
        for certificate in candidates:
            try:
                require(certificate, {}, [origin], whose)
            except InputError as error:
                refusals.append(error)
                continue
            return self._good_enough(certificate, origin, whose)
        raise _refused(refusals[0])

    def _good_enough(self, certificate: Certificate, origin: RowsOrigin, whose: str) -> Certificate:
        try:
            require(certificate, self.bounds, [origin], whose)
        except InputError as error:
            raise _refused(error) from None
        return certificate


def _origin(label: StoredFeedback) -> RowsOrigin:
    votes = label.label.votes if isinstance(label.label, ComparisonLabel) else ()
    modes = sorted({vote.mode for vote in votes})
    return RowsOrigin("ai", label.annotator, modes[0] if modes else None, label.constitution_hash, None)


def _refused(error: InputError) -> Invalid:
    return Invalid(f"{error.where}: {error.problem}" if error.where else error.problem, error.fix or MAKE, where=WHERE)


def mended(label: StoredFeedback, certificate: Certificate) -> StoredFeedback:
    """Return a judge's comparison with the probability that the certificate's map makes of it; any other as it is.

    Raises `Invalid` for a certificate without a map.
    """
    if certificate.map is None:
        raise Invalid(
            f"the certificate {certificate.sha256} has no map: none mended the judge's probabilities when it was made",
            "Leave mend out, or certify the judge with more labels.",
            where="/mend",
        )
    said = label.label
    if not isinstance(said, ComparisonLabel) or said.probability is None:
        return label
    probability = min(1.0, max(0.0, certificate.map(said.probability)))
    if probability == 0.5 or said.choice == "tie":
        choice = "tie"
    elif probability > 0.5:
        choice = "first"
    else:
        choice = "second"
    if said.choice == "tie":
        probability = said.probability  # a tie stays one: what is near even odds is no preference
    new = said.model_copy(
        update={
            "choice": choice,
            "outcome": "tie" if choice == "tie" else "preference",
            "probability": probability,
        }
    )
    return label.model_copy(update={"label": ComparisonLabel.model_validate(new.model_dump())})
