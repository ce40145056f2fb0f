"""Polis exports: people's votes on statements, to principles with the support of each opinion group.

Two CSV files, told apart by their headers: comments (``comment-id``, ``comment-body``, ``moderated``) and votes (one
participant a row: ``group-id`` and a column for each comment with 1 agree, -1 disagree, 0 pass, empty not asked).

A group's support of a statement is agrees / (agrees + disagrees + passes). There is one principle for each statement
and group whose support reaches the threshold, so that no group is averaged away; ``group`` carries the counts.
Derived: the three instructions quote the statement, whose wording stays as people wrote it.
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError
from constitution.importers.base import Imported, LeftOutPart, build, headline, principle, read_bytes, slug
from constitution.schema import Group, Principle

CRITIQUE = 'Point out where the response does not follow this principle: "{statement}"'
REVISION = 'Rewrite the response so that it follows this principle: "{statement}"'
COMPARE = 'Which response follows this principle better: "{statement}"'
MIN_SUPPORT = 0.8
MIN_VOTES = 10

_REJECTED = "-1"
_VOTES = {1.0: "agrees", -1.0: "disagrees", 0.0: "passes"}


@dataclass(frozen=True, slots=True)
class Poll:
    """``statements`` by comment id, without those that moderators rejected; ``tallies`` by comment id, one a group."""

    statements: dict[str, str]
    tallies: dict[str, tuple[Group, ...]]
    rejected: int
    without_group: int


def read(
    sources: Sequence[Path], *, name: str, version: str, min_support: float = MIN_SUPPORT, min_votes: int = MIN_VOTES
) -> Imported:
    """Build principles from statements that at least ``min_support`` of a group's ``min_votes`` or more votes back."""
    if not 0 < min_support <= 1:
        raise InputError(f"the support must be above 0 and at most 1, not {min_support}", where="min_support")
    poll = read_poll(sources)
    principles: list[Principle] = []
    few = low = 0
    for id, statement in poll.statements.items():
        for group in poll.tallies.get(id, ()):
            if group.agrees + group.disagrees + group.passes < max(1, min_votes):
                few += 1
            elif (group.support or 0) < min_support:
                low += 1
            else:
                principles.append(_principle(id, statement, group))
    if not principles:
        raise InputError(f"no statement has the support of {min_support:g} in any group", where=str(sources[0]))
    unasked = sum(id not in poll.tallies for id in poll.statements)
    left_out = (
        LeftOutPart("statements", poll.rejected, "moderators rejected them"),
        LeftOutPart("statements", unasked, "nobody in a group voted on them"),
        LeftOutPart("statements of a group", low, f"their support is below {min_support:g}"),
        LeftOutPart("statements of a group", few, f"fewer than {min_votes} of the group voted"),
        LeftOutPart("participants", poll.without_group, "they are in no group"),
    )
    constitution = build(
        name,
        version,
        title=f"{len(principles)} principles with the support of a group",
        summary=f"Statements that at least {min_support:.0%} of an opinion group agree with, by the votes of a Polis.",
        principles=principles,
    )
    return Imported(constitution, tuple(x for x in left_out if x.count))


def read_poll(sources: Sequence[Path]) -> Poll:
    """Read both files and count every group's votes, on rejected statements too."""
    comments, votes = _tables(sources)
    kept = {row["comment-id"]: row["comment-body"] for row in comments if row["moderated"].strip() != _REJECTED}
    ids = {row["comment-id"] for row in comments}
    counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    without_group = 0
    for number, row in enumerate(votes, 2):
        if not row["group-id"]:
            without_group += 1
            continue
        for id in ids & row.keys():
            if row[id]:
                counts[id, row["group-id"]][_vote(row[id], f"votes, row {number}, comment {id}")] += 1
    tallies: dict[str, tuple[Group, ...]] = {}
    for id, group in sorted(counts, key=lambda pair: (pair[0], pair[1])):
        tallies[id] = (*tallies.get(id, ()), Group(id=f"group-{slug(group)}", **counts[id, group]))
    return Poll(kept, tallies, len(comments) - len(kept), without_group)


def _tables(sources: Sequence[Path]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    comments: list[dict[str, str]] | None = None
    votes: list[dict[str, str]] | None = None
    for source in sources:
        header, rows = _csv(source)
        if {"comment-id", "comment-body", "moderated"} <= set(header):
            comments = rows
        elif {"participant", "group-id"} <= set(header):
            votes = rows
        else:
            raise InputError("neither comments nor votes of a Polis, by its header", where=f"{source}:1")
    if comments is None or votes is None:
        missing = "comments" if comments is None else "votes"
        raise InputError(f"the {missing} are missing; give both CSV files", where=", ".join(map(str, sources)))
    return comments, votes


def _csv(source: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        text = read_bytes(source).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), restval="", restkey="")
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"not a CSV file: {error}", where=str(source)) from None
    return list(reader.fieldnames or ()), rows


def _vote(cell: str, where: str) -> str:
    try:
        return _VOTES[float(cell)]
    except (ValueError, KeyError):
        raise InputError(f"{cell!r} is not a vote; expected 1, -1, 0 or nothing", where=where) from None


def _principle(id: str, statement: str, group: Group) -> Principle:
    statement = statement.strip()
    return principle(
        f"comment {id}",
        id=f"comment-{slug(id)}-{group.id}",
        title=headline(statement),
        statement=statement,
        critique=CRITIQUE.format(statement=statement),
        revision=REVISION.format(statement=statement),
        compare=COMPARE.format(statement=statement),
        group=group,
    )
