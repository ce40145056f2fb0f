"""A small linear model over a comparison's features, fitted on people's labels and cross-validated.

Logistic regression without an intercept, so that exchanging the responses mirrors the probability; features are
scaled by their root mean square, and an L2 penalty of one label's weight keeps few labels from deciding too much.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from base.errors import InputError
from critic.records import Record

Array = NDArray[np.float64]


class LinearModel(Record):
    """Weights of features, in log-odds a unit, with where they come from.

    ``accuracy`` is the share of held-out labels that folds of a cross-validation got right.
    """

    weights: dict[str, float] = Field(min_length=1)
    judge: str
    revision: str
    labels: int
    accuracy: float

    def log_odds(self, features: Mapping[str, float]) -> float:
        """Return the log-odds that the first response is better."""
        return math.fsum(weight * features[name] for name, weight in self.weights.items())


def read_model(value: Any) -> Any:
    """Read a model's file where ``value`` names one."""
    if not isinstance(value, str):
        return value
    try:
        return LinearModel.model_validate_json(Path(value).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the model can't be read: {error.strerror}", where=value) from None
    except (ValidationError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"this is no linear model: {error}", where=value, fix="`cai evaluate judge --fit FILE` writes one"
        ) from None


def fit(features: Sequence[Mapping[str, float]], first_is_better: Sequence[float]) -> dict[str, float]:
    """Return the weights of highest penalised likelihood. Labels are probabilities, 1 where the first is better."""
    names = sorted(features[0])
    rows = []
    for row in features:
        rows.append([row[name] for name in names])
    x_NF = np.array(rows)
    scale_F = np.sqrt((x_NF**2).mean(axis=0))
    scale_F[scale_F == 0] = 1.0
    weights_F = _fit(x_NF / scale_F, np.asarray(first_is_better, dtype=float)) / scale_F
    return dict(zip(names, weights_F.tolist(), strict=True))


def cross_validate(
    features: Sequence[Mapping[str, float]], first_is_better: Sequence[float], folds: Sequence[int]
) -> list[float]:
    """Return each comparison's log-odds by a model fitted on the labels of the other folds."""
    predicted = [0.0] * len(features)
    for fold in set(folds):
        rest = [i for i, number in enumerate(folds) if number != fold]
        sides = [first_is_better[i] for i in rest]
        weights = fit([features[i] for i in rest], sides)
        for i in (i for i, number in enumerate(folds) if number == fold):
            predicted[i] = math.fsum(weight * features[i][name] for name, weight in weights.items())
    return predicted


def _fit(x_NF: Array, y_N: Array) -> Array:
    # Late: every command that names a mode imports this, few fit anything, and it is half of what they import.
    from scipy.optimize import minimize
    from scipy.special import expit

    def loss(w_F: Array) -> tuple[float, Array]:
        logits_N = x_NF @ w_F
        nll = float(np.logaddexp(0, logits_N).sum() - (y_N * logits_N).sum() + 0.5 * (w_F**2).sum())
        gradient: Array = x_NF.T @ (expit(logits_N) - y_N) + w_F
        return nll, gradient

    weights_F: Array = minimize(loss, np.zeros(x_NF.shape[1]), jac=True, method="L-BFGS-B").x
    return weights_F
