"""``cai evaluate groups``: how far groups differ, and who loses under each way to bring them together."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import typer

from base.errors import InputError
from critic.feedback import ComparisonLabel, Feedback
from critic.settings.labels.people import GroupsSettings
from critic.statistics.alarms import OF_REPORT
from critic.statistics.groups.aggregations import AGGREGATIONS, Profile
from critic.statistics.groups.losers import Loss, WayOutcome, outcomes
from critic.statistics.groups.support import Apart, apart
from critic.statistics.intervals import FEW, Figure
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.measure.labels import read_labels
from service.cli.shown.display import clean
from service.cli.shown.voice import Quiet, say


@expand
def groups(
    settings: GroupsSettings,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Show how far groups of annotators differ, and who loses under each way of deciding for all. No model is asked."""
    names = settings.by or tuple(AGGREGATIONS)
    if unknown := [name for name in names if name not in AGGREGATIONS]:
        raise InputError(f"there is no way {unknown[0]!r}", where="--by", fix=f"There are {', '.join(AGGREGATIONS)}.")
    read, left_out = _comparisons(settings.labels, settings.limit, settings.column)
    profile = _profile(read, settings.labels)
    apart = _apart(profile)
    by_way = outcomes(profile, names)
    if as_json:
        typer.echo(json.dumps(_json(profile, apart, by_way, left_out), indent=2, allow_nan=False))
    else:
        _print(profile, apart, by_way, left_out)


def _comparisons(source: str, limit: int | None, column: str | None) -> tuple[list[Feedback], dict[str, int]]:
    """The comparisons that say whose they are, and how many labels of other kinds or nobody's were left out."""
    timed, refused = read_labels(source, column)
    kept = []
    left_out = {"unreadable rows": len(refused), "other kinds": 0, "without group or annotator": 0, "not read": 0}
    for one in islice(timed, limit):
        label = one.label
        if not isinstance(label.label, ComparisonLabel):
            left_out["other kinds"] += 1
        elif label.group is None or label.annotator is None:
            left_out["without group or annotator"] += 1
        elif label.label.first_is_better is None:
            left_out["not read"] += 1
        else:
            kept.append(label)
    return kept, {reason: count for reason, count in left_out.items() if count}


def _profile(labels: Iterable[Feedback], source: str) -> Profile:
    """Scores of both answers, in the order of each item's first label; of a person's labels of an item the last."""
    orders: dict[str, list[str]] = {}
    rows: dict[tuple[str, str], tuple[float, str]] = {}
    for label in labels:
        order = orders.setdefault(label.item, [response.text for response in label.responses])
        turned = label.in_order_of(order).label
        assert isinstance(turned, ComparisonLabel) and label.annotator is not None and label.group is not None
        first = turned.first_is_better
        assert first is not None
        rows[label.item, label.annotator] = first, label.group
    if not rows:
        raise InputError(
            "no comparison has a group and an annotator",
            where=source,
            fix="Give feedback with both: groups can't be told otherwise.",
        )
    places = {item: f"{place:09}" for place, item in enumerate(orders)}  # so that items keep the file's order
    worths = [(first, 1 - first) for first, _ in rows.values()]
    items = [places[item] for item, _ in rows]
    groups = [group for _, group in rows.values()]
    return Profile.of(worths, items, groups, [annotator for _, annotator in rows])


def _apart(profile: Profile) -> Apart:
    import numpy as np

    people = int(profile.person.max()) + 1
    votes = np.full((people, profile.items), np.nan)
    votes[profile.person, profile.item] = np.sign(profile.scores[:, 0] - profile.scores[:, 1])
    of = np.zeros(people, int)
    of[profile.person] = profile.group
    return apart(votes, np.array(profile.groups)[of])


def _json(profile: Profile, apart: Apart, by_way: Sequence[WayOutcome], left_out: dict[str, int]) -> dict[str, Any]:
    people = dict(zip(profile.groups, profile.people().tolist(), strict=True))
    ways = {}
    for one in by_way:
        ways[one.aggregation.name] = {
            "says": one.aggregation.says,
            "undecided": one.undecided,
            "loser": one.loser.group if one.loser is not None else None,
            "groups": {loss.group: _loss(loss) for loss in one.losses},
        }
    return {"items": profile.items, "people": people, "apart": asdict(apart), "ways": ways, "left_out": left_out}


def _loss(loss: Loss) -> dict[str, Any]:
    if loss.refusal:
        return {"refusal": loss.refusal}
    return {name: _plain(getattr(loss, name)) for name in ("overruled", "regret")}


def _plain(figure: Figure | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {key: value if math.isfinite(value) else None for key, value in asdict(figure).items()}


def _print(profile: Profile, apart: Apart, by_way: Sequence[WayOutcome], left_out: dict[str, int]) -> None:
    people = ", ".join(f"{name} {n:,}" for name, n in zip(profile.groups, profile.people().tolist(), strict=True))
    say(clean(f"{profile.items:,} items; people by group: {people}"))
    if apart.refusal:
        say(clean(apart.refusal))
    elif apart.p is not None:
        differ = "vote differently" if apart.p < OF_REPORT / 2 else "do not vote differently beyond chance"
        say(f"the groups {differ} (p = {apart.p:.3f})")
    for one in by_way:
        say(clean(f"{one.aggregation.name}: {one.aggregation.says}; undecided: {one.undecided:,}"))
        for loss in one.losses:
            say(clean(f"  {loss.group}: {_said(loss)}"))
        if one.loser is not None:
            say(clean(f"  {one.loser.group} loses"))
    for reason, count in left_out.items():
        say(f"left out: {count:,} ({reason})")


def _said(loss: Loss) -> str:
    if loss.refusal:
        return loss.refusal
    parts = []
    if (figure := loss.overruled) is None:
        parts.append("prefers neither answer of any item")
    elif figure.is_of_few:
        parts.append(f"prefers one answer of {figure.n:,} items: nothing can be said of fewer than {FEW}")
    else:
        parts.append(f"overruled in {_percent(figure)}")
    if (regret := loss.regret) is not None:
        parts.append(f"regret {regret.estimate:.2f} ({regret.low:.2f} to {regret.high:.2f}) of {regret.n:,}")
    return ", ".join(parts)


def _percent(figure: Figure) -> str:
    return f"{100 * figure.estimate:.0f} % ({100 * figure.low:.0f} to {100 * figure.high:.0f}) of {figure.n:,} items"
