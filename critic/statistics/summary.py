"""A run's figures as plain data, for the manifest and for ``--json``."""

import math
from typing import Any

from critic.statistics.intervals import Figure, Mean, Share
from critic.statistics.run import PrincipleStatistics, RunStatistics


def summary(statistics: RunStatistics) -> dict[str, Any]:
    """Return counts and figures; what was never observed, or has no bounds, is None."""
    names = (
        "same_position",
        "first_lean",
        "lean",
        "order_disagreement",
        "longest",
        "unreadable",
        "cut_off",
        "mass",
        "low_mass",
    )
    figures = {name: _figure(getattr(statistics, name)) for name in names}
    return {
        "rows": statistics.rows,
        "pairs": statistics.pairs,
        "votes": statistics.votes,
        "comparisons": dict(sorted(statistics.outcomes.items())),
        "critiques": dict(sorted(statistics.critiques.items())),
        "revisions": dict(sorted(statistics.revisions.items())),
        "drops": drops(statistics),
        "figures": figures,
        "length": {"chosen": _figure(statistics.chosen.mean), "rejected": _figure(statistics.rejected.mean)},
        "probabilities": statistics.probabilities,
        "principles": {name: _principle(of_principle) for name, of_principle in sorted(statistics.principles.items())},
        "agreement": _agreement(statistics),
    }


def drops(statistics: RunStatistics) -> dict[str, dict[str, int]]:
    """Return what was dropped: what, why, how often."""
    by_stage: dict[str, dict[str, int]] = {}
    for (what, reason), count in sorted(statistics.drops.items()):
        by_stage.setdefault(what, {})[reason] = count
    return by_stage


def _agreement(statistics: RunStatistics) -> dict[str, Any]:
    shares = statistics.agreement.shares().tolist()
    return {
        "principles": statistics.agreement.principles,
        "shares": [list(map(_known, line)) for line in shares],
        "comparisons": statistics.agreement.counts().tolist(),
    }


def _known(share: float) -> float | None:
    return None if math.isnan(share) else share


def _principle(statistics: PrincipleStatistics) -> dict[str, Any]:
    names = ("same_position", "first_lean", "with_outcome", "strength", "unreadable")
    return {name: _figure(getattr(statistics, name)) for name in names}


def _figure(counted: Share | Mean) -> dict[str, Any] | None:
    figure = counted.figure()
    return None if figure is None else _plain(figure)


def _plain(figure: Figure) -> dict[str, Any]:
    bounded = math.isfinite(figure.low)
    return {
        "estimate": figure.estimate,
        "low": figure.low if bounded else None,
        "high": figure.high if bounded else None,
        "n": figure.n,
        "prompts": figure.clusters,
    }
