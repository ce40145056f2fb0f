"""``cai reweigh``: a run's stored votes under other weights, without a call of any model."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from base.errors import InputError
from critic.run.reweigh import Reweighed, ReweighRequest
from critic.run.reweigh import reweigh as start
from critic.settings.judging import Pooling
from critic.settings.weighing import ReweighSettings
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.shown.display import clean
from service.cli.shown.turned import JUDGEMENTS, counted
from service.cli.shown.voice import Quiet, say


@expand
def reweigh(
    settings: ReweighSettings, root: Root = None, as_json: Json = False, quiet: Quiet = False, config: ConfigFile = None
) -> None:
    """Combine a run's stored votes again, with other weights, priorities, groups or pooling. No model is asked."""
    own = settings.model_dump(include=set(Pooling.model_fields), exclude_none=True)
    if settings.ignore_priorities:
        own["priorities"] = False
    request = ReweighRequest(settings.principles, settings.only, _weights(settings.weight), own, settings.certificate)
    out = settings.out
    done = asyncio.run(start(request, settings.directory, out, settings.format))
    if as_json:
        typer.echo(json.dumps(_json(done), indent=2))
    else:
        _print(done, out)


def _weights(texts: Iterable[str]) -> dict[str, float]:
    weights = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            raise InputError(f"{text!r} is not ID=W", where="--weight", fix="Write it as in harmless=2.5") from None
    return weights


def _print(done: Reweighed, out: Path) -> None:
    changes, results = done.changes, done.results
    lines = {
        "rows": f"{results.exported.rows}; {results.quarantined.total()} quarantined, as in the run",
        "judgements": counted(changes.judgements),
        "pairs": f"{changes.pairs_before} before, {changes.pairs_after} now",
        "stale": f"votes of principles that are worded otherwise don't count: {_named(changes.stale)}",
        "left out": f"votes of principles that are not weighed: {_named(changes.left_out)}",
        "no votes": ", ".join(done.unvoted),
        "results": f"{out}/ (pairs, sft, feedback, README.md, manifest.json, report.html)",
    }
    empty = {"stale": not changes.stale, "left out": not changes.left_out, "no votes": not done.unvoted}
    for name, value in lines.items():
        if not empty.get(name):
            say(clean(f"{name + ':':12}{value}"))
    for warning in results.warnings():
        say(clean(f"warning: {warning}"))


def _named(votes: Counter[str]) -> str:
    return f"{votes.total()} ({', '.join(f'{name} {count}' for name, count in sorted(votes.items()))})"


def _json(done: Reweighed) -> dict[str, Any]:
    changes = done.changes
    return {
        "constitution": done.constitution.ref,
        "constitution_hash": done.constitution.digest,
        "rows": done.results.exported.rows,
        "judgements": {name: changes.judgements.get(name, 0) for name in JUDGEMENTS},
        "pairs": {"before": changes.pairs_before, "after": changes.pairs_after},
        "stale_votes": dict(sorted(changes.stale.items())),
        "left_out_votes": dict(sorted(changes.left_out.items())),
        "principles_without_votes": list(done.unvoted),
        "warnings": done.results.warnings(),
    }
