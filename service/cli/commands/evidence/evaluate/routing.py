"""``cai evaluate routing``: which items people should see within a budget, and what to do with those they have seen."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from base.errors import InputError
from critic.evaluation.powered.route import Route, route
from critic.evaluation.powered.routing_file import write_route
from critic.settings.labels.few_labels import RoutingSettings
from service.cli.exits import QUARANTINED
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.measure.gathering import gather, name_refused, told_apart
from service.cli.measure.measuring import told
from service.cli.shown.display import clean
from service.cli.shown.voice import Quiet, say

SHOWN = 10  # drawn items that the terminal names
CHARACTERS = 60  # of a prompt, there


@expand
def routing(
    settings: RoutingSettings,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Draw the items that people should label, the doubtful ones more often, and record each item's probability.

    With people's labels among the files, doubts are weighed by where the judge was off, and each labelled item has a
    verdict: settled; collect more; people differ, keep the share.
    """

    made, refused = gather(settings.files, settings.column)
    try:
        routed = route(made, settings.budget, settings.seed)
    except ValueError as error:
        raise InputError(str(error), where=", ".join(settings.files)) from None
    items, asked = write_route(routed, settings.out)
    notes = told_apart(made)
    with told(as_json):
        _print(routed, notes, items, asked)
    if as_json:
        typer.echo(json.dumps(_json(routed, notes, items, asked), indent=2, allow_nan=False))
    name_refused(refused)
    if refused:
        raise typer.Exit(QUARANTINED)


def _json(routed: Route, notes: Sequence[str], items: Path, asked: Path) -> dict[str, Any]:
    drawn = [one.one.item.id for one in routed.drawn]
    return {
        "items": len(routed.items),
        "drawn": drawn,
        "budget": routed.budget,
        "seed": routed.seed,
        "pilot": routed.pilot,
        "slips": dict(routed.slips),
        "verdicts": {name: dict(counts) for name, counts in _verdicts(routed).items()},
        "routing": str(items),
        "to_label": str(asked),
        "notes": list(notes),
    }


def _verdicts(routed: Route) -> dict[str, Counter[str]]:
    counted: dict[str, Counter[str]] = {}
    for item in routed.items:
        for name, verdict in item.verdicts.items():
            counted.setdefault(name, Counter())[verdict] += 1
    return dict(sorted(counted.items()))


def _print(routed: Route, notes: Sequence[str], items: Path, asked: Path) -> None:
    drawn = routed.drawn
    table = Table(
        title=Text(f"{len(drawn):,} of {len(routed.items):,} items for people"), title_justify="left", box=box.SIMPLE
    )
    for name in ("prompt", "chance", "doubt", "why"):
        table.add_column(name, no_wrap=name != "prompt")
    for item in drawn[:SHOWN]:
        known = [(value, name) for name, value in item.signals.items() if value is not None]
        why = max(known)[1] if known else "-"
        prompt = item.one.item.prompt.messages[-1].content[:CHARACTERS]
        table.add_row(Text(clean(prompt)), f"{item.chance:.3f}", f"{item.doubt:.2f}", why)
    Console().print(table)
    if len(drawn) > SHOWN:
        say(f"{len(drawn) - SHOWN:,} more are in {asked}")
    if routed.pilot:
        say(f"doubts are weighed by where the judge was off at {routed.pilot:,} labelled items")
    else:
        say("too few items have labels by people and a judge to say how much a doubt is worth: all signals count alike")
    for name, counts in _verdicts(routed).items():
        say(clean(f"items labelled by {name} (a label is a slip with probability {routed.slips[name]:.3f} or less):"))
        for verdict, count in sorted(counts.items()):
            say(f"  {verdict}: {count:,}")
    for note in notes:
        say(note)
    say(f"every item with its probability: {items}")
    say(f"for people: {asked} (then: cai evaluate powered LABELS and the files above --drawn {items})")
