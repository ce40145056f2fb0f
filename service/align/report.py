"""``report.json`` and the pages of a chain: what the policy said before and after, and what the judge thinks.

``report.html`` tells the chain, ``policy.html`` all figures of the policy, as `cai evaluate policy` does.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from critic.evaluation.policy.alarms import sentences as warnings
from critic.evaluation.policy.report import report as policy_report
from critic.pages.page import Picture, page
from critic.pages.scales import Axis, linear, percent, shares
from critic.pages.strips import Dot, Series, Strips
from critic.run.folder.results import replace_text
from critic.statistics.intervals import few
from service.align.request import ChainRequest

SHOWN = 8  # prompts
SIDES = ("before", "after")

Estimate = Mapping[str, Any]
"""A figure as plain data: ``estimate``, ``low``, ``high``, ``n`` and ``clusters``."""


def write_report(request: ChainRequest, figures: Mapping[str, Any], out: Path) -> None:
    """Write the page, and then the figures, which tell that the chain is finished."""
    replace_text(out / "policy.html", policy_report(figures["policy"], _samples(figures)))
    replace_text(out / "report.html", report(request, figures))
    replace_text(out / "report.json", json.dumps(figures, indent=2, allow_nan=False) + "\n")


def report(request: ChainRequest, facts: Mapping[str, Any]) -> str:
    """Return the page of what `service.align.evaluate.evaluate` found."""
    return page(
        "service.align",
        "report.html.j2",
        f"Before and after, under {facts['constitution']}",
        _pictures(facts),
        request=request,
        facts=facts,
        sentence=sentence(request, facts),
        tiles=list(_tiles(facts)),
        samples=_samples(facts),
        warnings=warnings(facts["policy"]),
        stages=[(name, _stage(values)) for name, values in facts["stages"].items()],
    )


def _samples(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = facts["answers"][:SHOWN]
    return [{"prompt": row["prompt"], "before": row["before"][0], "after": row["after"][0]} for row in rows]


def sentence(request: ChainRequest, facts: Mapping[str, Any]) -> str:
    """Return what came of the chain, in one sentence; of a few prompts that nothing can be said."""
    prompts = len(facts["answers"])
    before, after = (facts[side].get("verified") for side in SIDES)
    if request.rule is not None and before and after:
        change = facts.get("change")
        said = f"{_share(before)} to {_share(after)} of the answers to {prompts} held-out prompts"
        spread = f", a change of {_signed(change)}" if change else ""
        text = f"{facts['title']} ({request.rule.target}): from {said}{spread}"
    elif facts["win_rate"]:
        win = facts["win_rate"]
        text = (
            f"The judge prefers the trained policy's answer in {_share(win)} of {win['n']} comparisons on {prompts} "
            f"held-out prompts (95 % interval: {_range(win)})"
        )
    else:
        return f"Nothing could be read of the answers to {prompts} held-out prompts."
    return f"{text}. {few(prompts, 'prompt')}".strip()


def figures(facts: Mapping[str, Any]) -> Iterator[tuple[str, Estimate]]:
    """Yield the shares that were found, by name, each an estimate with its interval."""
    yield from _verified(facts)
    if facts["win_rate"]:
        yield "win rate", facts["win_rate"]


def _verified(facts: Mapping[str, Any]) -> Iterator[tuple[str, Estimate]]:
    for side in SIDES:
        if facts[side].get("verified"):
            yield f"verified {side}", facts[side]["verified"]


def _tiles(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, share in figures(facts):
        yield name, _share(share), _range(share)
    for side in SIDES:
        if words := facts[side]["words"]:
            yield f"words {side}", f"{words['estimate']:.0f}", f"{facts[side]['unanswered']} without an answer"


def _share(figure: Estimate) -> str:
    return percent(figure["estimate"])


def _range(figure: Estimate) -> str:
    return f"{100 * figure['low']:.0f} to {100 * figure['high']:.0f} %"


def _signed(change: Estimate) -> str:
    points = f"{100 * change['estimate']:+.0f} points"
    if change["low"] is None:
        return points
    return f"{points} (95 % interval: {100 * change['low']:+.0f} to {100 * change['high']:+.0f})"


def _pictures(facts: Mapping[str, Any]) -> dict[str, Picture]:
    """What a program counts, what a judge prefers and what is as long are three things, so three pictures."""
    verified = dict(_verified(facts))
    wins = {"win rate": facts["win_rate"]} if facts["win_rate"] else {}
    words = {side: facts[side]["words"] for side in SIDES if facts[side]["words"]}
    lengths = [value for word in words.values() for value in (word["estimate"], word["low"], word["high"])]
    known = [value for value in lengths if value is not None]
    made = {
        "verified": _dots(verified, shares("share of answers")),
        "wins": _dots(wins, shares("share of comparisons"), middle=0.5),
        "words": _dots(words, linear("words per answer", [max(0.0, value) for value in known] or [0.0], zero=True)),
    }
    return {name: picture for name, picture in made.items() if picture is not None}


def _dots(named: Mapping[str, Estimate], axis: Axis, middle: float | None = None) -> Strips | None:
    """Return a picture with a line for each figure; None for none."""
    if not named:
        return None
    rows = tuple((name, (_dot(figure),)) for name, figure in named.items())
    return Strips(rows, (Series("estimate", "accent"),), axis, middle)


def _dot(figure: Estimate) -> Dot:
    value = figure["estimate"]
    low, high = (value if end is None else end for end in (figure["low"], figure["high"]))
    return Dot(value, low, high, figure["n"])


def _stage(values: Mapping[str, Any]) -> str:
    if "skipped" in values:
        return f"skipped: {values['skipped']}"
    return ", ".join(f"{value:,} {key}" for key, value in values.items() if isinstance(value, int))
