"""Certificates of judges: the list, and one with its figures, what it is bound to and doesn't cover, and its uses."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData, UploadFile

from base.errors import InputError
from critic.certificates.certificate import Certificate, CertifiedFigure
from critic.certificates.gate import side
from critic.pages.scales import shares
from critic.pages.strips import Dot, Series, Strips
from service import problems
from service.api.body import parse
from service.api.evidence import certificates as api
from service.api.evidence.certificates import CertificateRequest, Sha256, StoredCertificate
from service.context import Parts, Service
from service.refusals import Invalid, ProblemDocument, Refusal, not_found
from service.web.forms import requested
from service.web.manage.asking import Maker, Reader, new_number, only_once
from service.web.rendering import csv, render, texts
from service.web.visit import Form, PageRoute, Visit

router = APIRouter(include_in_schema=False, route_class=PageRoute)

AGREEMENT = ("accuracy", "length_controlled_accuracy", "human_agreement")  # shares that are drawn beside each other


@router.get("/certificates")
async def listed(request: Request, visit: Reader, parts: Parts) -> Response:
    """All certificates, and a form to store one."""
    return await _listed(request, visit, parts, None)


@router.post("/certificates")
async def store(request: Request, visit: Maker, parts: Parts, form: Form) -> Response:
    """Store the file of a certificate."""
    try:
        asked = requested(CertificateRequest, {"certificate": await _content(form)})
        made = await only_once(
            parts, visit, form, StoredCertificate, lambda once: api.store(asked, visit.caller, parts, once)
        )
    except (InputError, Refusal) as error:
        return await _listed(request, visit, parts, problems.of(error).public())
    return RedirectResponse(f"/certificates/{made.sha256}", 303)


@router.get("/certificates/{sha256}")
async def one(request: Request, sha256: Sha256, visit: Reader, parts: Parts) -> Response:
    """One certificate, and where it stands here."""
    stored = await api.get(sha256, visit.caller, parts)
    certificate = stored.certificate
    drawn, stands = _drawn(certificate), await api.stands(sha256, visit.caller, parts)
    is_published = any(one.what == "constitution" and one.now is not None for one in stands.bound)
    return render(
        request,
        "manage/certificate.html.j2",
        stored=stored,
        certificate=certificate,
        made=_moment(certificate.made),
        standing=stands,
        is_published=is_published,
        sides={name: side(name) for name in certificate.figures},
        drawn=None if drawn is None else drawn.draw(),
    )


@router.get("/certificates/{sha256}/file")
async def file(sha256: Sha256, visit: Reader, parts: Parts) -> Response:
    """The file as it was stored."""
    stored = await api.get(sha256, visit.caller, parts)
    headers = {"Content-Disposition": f'attachment; filename="certificate-{sha256[:16]}.json"'}
    return Response(stored.certificate.text(), media_type="application/json", headers=headers)


@router.get("/certificates/{sha256}/pictures/agreement.svg")
async def picture(sha256: Sha256, visit: Reader, parts: Parts) -> Response:
    """The picture as a file."""
    drawn = _drawn((await api.get(sha256, visit.caller, parts)).certificate)
    if drawn is None:
        raise not_found("picture", "agreement", "Too little was known for an interval.")
    return Response(str(drawn.file()), media_type="image/svg+xml")


@router.get("/certificates/{sha256}/pictures/agreement.csv")
async def numbers(sha256: Sha256, visit: Reader, parts: Parts) -> Response:
    """The numbers of all figures."""
    figures = (await api.get(sha256, visit.caller, parts)).certificate.figures
    rows = [{"figure": name} | figure.model_dump() for name, figure in figures.items()]
    return csv(f"certificate-{sha256[:16]}", rows)


def _moment(text: str) -> datetime | None:
    """When a certificate was made; None where its file says it in no way that is known."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


async def _content(form: FormData) -> Any:
    """What the uploaded file holds. Raises `Invalid` where there is none, or it is no JSON."""
    file = form.get("file")
    if not isinstance(file, UploadFile) or not file.filename:
        raise Invalid("which file?", "Choose the certificate.json that `cai certify` wrote.", where="/file")
    try:
        return parse(await file.read())
    except Refusal:
        raise Invalid("the file is not JSON", "Choose the certificate.json that `cai certify` wrote.") from None


async def _listed(request: Request, visit: Visit, parts: Service, problem: ProblemDocument | None) -> Response:
    page = await api.listed(visit.caller, parts)
    return render(
        request,
        "manage/certificates.html.j2",
        status=200 if problem is None else problem.status,
        certificates=page.items,
        problem=problem,
        number=new_number(),
        may_store=visit.may("feedback"),
    )


def _drawn(certificate: Certificate) -> Strips | None:
    """The judge's accuracy beside how far people agree, where their intervals are known."""
    known = {name: certificate.figures[name] for name in AGREEMENT if name in certificate.figures}
    rows = tuple((_called(name), (dot,)) for name, dot in _dots(known).items())
    if not rows:
        return None
    return Strips(rows, (Series(texts()("manage.share"), "accent"),), shares(texts()("manage.certified.share")), 0.5)


def _dots(figures: Mapping[str, CertifiedFigure]) -> dict[str, Dot]:
    return {
        name: Dot(figure.estimate, figure.low, figure.high, figure.n)
        for name, figure in figures.items()
        if figure.low is not None and figure.high is not None
    }


def _called(name: str) -> str:
    return texts()(f"manage.certified.{name}")
