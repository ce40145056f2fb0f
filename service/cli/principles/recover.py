"""``cai constitution recover``: from pairs alone, which principles explain what was chosen."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from base.errors import InputError
from critic.evaluation.accuracy import Labelled
from critic.evaluation.principles.recovery import Recovered
from critic.evaluation.principles.recovery import recover as find
from critic.evaluation.principles.traits import candidates, said
from critic.files.inputs import read_labelled
from critic.files.shapes import naming
from critic.judging.aggregate import principle_log_odds
from critic.records import Quarantined
from critic.run.folder.reading import open_rows
from critic.settings.labels.people import RecoverSettings
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.shown.display import clean
from service.cli.shown.voice import Quiet, say

MAX_CHARACTERS = 32_000


@expand
def recover(
    settings: RecoverSettings,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Say what the chosen answers of PAIRS have in common: traits, words, and a run's principles. No model is asked."""
    labels, repeated, refused = _labels(settings.pairs, settings.limit, settings.column)
    better = [one.better for one in labels]
    names, signs = candidates(better, [one.worse for one in labels])
    if settings.run is not None:
        names, signs = _with_votes(settings.run, labels, names, signs)
    recovered = find(names, signs, [one.id for one in labels], list(range(len(labels))))
    prompts = len({one.prompt.key for one in labels})
    if as_json:
        left_out = {"repeated": repeated, "left_out": refused}
        typer.echo(json.dumps(_json(recovered, prompts) | left_out, indent=2, allow_nan=False))
        return
    _print(recovered, prompts)
    if repeated:
        say(f"left out: {repeated:,} rows that repeat a pair: each counts once")
    if refused:
        say(f"left out: {refused:,} rows without a prompt, chosen and rejected")


def _labels(pairs: str, limit: int | None, column: str | None) -> tuple[list[Labelled], int, int]:
    """Return the pairs, each once, and how many rows repeat one, and are none."""
    labels: dict[tuple[str, str, str], Labelled] = {}
    repeated, refused = 0, 0
    for line in islice(read_labelled(pairs, max_chars=MAX_CHARACTERS, columns=naming(column)), limit):
        if isinstance(line, Quarantined):
            refused += 1
            continue
        better, worse = line.item.responses
        prompt = line.item.prompt
        key = (prompt.key, better.text, worse.text)
        repeated += key in labels
        labels.setdefault(
            key, Labelled(f"{prompt.key}:{line.row}:{len(labels)}", pairs, prompt, better.text, worse.text)
        )
    if not labels:
        raise InputError(
            "no row has a prompt, chosen and rejected",
            where=pairs,
            fix="Give pairs, or comparisons of which a side is preferred; --column says which column is which.",
        )
    return list(labels.values()), repeated, refused


def _with_votes(run: Path, labels: Sequence[Labelled], names: list[str], signs: Any) -> tuple[list[str], Any]:
    """Add what each principle of the run says of each pair; 0 where it says nothing, or the run hasn't the pair."""
    import numpy as np

    places = {(one.prompt.key, one.better, one.worse): place for place, one in enumerate(labels)}
    columns: dict[str, Any] = {}
    matched = set()
    with closing(open_rows(run)) as store:
        for row in store.rows():
            for judgement in row.judgements:
                first, second = (row.candidates[i].text for i in (judgement.first, judgement.second))
                for better, worse, sign in ((first, second, 1), (second, first, -1)):
                    place = places.get((row.prompt.key, better, worse))
                    if place is None:
                        continue
                    matched.add(place)
                    for principle, odds in principle_log_odds(judgement.votes).items():
                        if principle is not None and odds:
                            column = columns.setdefault(principle, np.zeros(len(labels), np.int8))
                            column[place] = sign if odds > 0 else -sign
    if not matched:
        raise InputError("the run judged none of these pairs", where=str(run), fix="Name the run of these pairs.")
    followed = [f"follows {principle}" for principle in columns]
    return [*names, *followed], np.column_stack([signs, *columns.values()]) if columns else signs


def _says(name: str, more: bool) -> str:
    if name.startswith("follows "):
        return name if more else name.replace("follows ", "goes against ", 1)
    return said(name, more)


def _json(recovered: Recovered, prompts: int) -> dict[str, Any]:
    rules = [asdict(rule) | {"says": _says(rule.name, rule.more)} for rule in recovered.rules]
    return asdict(recovered) | {"rules": rules, "prompts": prompts}


def _print(recovered: Recovered, prompts: int) -> None:
    say(f"{recovered.pairs:,} pairs of {prompts:,} {'prompt' if prompts == 1 else 'prompts'}")
    for rule in recovered.rules:
        right = rule.right
        say(clean(
            f"- the chosen answer {_says(rule.name, rule.more)}: right in {100 * right.estimate:.0f} % "
            f"({100 * right.low:.0f} to {100 * right.high:.0f}) of the {rule.speaks:,} pairs that it speaks to"
        ))  # fmt: skip
        if rule.also:
            say(clean(f"  the same pairs: {', '.join(rule.also)}"))
    if recovered.refusal:
        say(recovered.refusal)
    if recovered.explained is not None and recovered.rules:
        figure = recovered.explained
        say(
            f"on pairs that they were not found from, they are right in {100 * figure.estimate:.0f} % "
            f"({100 * figure.low:.0f} to {100 * figure.high:.0f}; 50 is chance)"
        )
