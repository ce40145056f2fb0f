"""Where a certificate stands here and now: what it is bound to that has changed since, and what was made under it."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy import Connection, select

from constitution import Constitution
from critic.certificates import binding
from critic.certificates.certificate import Certificate
from service.store.tables import datasets, models

Fate = Literal["same", "changed", "unknown"]

MOST_NAMED = 200  # data sets and models that are told of, the newest


class Bound(BaseModel):
    """One thing that a certificate is bound to: as it was then, and as it is here; null where it isn't known here."""

    what: str
    then: str
    now: str | None
    fate: Fate


class CoveredDataset(BaseModel):
    """A data set whose labels by judges it covers. ``required`` are the bounds that it had to reach."""

    name: str
    version: int
    required: dict[str, float]
    mended: bool


class CoveredModel(BaseModel):
    """A model whose lineage names it. ``required`` are the bounds that its training asked for."""

    name: str
    required: dict[str, float]


class Standing(BaseModel):
    """A certificate is void here where anything that it is bound to has changed.

    A judge's weights and people's labels are not looked at: whoever uses the certificate for labels has it held
    against the judge, mode and constitution that these name.
    """

    is_void: bool
    bound: list[Bound]
    datasets: list[CoveredDataset]
    models: list[CoveredModel]


def bound_to(certificate: Certificate, published: Constitution | None) -> list[Bound]:
    """Hold a certificate against this program, and against the constitution of its name as it is ``published`` here."""
    judge, data = certificate.judge, certificate.data
    here = {} if published is None else {principle.id: principle.digest for principle in published.principles}
    principles = [
        _bound(f"principle {id}", digest, None if published is None else here.get(id, "left out"))
        for id, digest in certificate.principles.items()
    ]
    return [
        _bound("judge", judge.name, None),
        _bound("weights", judge.revision, None),
        _bound("mode", judge.mode_name, None),
        _bound("templates", certificate.templates, binding.templates_digest()),
        _bound("code", certificate.code.get("sha256", ""), binding.code()["sha256"]),
        _bound("constitution", certificate.constitution_hash, None if published is None else published.digest),
        *principles,
        _bound("labels", data.sha256, None),
    ]


def _bound(what: str, then: str, now: str | None) -> Bound:
    if now is None:
        return Bound(what=what, then=then, now=None, fate="unknown")
    return Bound(what=what, then=then, now=now, fate="same" if then == now else "changed")


def standing(connection: Connection, certificate: Certificate, published: Constitution | None) -> Standing:
    """Return where it stands."""
    bound = bound_to(certificate, published)
    return Standing(
        is_void=any(one.fate == "changed" for one in bound),
        bound=bound,
        datasets=_datasets(connection, certificate.sha256),
        models=_models(connection, certificate.sha256),
    )


def _datasets(connection: Connection, sha256: str) -> list[CoveredDataset]:
    query = select(datasets.c.name, datasets.c.version, datasets.c.request, datasets.c.counts)
    covered: list[CoveredDataset] = []
    for row in connection.execute(query.order_by(datasets.c.created_at.desc())):
        if sha256 in (row.counts.get("certificates") or ()):
            asked = row.request
            one = CoveredDataset(
                name=row.name, version=row.version, required=_bounds(asked), mended=bool(asked.get("mend"))
            )
            covered.append(one)
        if len(covered) == MOST_NAMED:
            break
    return covered


def _models(connection: Connection, sha256: str) -> list[CoveredModel]:
    query = select(models.c.name, models.c.lineage).order_by(models.c.created_at.desc())
    named: list[CoveredModel] = []
    for row in connection.execute(query):
        if sha256 in row.lineage.get("certificates", ()):
            named.append(CoveredModel(name=row.name, required=_bounds(row.lineage.get("settings", {}))))
        if len(named) == MOST_NAMED:
            break
    return named


def _bounds(asked: Mapping[str, Any]) -> dict[str, float]:
    """The bounds that a request, or a training's settings, asked for; empty where any certificate would do."""
    required = asked.get("require_certificate")
    return required if isinstance(required, dict) else {}
