"""Maps that mend a judge's probabilities, fitted on people's labels: one temperature, or any rising line of steps.

Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks (2017): log-odds over a temperature. Zadrozny
and Elkan, Transforming Classifier Scores into Accurate Multiclass Probability Estimates (2002): isotonic regression, by
pool adjacent violators. Both are of pairs, whose sides may be swapped: a map takes 1 - p to 1 minus what it takes p to,
so that no order is preferred.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from critic.statistics.reliability.ratings import Floats

CLIP = 6.0  # log-odds, beyond which a judge is not taken at its word; as where votes are pooled
HOTTEST = 50.0  # a temperature at which 0.99 becomes 0.52: hotter says nothing at all


class Temperature(BaseModel):
    """Log-odds divided by ``temperature``: above 1 the judge is too sure, below it too timid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["temperature"] = "temperature"
    temperature: float = Field(gt=0)

    def __call__(self, probability: float) -> float:
        """Return the mended probability."""
        return float(_logistic(_odds(np.asarray([probability])) / self.temperature)[0])


class Isotonic(BaseModel):
    """Straight lines between points (``at``, ``value``), both rising; ends are level."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["isotonic"] = "isotonic"
    at: tuple[float, ...] = Field(min_length=1)
    value: tuple[float, ...] = Field(min_length=1)

    def __call__(self, probability: float) -> float:
        """Return the mended probability."""
        return float(np.interp(probability, self.at, self.value))


Map = Annotated[Temperature | Isotonic, Field(discriminator="kind")]
MAPS: TypeAdapter[Temperature | Isotonic] = TypeAdapter(Map)


def temperature(probabilities: ArrayLike, shares: ArrayLike) -> Temperature:
    """Return the temperature of greatest likelihood.

    ``probabilities`` (n,) are the judge's that the first is better, ``shares`` (n,) people's. Raises ValueError where
    there is nothing to fit.
    """
    from scipy.optimize import minimize_scalar  # slow to import, and a server starts without it

    p, y = _checked(probabilities, shares)
    odds = _odds(p)
    if not odds.any():
        raise ValueError("the judge leans to no side in any pair")

    def loss(log_temperature: float) -> float:
        scaled = odds / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - y * scaled))

    bound = float(np.log(HOTTEST))
    fitted = minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-6})
    return Temperature(temperature=float(np.exp(fitted.x)))


def isotonic(probabilities: ArrayLike, shares: ArrayLike) -> Isotonic:
    """Return the rising map of least squares; each pair is taken in both orders. Arguments as in `temperature`."""
    from scipy.optimize import isotonic_regression  # slow to import, and a server starts without it

    p, y = _checked(probabilities, shares)
    both, either = np.concatenate((p, 1 - p)), np.concatenate((y, 1 - y))
    at, which, times = np.unique(np.round(both, 12), return_inverse=True, return_counts=True)
    means = np.bincount(which, either) / times
    value = isotonic_regression(means, weights=times.astype(np.float64)).x
    kept = np.concatenate(([True], np.diff(value) > 1e-12)) | np.concatenate((np.diff(value) > 1e-12, [True]))
    return Isotonic(at=tuple(at[kept].tolist()), value=tuple(np.clip(value[kept], 0.0, 1.0).tolist()))


def curve(probabilities: ArrayLike, shares: ArrayLike, bins: int = 10) -> list[tuple[float, float, int]]:
    """Return the reliability curve: for each bin of equal width its mean probability, people's share, and its pairs.

    Each pair is taken in both orders, so that the curve turns about the middle as the map does. Empty bins are left
    out.
    """
    p, y = _checked(probabilities, shares)
    both, either = np.concatenate((p, 1 - p)), np.concatenate((y, 1 - y))
    place = np.searchsorted(np.arange(1, bins) / bins, both, side="left")
    counts = np.bincount(place, minlength=bins)
    sums, hits = np.bincount(place, both, bins), np.bincount(place, either, bins)
    return [(float(sums[i] / counts[i]), float(hits[i] / counts[i]), int(counts[i])) for i in np.flatnonzero(counts)]


def mended(map: Temperature | Isotonic, probabilities: ArrayLike) -> Floats:
    """Return (n,) the map's probabilities."""
    return np.array([map(p) for p in np.asarray(probabilities, np.float64)])


def _checked(probabilities: ArrayLike, shares: ArrayLike) -> tuple[Floats, Floats]:
    p, y = np.asarray(probabilities, np.float64), np.asarray(shares, np.float64)
    if p.shape != y.shape or p.ndim != 1 or not p.size:
        raise ValueError(f"expected as many shares as probabilities, and at least one: {y.shape}, {p.shape}")
    if not ((p >= 0) & (p <= 1) & (y >= 0) & (y <= 1)).all():
        raise ValueError("expected probabilities and shares between 0 and 1")
    return p, y


def _odds(p: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        odds: Floats = np.clip(np.log(p) - np.log1p(-p), -CLIP, CLIP)
    return odds


def _logistic(odds: Floats) -> Floats:
    return 1 / (1 + np.exp(-odds))
