"""The gate before training: labels by a judge need its certificate, where the config asks for one.

It is of the judge, the mode, the constitution and the templates that the rows name, and on the right side of each bound
(`critic.certificates.gate`). Labels by people need none. A certificate that is there is named by the model, asked for
or not.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from base.errors import InputError
from critic.certificates.certificate import FILE, Certificate, read_certificate
from critic.certificates.gate import require
from critic.certificates.origins import origins
from trainers.batches.data import table
from trainers.config import Source, TrainConfig


def certified(config: TrainConfig, wanted: tuple[type, ...]) -> tuple[Certificate, ...]:
    """Return the data's certificates. Raises `InputError` where one is asked for and missing, void, or too weak."""
    asked = config.require_certificate is not False
    named: dict[str, Certificate] = {}
    for source in config.data:
        path = _path(source)
        certificate = _certificate(config, path, required=False)
        if not asked and certificate is None:
            continue
        labels = [origin for origin in origins(table(path, wanted)) if not origin.is_by_people]
        if not labels:
            continue
        if certificate is None:
            certificate = _certificate(config, path, required=True)
        if certificate is not None:
            require(certificate, bounds_of(config), labels, path)
            named[certificate.sha256] = certificate
    return tuple(named.values())


def _path(source: Source) -> str:
    return source if isinstance(source, str) else str(source["path"])


def _certificate(config: TrainConfig, path: str, *, required: bool) -> Certificate | None:
    """The certificate that the config names, or the one beside the data."""
    if config.certificate is not None:
        return read_certificate(Path(config.certificate).expanduser())
    beside = next((place for place in _beside(Path(path).expanduser()) if place.is_file()), None)
    if beside is not None:
        return read_certificate(beside)
    if required:
        raise InputError(
            "a judge gave its labels, and there is no certificate of it",
            where=path,
            fix="Make one with `cai certify --run DIR`, and name it with certificate=FILE or put it beside the data; "
            "require_certificate=false trains without.",
        )
    return None


def _beside(path: Path) -> Iterator[Path]:
    yield path / FILE
    yield path.parent / FILE


def named(certificates: Sequence[Certificate]) -> dict[str, list[str]]:
    """Return what a model's lineage says of them; nothing where there are none."""
    return {"certificates": [one.sha256 for one in certificates]} if certificates else {}


def bounds_of(config: TrainConfig) -> Mapping[str, float]:
    """The bounds that the config asks for, by figure."""
    return config.require_certificate if isinstance(config.require_certificate, dict) else {}
