"""Raters whose true agreement is known, and how their coefficients' intervals hold it: for `benchmarks.coverage`."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from critic.statistics.intervals import Figure
from critic.statistics.reliability.alpha import krippendorff
from critic.statistics.reliability.coefficient import coefficient as valued
from critic.statistics.reliability.coefficient import figure
from critic.statistics.reliability.gwet import ac1, ac2
from critic.statistics.reliability.kappa import cohen, fleiss
from critic.statistics.reliability.ratings import Floats, Ratings

LARGE = 200_000  # units, whose coefficient stands for the truth
NEAR = 0.05  # of the share by which raters are right: the band that it is drawn from

Trial = Callable[[Generator], tuple[float, float, float]]
"""One simulation: the interval's limits, and the truth."""


def rated(rng: Generator, units: int, right: float, yes: float, raters: int = 3, values: int = 2) -> Floats:
    """Return ratings (raters, units): of a true value, each right with a probability, else any value."""
    chosen = rng.random(units) < yes if values == 2 else rng.integers(values, size=units)
    truth = chosen.astype(float)
    guess = rng.integers(values, size=(raters, units)).astype(float)
    return np.where(rng.random((raters, units)) < right, truth, guess)


def coefficient(name: str, matrix: Floats, clusters: Floats | None = None) -> Figure:
    """Return a coefficient of a matrix with its interval."""
    ratings = Ratings.of_matrix(matrix)
    units = ratings.number_of_units
    if name == "cohen":
        _, first, second = ratings.of_pair(0, 1)
        agreement = figure(cohen(first, second), units, clusters)
    else:
        made = {"fleiss": fleiss, "ac1": ac1, "ac2": ac2}.get(name)
        agreement = figure(made(ratings) if made else krippendorff(ratings, name), units, clusters)  # type: ignore[arg-type]  # its name is a level
    return agreement if agreement is not None else Figure(0.0, -1.0, 1.0, 0, 0)


_TRUTHS: dict[tuple[object, ...], float] = {}


def truth(name: str, right: float, yes: float, values: int, missing: float) -> float:
    """Return a coefficient's value in a very large sample, computed once."""
    key = (name, right, yes, values, missing)
    if key not in _TRUTHS:
        rng = np.random.default_rng(99)
        matrix = rated(rng, LARGE, right, yes, values=values)
        ratings = Ratings.of_matrix(np.where(rng.random(matrix.shape) < missing, np.nan, matrix))
        if name == "cohen":
            units, first, second = ratings.of_pair(0, 1)
            _TRUTHS[key] = valued(cohen(first, second), units.size) or 0.0
        else:
            made = {"fleiss": fleiss, "ac1": ac1, "ac2": ac2}.get(name)
            of = made(ratings) if made else krippendorff(ratings, name)  # type: ignore[arg-type]  # its name is a level
            _TRUTHS[key] = valued(of, ratings.number_of_units) or 0.0
    return _TRUTHS[key]


def agreement(name: str, units: int, right: float, yes: float = 0.5, values: int = 2, missing: float = 0.0) -> Trial:
    """Return a simulation of a coefficient; how often raters are right is drawn anew from about ``right``.

    The truth is a parabola through three large samples: coefficients are of the second degree in that share.
    """
    shares = (right - NEAR, right, min(1.0, right + NEAR))
    parabola: list[Floats] = []

    def trial(rng: Generator) -> tuple[float, float, float]:
        if not parabola:
            parabola.append(np.polyfit(shares, [truth(name, share, yes, values, missing) for share in shares], 2))
        share = rng.uniform(shares[0], shares[2])
        matrix = rated(rng, units, share, yes, values=values)
        matrix = np.where(rng.random(matrix.shape) < missing, np.nan, matrix)
        agreed = coefficient(name, matrix)
        return agreed.low, agreed.high, float(np.polyval(parabola[0], share))

    return trial


def agreement_in_clusters(name: str, prompts: int, each: int, right: float) -> Trial:
    """Return a simulation in which the units of a prompt have one true value, and are equally hard."""

    def matrix_of(rng: Generator, prompts: int) -> Floats:
        value = np.repeat((rng.random(prompts) < 0.5).astype(float), each)
        hard = np.repeat(np.clip(rng.normal(right, 0.15, prompts), 0, 1), each)
        guess = rng.integers(2, size=(3, prompts * each)).astype(float)
        return np.where(rng.random((3, prompts * each)) < hard, value, guess)

    large = Ratings.of_matrix(matrix_of(np.random.default_rng(99), LARGE // each))
    true = valued(krippendorff(large, "nominal"), large.number_of_units) or 0.0

    def trial(rng: Generator) -> tuple[float, float, float]:
        agreed = coefficient(name, matrix_of(rng, prompts), np.repeat(np.arange(prompts), each))
        return agreed.low, agreed.high, true

    return trial
