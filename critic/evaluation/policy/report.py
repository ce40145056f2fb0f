"""The page of a report on policies."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from critic.evaluation.policy.alarms import sentences
from critic.evaluation.policy.figures import TRAITS, Plain
from critic.evaluation.policy.measured import HELD_OUT, RED_TEAM, MeasuredPolicies
from critic.pages.page import Picture, page
from critic.pages.plots import Color, Curves, PlotLine
from critic.pages.scales import linear, percent, shares
from critic.pages.strips import Dot, Series, Strips

SHOWN = 8  # prompts

ONE = (Series("estimate", "accent"),)


def report(figures: Plain, samples: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of what `critic.evaluation.policy.figures.figures` found."""
    return page(
        "critic.evaluation.policy",
        "report.html.j2",
        "Policies before and after",
        dict(_pictures(figures)),
        figures=figures,
        sentences=sentences(figures),
        tiles=list(_tiles(figures)),
        traits=TRAITS,
        samples=samples,
        percent=percent,
        short=_short,
        points=_points,
        signed=_signed,
    )


def samples(measured: MeasuredPolicies) -> list[dict[str, Any]]:
    """The first held-out prompts with the base's answer and the first trained policy's."""
    prompts, texts = measured.prompts[HELD_OUT], measured.texts[HELD_OUT]
    shown = []
    for prompt, before, after in list(zip(prompts, texts[0], texts[1], strict=True))[:SHOWN]:
        shown.append({"prompt": [m.model_dump() for m in prompt.messages], "before": before[0], "after": after[0]})
    return shown


def _tiles(figures: Plain) -> Iterator[tuple[str, str, str]]:
    for policy, groups in figures["wins"].get(HELD_OUT, {}).items():
        for group, own in groups.items():
            if (tile := _tile(own["win rate"])) is not None:
                named = f"{policy}, {group}" if group != "all" else policy
                yield f"win rate, {named}", *tile
    for policy, own in figures["tax"].items():
        if "change" in own and "estimate" in own["change"]:
            change = own["change"]
            yield f"alignment tax, {policy}", _points(change["estimate"]), _between(change, _points)


def _tile(figure: Plain) -> tuple[str, str] | None:
    return (percent(figure["estimate"]), _between(figure, percent)) if "estimate" in figure else None


def _between(figure: Plain, how: Any) -> str:
    return "" if figure["low"] is None else f"{how(figure['low'])} to {how(figure['high'])}"


def _pictures(figures: Plain) -> Iterator[tuple[str, Picture]]:
    for picture, name in (("wins", HELD_OUT), ("harmless", RED_TEAM)):
        rows = list(_win_rows(figures["wins"].get(name, {})))
        if rows:
            kinds = (Series("win rate", "accent"), Series("length-controlled", "chosen", diamond=True))
            yield picture, Strips(tuple(rows), kinds, shares("share of comparisons"), 0.5)
    for name, policies in figures["answers"].items():
        dots = {policy: own["refused"] for policy, own in policies.items() if "estimate" in own["refused"]}
        if dots:
            yield f"refused {name}", Strips(_rows(dots), ONE, shares("share of answers"))
    yield from _strength_picture(figures["strengths"])
    accuracies = {policy: own["accuracy"] for policy, own in figures["tax"].items() if "estimate" in own["accuracy"]}
    if accuracies:
        yield "tax", Strips(_rows(accuracies), ONE, shares("share of questions"), 0.25)
    curves = _hacking_lines(figures)
    if curves:
        distances = [x for line in curves for x, _ in line.points]
        yield "hacking", Curves(tuple(curves), linear("KL, nats an answer", [0.0, *distances]), shares("share"))


def _win_rows(policies: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Dot | None, ...]]]:
    for policy, groups in policies.items():
        for group, own in groups.items():
            dots = tuple(_dot(own[name]) for name in ("win rate", "length-controlled"))
            if any(dot is not None for dot in dots):
                yield (policy if group == "all" else f"{policy}, {group}"), dots


def _rows(named: Mapping[str, Plain]) -> tuple[tuple[str, tuple[Dot | None, ...]], ...]:
    return tuple((name, (_dot(figure),)) for name, figure in named.items())


def _dot(figure: Plain) -> Dot | None:
    if "estimate" not in figure:
        return None
    value = figure["estimate"]
    low, high = (value if end is None else end for end in (figure["low"], figure["high"]))
    return Dot(value, low, high, figure["n"])


def _strength_picture(groups: Mapping[str, Any]) -> Iterator[tuple[str, Picture]]:
    rows = [
        (policy if group == "all" else f"{policy}, {group}", (_dot(figure),))
        for group, own in groups.items()
        if "refusal" not in own
        for policy, figure in own.items()
    ]
    dots = [dot for _, (dot,) in rows if dot is not None]
    if dots:
        ends = [end for dot in dots for end in (dot.low, dot.high)]
        yield "strengths", Strips(tuple(rows), ONE, linear("Elo points", ends), 0.0)


def _hacking_lines(figures: Plain) -> list[PlotLine]:
    """A line for the reward, the judges and the people, over the policies' distance from the base."""
    looks: tuple[tuple[str, Color, bool], ...] = (
        ("reward prefers it", "rejected", False),
        ("judges prefer it", "accent", False),
        ("people prefer it", "chosen", True),
    )
    lines = []
    for name, color, dashed in looks:
        points = []
        for policy, own in figures["hacking"].get("policies", {}).items():
            distance = figures["drift"].get(policy, {}).get("KL, nats an answer", {}).get("estimate")
            share = own.get(name, {}).get("estimate")
            if distance is not None and share is not None:
                points.append((distance, share))
        if points:  # the base is at distance 0, where nobody prefers either
            lines.append(
                PlotLine(
                    name.removesuffix(" prefers it").removesuffix(" prefer it"),
                    ((0.0, 0.5), *sorted(points)),
                    color,
                    dashed,
                )
            )
    return lines


def _short(value: float) -> str:
    return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"


def _signed(value: float) -> str:
    return f"{value:+z,.2f}"


def _points(value: float) -> str:
    return f"{100 * value:+z.1f} points"
