"""Certificates of judges in the database, and which of them covers a label."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from base.errors import InputError
from critic.certificates.certificate import Certificate, certificate_of
from critic.certificates.gate import Origin, require
from critic.feedback import ComparisonLabel
from service.labels.label_query import StoredFeedback
from service.refusals import Invalid
from service.store.tables import certificates

WHERE = "/require_certificate"
MAKE = "Make one with `cai certify`, and store it: POST /v1/certificates."


def stored_certificates(connection: Connection) -> list[Certificate]:
    """Return all certificates, the newest first."""
    query = select(certificates.c.content).order_by(certificates.c.created_at.desc(), certificates.c.sha256)
    return [certificate_of(json.loads(content), "the database") for content in connection.execute(query).scalars()]


@dataclass(slots=True)
class Covering:
    """Holds judges' labels against certificates: the one of the hash ``named``, else the newest of their judge.

    ``used`` has those that covered some label, by hash. Labels by people need none.
    """

    known: list[Certificate]
    named: str | None
    bounds: Mapping[str, float]
    used: dict[str, Certificate] = field(default_factory=dict)
    _covered: dict[Origin, Certificate] = field(default_factory=dict)

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

    def _found(self, origin: Origin, whose: str) -> Certificate:
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

    def _good_enough(self, certificate: Certificate, origin: Origin, whose: str) -> Certificate:
        try:
            require(certificate, self.bounds, [origin], whose)
        except InputError as error:
            raise _refused(error) from None
        return certificate


def _origin(label: StoredFeedback) -> Origin:
    votes = label.label.votes if isinstance(label.label, ComparisonLabel) else ()
    modes = sorted({vote.mode for vote in votes})
    return Origin("ai", label.annotator, modes[0] if modes else None, label.constitution_hash, None)


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
    choice = "tie" if probability == 0.5 or said.choice == "tie" else "first" if probability > 0.5 else "second"
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
