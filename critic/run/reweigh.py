"""A run's stored votes under other weights, priorities, groups or pooling: new labels, and no call of any model.

A vote counts for the principle of its id and digest, whatever group that is in now. A vote that reads no principle (a
reward model's) counts in the group it was cast for. Nothing stands in for a vote that is missing.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from constitution import Constitution, Principle, load
from constitution.errors import InputError
from critic.judging.aggregate import aggregate
from critic.pairing import Pairing, pair
from critic.pipeline import principles_by_group
from critic.records import Judgement, Quarantined, Row, Vote
from critic.run.config import RunConfig, RunSettings
from critic.run.export import Format
from critic.run.results import Results
from critic.run.run import write_results
from critic.run.store import RunStore
from critic.together import together

BATCH = 1000  # rows that are committed together

Change = Literal[
    "kept_side",
    "changed_side",
    "stayed_tie",
    "became_tie",
    "stopped_being_tie",
    "became_readable",
    "became_unreadable",
    "stayed_unreadable",
    "group_is_new",
    "group_is_gone",
]


@dataclass(frozen=True, slots=True)
class ReweighRequest:
    """What a person asks for; all else stays as the run had it.

    ``principles`` names another constitution, of which ``only`` some principles count, ``weights`` replace theirs, and
    ``settings`` are those of `RunSettings` that weigh votes: ``aggregation``, ``priorities``, ``tie_band``.
    """

    principles: str | None = None
    only: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Changes:
    """What came of it. Judgements without a readable vote, or without a principle, are ``unreadable`` here.

    ``stale`` counts votes of principles that are worded otherwise now, ``left_out`` those of principles that the
    constitution doesn't have or that don't apply, both by principle. ``voted`` are the principles whose votes count.
    """

    judgements: Counter[Change] = field(default_factory=Counter)
    pairs_before: int = 0
    pairs_after: int = 0
    stale: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    voted: set[str] = field(default_factory=set)


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
    with closing(RunStore.open_existing(directory)) as old:
        before = _config(old, directory)
        constitution = _constitution(request, before)
        settings = RunSettings.read(before.settings.model_dump() | dict(request.settings))
        source = {"constitution": constitution.ref, "constitution_hash": constitution.digest}
        config = before.model_copy(update={"settings": settings, **source}).flat() | {
            "reweighed_from": old.config(),
            "weights": {principle.id: principle.weight for principle in constitution.principles},
        }
        weighing = _Weighing(constitution, settings, before.kind)
        with closing(RunStore.open(out, config, extend=False)) as new:
            new.set_provenance(old.provenance().model_copy(update=source))
            finished: Iterator[Row | Quarantined] = chain(map(weighing.row, old.rows()), old.quarantined())
            while batch := list(islice(finished, BATCH)):
                # No plan: `cai generate` in this directory would not take these rows for its own.
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


def _config(store: RunStore, directory: Path) -> RunConfig:
    try:
        return RunConfig.of_flat(store.config())
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        raise InputError(
            f"the run's config can't be read: {key}: {error.errors()[0]['msg']}",
            where=str(directory),
            fix="Only runs of `cai generate` and `cai judge`, written by this version, can be reweighed.",
        ) from None


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
        raise InputError(f"{name} has no principle {unknown[0]!r}", where=where, fix=f"It has {', '.join(known)}")


class _Weighing:
    """Weighs rows, one after the other, and keeps count of what changes."""

    def __init__(self, constitution: Constitution, settings: RunSettings, kind: Literal["generate", "judge"]) -> None:
        best_of_n = settings.strategy == "best-of-n" and kind == "generate"
        self.changes = Changes()
        self._constitution, self._settings = constitution, settings
        self._pairing = Pairing(best_of_n, settings.ranking, settings.tie_band)
        self._digests = {principle.id: principle.digest for principle in constitution.principles}

    def row(self, row: Row) -> Row:
        """Return the row with other judgements, pairs and drops."""
        groups = principles_by_group(self._constitution, row.prompt)
        judgements = tuple(
            self._judgement(comparison, group, principles)
            for comparison in _comparisons(row.judgements)
            for group, principles in groups.items()
        )
        paired = pair(row.candidates, judgements, self._pairing)
        kept = [drop for drop in row.drops if drop.what not in ("ranking", "pair") or drop.reason == "equal_sides"]
        update = {"judgements": judgements, "rankings": paired.rankings, "pairs": paired.pairs}
        weighed = row.model_copy(update=update | {"drops": (*kept, *paired.drops)})
        self._count(row, weighed)
        return weighed

    def _judgement(self, comparison: Sequence[Judgement], group: str | None, principles: list[Principle]) -> Judgement:
        votes = _votes(comparison, group, principles)
        verdict = aggregate(votes, principles, self._settings.tie_band, self._settings.pooling())
        return Judgement(
            first=comparison[0].first,
            second=comparison[0].second,
            mode=comparison[0].mode,
            judge=comparison[0].judge,
            group=group,
            votes=votes,
            outcome=verdict.outcome,
            probability=verdict.probability,
        )

    def _count(self, before: Row, after: Row) -> None:
        changes = self.changes
        changes.pairs_before += len(before.pairs)
        changes.pairs_after += len(after.pairs)
        old, new = ({(j.first, j.second, j.group): j for j in row.judgements} for row in (before, after))
        changes.judgements.update(_change(old.get(place), new.get(place)) for place in old | new)
        counting = {id(vote) for vote in after.votes()}
        for vote in before.votes():
            name = vote.principle or f"{vote.judge} ({vote.mode})"
            if id(vote) in counting:
                changes.voted.add(name)
            elif self._digests.get(name) in (None, vote.principle_digest):
                changes.left_out[name] += 1
            else:
                changes.stale[name] += 1


def _comparisons(judgements: Iterable[Judgement]) -> list[list[Judgement]]:
    """Judgements of the same two candidates together: one for each of the run's groups."""
    found: dict[tuple[int, int], list[Judgement]] = {}
    for judgement in judgements:
        found.setdefault((judgement.first, judgement.second), []).append(judgement)
    return list(found.values())


def _votes(comparison: Sequence[Judgement], group: str | None, principles: Sequence[Principle]) -> tuple[Vote, ...]:
    """The votes that count in a group, in the order that a jury gives them: by juror, then by principle."""
    places = {(principle.id, principle.digest): place for place, principle in enumerate(principles)}
    jurors: dict[tuple[str, str], int] = {}
    found: list[tuple[int, int, Vote]] = []
    for judgement in comparison:
        for vote in judgement.votes:
            juror = jurors.setdefault((vote.judge, vote.mode), len(jurors))
            if vote.principle is not None and vote.principle_digest is not None:
                place = places.get((vote.principle, vote.principle_digest))
            else:
                place = 0 if principles and judgement.group == group else None
            if place is not None:
                found.append((juror, place, vote))
    return tuple(vote for _, _, vote in sorted(found, key=lambda one: one[:2]))


def _change(before: Judgement | None, after: Judgement | None) -> Change:
    if before is None or after is None:
        return "group_is_new" if before is None else "group_is_gone"
    if before.probability is None or after.probability is None:
        if before.probability is after.probability:
            return "stayed_unreadable"
        return "became_readable" if before.probability is None else "became_unreadable"
    match before.outcome, after.outcome:
        case "preference", "preference":
            return "kept_side" if (before.probability > 0.5) == (after.probability > 0.5) else "changed_side"
        case "tie", "tie":
            return "stayed_tie"
        case "tie", _:
            return "stopped_being_tie"
        case _:
            return "became_tie"
