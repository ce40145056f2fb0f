"""Whether a certificate is good enough for some labels: the right judge's, and on the right side of each bound.

A bound is held against the worse end of the figure's interval: an accuracy of at least 0.7 means that its lower limit
is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from base.digest import canonical_json
from base.errors import InputError
from base.nearest import nearest
from critic.certificates.certificate import Certificate, CertifiedFigure

# Figures of which less is better; of all others more is. Leanings are held in both directions.
AT_MOST = ("same_position", "low_mass", "retest_spread", "calibration_error")
LEANING = "leaning_to_"


@dataclass(frozen=True, slots=True)
class JudgeBuild:
    """What a judge was made of behind its name: its weights' hash, and its settings and its mode's options as JSON.

    ``code`` is the hash of the files that judge; None where it isn't known.
    """

    weights: str
    settings: str
    options: str
    code: str | None

    @classmethod
    def of(cls, revision: str, settings: Any, mode: Mapping[str, Any], code: str | None) -> Self:
        """Take over what certificates and the manifests of runs say of a judge."""
        return cls(revision, canonical_json(settings), canonical_json(mode), code)


@dataclass(frozen=True, slots=True)
class RowsOrigin:
    """Who labelled some rows, as they say it themselves; None for what they don't say.

    Rows name their judge; its ``build`` is known of a run's folder alone.
    """

    source: str | None
    judge: str | None
    mode: str | None
    constitution_hash: str | None
    templates: str | None
    build: JudgeBuild | None = None

    @property
    def is_by_people(self) -> bool:
        """Whether people labelled: no judge's certificate is asked for then."""
        return self.source == "human"


def require(certificate: Certificate, bounds: Mapping[str, float], origins: Iterable[RowsOrigin], where: str) -> None:
    """Refuse by `InputError` what the certificate does not cover, or does not reach."""
    for origin in origins:
        if not origin.is_by_people:
            _must_cover(certificate, origin, where)
    for name, bound in bounds.items():
        _must_reach(certificate, name, bound, where)


def _must_cover(certificate: Certificate, origin: RowsOrigin, where: str) -> None:
    if origin.judge is None or origin.mode is None:
        raise InputError(
            "the rows don't say which judge gave their labels, so no certificate can be of it",
            where=where,
            fix="Use what `cai generate`, `cai judge` or a data set of the service writes, which names it.",
        )
    told: dict[str, tuple[str | None, str | None]] = {
        "judge": (origin.judge, certificate.judge.name),
        "mode": (origin.mode, certificate.judge.mode_name),
        "constitution": (origin.constitution_hash, certificate.constitution_hash),
        "templates": (origin.templates, certificate.templates),
    }
    if origin.build is not None:
        judge, code = certificate.judge, certificate.code.get("sha256")
        certified = JudgeBuild.of(judge.revision, judge.settings, judge.mode, code)
        told |= {
            "weights": (origin.build.weights, certified.weights),
            "settings": (origin.build.settings, certified.settings),
            "options of the mode": (origin.build.options, certified.options),
            "code": (origin.build.code, certified.code),
        }
    differing = [
        f"{what}: {own} for the labels, {theirs} in the certificate"
        for what, (own, theirs) in told.items()
        if own is not None and own != theirs
    ]
    if differing:
        raise InputError(
            f"the certificate is of another judge: {'; '.join(differing)}",
            where=where,
            fix="Certify the judge that gave these labels, as it was then: `cai certify`.",
        )


def _must_reach(certificate: Certificate, name: str, bound: float, where: str) -> None:
    figure = certificate.figures.get(name)
    if figure is None:
        near = nearest(name, certificate.figures)
        meant = f"Did you mean {near!r}? " if near else ""
        raise InputError(
            f"the certificate has no figure {name!r} to hold against {bound:g}",
            where=where,
            fix=f"{meant}It has {', '.join(sorted(certificate.figures))}.",
        )
    _must_be_possible(name, bound, where)
    worst, expected = _worst(name, figure), side(name)
    reached = worst is not None and (worst <= bound if expected == "at most" else worst >= bound)
    if not reached:
        told = "nothing is known of its limits" if worst is None else f"the worse end of its interval is {worst:.3g}"
        raise InputError(
            f"{name} has to be {expected} {bound:g}: it is {figure.estimate:.3g} (n = {figure.n:,}), and {told}",
            where=where,
            fix="Use a better judge, label more by people, or lower the bound.",
        )


def _must_be_possible(name: str, bound: float, where: str) -> None:
    """Refuse a bound that no figure of the name can miss, or none can reach: 5, say, where 5 % is meant."""
    least = -1.0 if name.endswith("kappa") else 0.0
    if not least <= bound <= 1:
        raise InputError(
            f"{bound:g} is no bound of {name}, which is between {least:g} and 1",
            where=where,
            fix="Write 5 % as 0.05. A leaning is held in both directions, by how large it is.",
        )


def side(name: str) -> str:
    """Return on which side of a bound a figure has to be."""
    return "at most" if name.startswith((LEANING, *AT_MOST)) else "at least"


def _worst(name: str, figure: CertifiedFigure) -> float | None:
    """Return the end of its interval that is held against a bound; None where it isn't known."""
    if name.startswith(LEANING):
        ends = (figure.low, figure.high)
        return None if None in ends else max(abs(end) for end in ends if end is not None)
    return figure.high if side(name) == "at most" else figure.low
