"""A run's stored votes under other weights, priorities, groups or pooling: new labels, and no call of any model.

The arithmetic is `critic.run.folder.weighing`; this file opens, checks, writes.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from base.digest import digest
from base.errors import InputError
from base.nearest import perhaps
from base.together import together
from constitution import Constitution, Principle, load
from critic.certificates.certificate import Certificate, read_certificate
from critic.certificates.gate import JudgeBuild, RowsOrigin, require
from critic.records import Quarantined, Row
from critic.run.config import RunConfig, RunSettings
from critic.run.folder.reading import open_rows, read_config
from critic.run.folder.results import Results
from critic.run.folder.store import RunStore
from critic.run.folder.weighing import Changes, Weighing
from critic.run.run import write_results
from critic.settings.run import Format

BATCH = 1000  # rows that are committed together


@dataclass(frozen=True, slots=True)
class ReweighRequest:
    """What a person asks for; all else stays as the run had it.

    ``principles`` names another constitution, of which ``only`` some principles count, ``weights`` replace theirs, and
    ``settings`` are those of `critic.settings.judging.Pooling`.
    ``certificate`` is the file of the judge's, whose map mends the probabilities.
    """

    principles: str | None = None
    only: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    certificate: Path | None = None


@dataclass(frozen=True, slots=True)
class Reweighed:
    """What `reweigh` did. ``unvoted`` are the ids of principles without any stored vote."""

    constitution: Constitution
    changes: Changes
    unvoted: tuple[str, ...]
    results: Results


async def reweigh(request: ReweighRequest, directory: Path, out: Path, format: Format = "jsonl") -> Reweighed:
    """Weigh the votes of the run in ``directory`` again, and write a run of its own to ``out``.

    Raises `InputError` for what a person gave wrong, and `OSError` where ``out`` can't be written.
    """
    _check_new(out, directory)
    with closing(open_rows(directory)) as old:
        before = read_config(old, directory)
        constitution = _constitution(request, before)
        settings = RunSettings.read(before.settings.model_dump() | dict(request.settings))
        source = {"constitution": constitution.ref, "constitution_hash": constitution.digest}
        config = before.model_copy(update={"settings": settings, **source}).flat() | {
            "reweighed_from": old.config(),
            "weights": {principle.id: principle.weight for principle in constitution.principles},
        }
        certificate = None
        if request.certificate is not None:
            certificate = _certificate(request.certificate, before, constitution)
            config |= {"mended_by": certificate.sha256}
        mended = None if certificate is None else certificate.map
        weighing = Weighing(constitution, settings, before.kind, mended)
        with closing(RunStore.open(out, config, extend=False)) as new:
            # No plan: `cai generate` in this directory would not take these rows for its own.
            new.set_provenance(old.provenance().model_copy(update=source), "")
            finished: Iterator[Row | Quarantined] = chain(map(weighing.row, old.rows()), old.quarantined())
            while batch := list(islice(finished, BATCH)):
                await together(new.finish(result, "", "") for result in batch)
            results = write_results(new, out, format, {})
    changes = weighing.changes
    unvoted = tuple(principle.id for principle in constitution.principles if principle.id not in changes.voted)
    return Reweighed(constitution, changes, unvoted, results)


def _check_new(out: Path, directory: Path) -> None:
    if out.resolve() == directory.resolve():
        raise InputError("this is the run itself, which stays as it is", where="--out", fix="Name a new directory.")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError("this is not an empty directory", where=f"--out {out}", fix="Name a new directory.")


def _constitution(request: ReweighRequest, config: RunConfig) -> Constitution:
    """The constitution that the votes are weighed under, with the principles and weights that were asked for."""
    constitution = _own(config) if request.principles is None else load(request.principles)
    _check_ids(request.only, constitution.principles, constitution.ref, "--only")
    kept = [p for p in constitution.principles if not request.only or p.id in request.only]
    _check_ids(request.weights, kept, "what is weighed", "--weight")
    for id, weight in request.weights.items():
        if not 0 < weight < math.inf:
            raise InputError(f"{weight} is no weight", where=f"--weight {id}", fix="Give a number above 0.")
    weighed = tuple(p.model_copy(update={"weight": request.weights.get(p.id, p.weight)}) for p in kept)
    return constitution.model_copy(update={"principles": weighed})


def _certificate(file: Path, config: RunConfig, constitution: Constitution) -> Certificate:
    """The certificate, if it is of this run's judge and has a map. Raises `InputError`."""
    certificate = read_certificate(file)
    judges = [seat.judge.name for seat in config.jury]
    modes = [str(seat.mode.get("name", "")) for seat in config.jury]
    origin = RowsOrigin(
        source="ai",
        judge=", ".join(dict.fromkeys(judges)),
        mode=modes[0] if len(modes) == 1 else "jury",
        constitution_hash=constitution.digest,
        templates=digest(config.templates),
        build=_build(config),
    )
    require(certificate, {}, [origin], str(file))
    if certificate.map is None:
        raise InputError(
            "the certificate has no map: none mended the judge's probabilities, or too few prompts are labelled",
            where=str(file),
            fix="Weigh without it, or certify the judge on more labels by people.",
        )
    return certificate


def _build(config: RunConfig) -> JudgeBuild | None:
    """What the judge was made of; a jury is none, and its name alone says so."""
    if len(config.jury) != 1:
        return None
    seat = config.jury[0]
    return JudgeBuild.of(seat.judge.revision, seat.judge.settings, seat.mode, code=None)


def _own(config: RunConfig) -> Constitution:
    fix = "Give its file, or another version, with --principles."
    try:
        constitution = load(config.constitution)
    except InputError as error:
        raise InputError(
            f"the run's constitution is not at hand: {error.problem}", where=error.where, fix=fix
        ) from None
    if constitution.digest != config.constitution_hash:
        raise InputError(f"{config.constitution} has changed since the run was made", where="--principles", fix=fix)
    return constitution


def _check_ids(ids: Iterable[str], principles: Sequence[Principle], name: str, where: str) -> None:
    known = [principle.id for principle in principles]
    if unknown := [id for id in ids if id not in known]:
        fix = f"{perhaps(unknown[0], known)}It has {', '.join(known)}"
        raise InputError(f"{name} has no principle {unknown[0]!r}", where=where, fix=fix)
