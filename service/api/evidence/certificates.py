"""Certificates of judges: stored once by their content, read by hash; and their maps, applied to probabilities."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Path as PathParameter
from pydantic import BaseModel, ConfigDict, Field

from base.errors import InputError
from constitution import Constitution
from critic.certificates.certificate import Certificate, certificate_of
from service.api.body import StrictRoute
from service.context import OnlyOnce, Parts, Service, allowed
from service.evidence import certificates as stored
from service.evidence.certificates import KeptCertificate
from service.evidence.standing import Standing, standing
from service.keys import access
from service.keys.auth import Caller
from service.problems import responses
from service.refusals import Invalid

router = APIRouter(prefix="/v1/certificates", tags=["certificates"], route_class=StrictRoute, responses=responses())

Maker = Annotated[Caller, allowed("feedback")]
Reader = Annotated[Caller, allowed(*access.LABELS)]
Sha256 = Annotated[str, PathParameter(pattern="^[0-9a-f]{64}$")]

MOST_MENDED = 10_000


class CertificateRequest(BaseModel):
    """The content of a ``certificate.json`` that `cai certify` wrote, whole, with its hash."""

    model_config = ConfigDict(extra="forbid")

    certificate: dict[str, Any]


class StoredCertificate(BaseModel):
    """A certificate, as it was stored: ``sha256`` is of its content."""

    sha256: str
    judge: str
    certificate: Certificate
    created_at: datetime


class CertificateName(BaseModel):
    """One certificate in a list."""

    sha256: str
    judge: str
    mode: str
    constitution: str
    has_map: bool
    created_at: datetime


class CertificateNames(BaseModel):
    """Certificates, the newest first."""

    items: list[CertificateName]


class MendRequest(BaseModel):
    """Probabilities of a judge that the first of two responses is better."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"probabilities": [0.9, 0.2]}]})

    probabilities: Annotated[
        list[Annotated[float, Field(ge=0, le=1, strict=True)]], Field(min_length=1, max_length=MOST_MENDED)
    ]


class Mended(BaseModel):
    """What the certificate's map makes of them, in their order."""

    probabilities: list[float]


@router.post("", status_code=201, responses=responses(409))
async def store(asked: CertificateRequest, caller: Maker, parts: Parts, once: OnlyOnce) -> StoredCertificate:
    """Store a certificate; one that is there already is answered as it is.

    It is not signed: it protects against mistakes, not against forgers.
    """
    parts.labels.texts.check(asked.certificate, "/certificate")
    try:
        certificate = certificate_of(asked.certificate, "/certificate")
    except InputError as error:
        raise Invalid(error.problem, error.fix or "Send a certificate.json as it is.", where="/certificate") from None
    if (before := await stored.find(parts.database, certificate.sha256)) is not None:
        return _of(before)
    kept = stored.new(certificate)
    made = _of(kept)
    await stored.add(once, kept, made, caller)
    return made


@router.get("")
async def listed(caller: Reader, parts: Parts) -> CertificateNames:
    """The newest certificates, that first: 200, or fewer where they are long. Each can be read by its hash."""
    return CertificateNames(items=[_named(one) for one in await stored.newest_first(parts.database)])


@router.get("/{sha256}", responses=responses(404))
async def get(sha256: Sha256, caller: Reader, parts: Parts) -> StoredCertificate:
    """One certificate."""
    return _of(await stored.get(parts.database, sha256))


@router.get("/{sha256}/standing", responses=responses(404))
async def stands(sha256: Sha256, caller: Reader, parts: Parts) -> Standing:
    """Whether what a certificate is bound to has changed since, as far as is known here, and what was made under it."""
    certificate = (await stored.get(parts.database, sha256)).certificate
    published = await _published(parts, certificate.constitution)
    return await parts.snapshots.read(lambda connection: standing(connection, certificate, published))


async def _published(parts: Service, ref: str) -> Constitution | None:
    try:
        return await parts.constitutions.get(ref)
    except InputError:  # certified elsewhere, under one that isn't published here
        return None


@router.post("/{sha256}/mend", responses=responses(404))
async def mend(sha256: Sha256, asked: MendRequest, caller: Reader, parts: Parts) -> Mended:
    """Mend probabilities by the certificate's map. They should be of the judge that it is of, in the same mode."""
    map = (await stored.get(parts.database, sha256)).certificate.map
    if map is None:
        raise Invalid(
            "the certificate has no map: none mended the judge's probabilities when it was made",
            "Use the probabilities as they are, or certify the judge with more labels.",
        )
    return Mended(probabilities=[map(probability) for probability in asked.probabilities])


def _of(kept: KeptCertificate) -> StoredCertificate:
    certificate = kept.certificate
    return StoredCertificate(
        sha256=certificate.sha256, judge=kept.judge, certificate=certificate, created_at=kept.created_at
    )


def _named(kept: KeptCertificate) -> CertificateName:
    certificate = kept.certificate
    return CertificateName(
        sha256=certificate.sha256,
        judge=kept.judge,
        mode=certificate.judge.mode_name,
        constitution=certificate.constitution,
        has_map=certificate.map is not None,
        created_at=kept.created_at,
    )
