"""``cai constitution ballot``: statements with every group's support, to be printed and voted on."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from base.errors import InputError
from constitution.importers.polis import Poll, read_poll
from constitution.schema import Group
from critic.statistics.intervals import exact
from service.cli.given.config import ConfigFile
from service.cli.given.options import OUTPUT
from service.cli.shown.voice import Quiet, say


def ballot(
    sources: Annotated[
        list[Path], typer.Argument(metavar="COMMENTS VOTES", help="The two CSV files of a Polis, in any order.")
    ],
    out: Annotated[Path, typer.Option(help="The Markdown file to write.", rich_help_panel=OUTPUT)],
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Write a ballot of all statements, each with the support of every group, those that all groups share first."""
    if out.exists():
        raise InputError("this file exists", where=str(out), fix="choose another name, or remove it first")
    poll = read_poll(sources)
    lines = list(_lines(poll))
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    say(f"wrote {out}: {len(poll.statements):,} statements")


def _lines(poll: Poll) -> Iterator[str]:
    yield "# Ballot"
    yield ""
    yield (
        "Support: those of a group who agree, of all of it who were asked, passes included, with the exact 95 % "
        "interval. What every group supports comes first (the product of all groups' support)."
    )
    for number, id in enumerate(sorted(poll.statements, key=lambda id: -_shared(poll.tallies.get(id, ()))), 1):
        yield ""
        yield f"## {number}. {' '.join(poll.statements[id].split())}"
        yield ""
        yield "[ ] agree   [ ] disagree   [ ] pass"
        yield ""
        groups = poll.tallies.get(id, ())
        yield from (f"- {group.id}: {_support(group)}" for group in groups)
        if not groups:
            yield "- nobody of a group was asked"


def _shared(groups: Iterable[Group]) -> float:
    """The group-informed consensus of Small et al. (2021); 0 where nobody was asked."""
    product, asked = 1.0, False
    for group in groups:
        product *= (group.agrees + 1) / (_asked(group) + 2)
        asked = True
    return product if asked else 0.0


def _asked(group: Group) -> int:
    return group.agrees + group.disagrees + group.passes


def _support(group: Group) -> str:
    n = _asked(group)
    if not n:
        return "nobody was asked"
    low, high = exact(group.agrees, n)
    return f"{100 * group.agrees / n:.0f} % ({100 * low:.0f} to {100 * high:.0f}) of {n:,}"
