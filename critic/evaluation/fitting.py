"""Fit the linear contrast on people's labels, and say what it is worth on labels that it has not seen."""

import asyncio
import math
from collections.abc import Callable, Sequence

from base.together import together
from constitution import Principle
from critic.calls.faults import Streak
from critic.engine import Engine, EngineError
from critic.evaluation.accuracy import IN_FLIGHT, Judged, Labelled
from critic.judging.base import Question
from critic.judging.linear import LinearModel, cross_validate, fit
from critic.judging.modes.contrast import read_features

Features = dict[str, float]


async def fit_contrast(
    engine: Engine, principle: Principle, labels: Sequence[Labelled], on_done: Callable[[], None] = lambda: None
) -> tuple[LinearModel, list[Judged]]:
    """Return the model fitted on all labels, and each label judged by a model fitted on the other folds.

    Labels whose likelihoods can't be read are unreadable, and fit nothing. Raises ValueError where none can be read.
    """
    outcomes = await _read(engine, principle, labels, on_done)
    read = [(label, features) for label, (features, _) in zip(labels, outcomes, strict=True) if features is not None]
    if not read:
        raise ValueError("no label could be read, so there is nothing to fit")
    features = [values for _, values in read]
    first_is_better = [float(label.better_is_first) for label, _ in read]
    folds = [label.fold for label, _ in read]
    held_out = iter(cross_validate(features, first_is_better, folds))
    judged = [
        Judged(label, _better(label, next(held_out))) if mine is not None else Judged(label, None, problem=problem)
        for label, (mine, problem) in zip(labels, outcomes, strict=True)
    ]
    rights = [j.right for j in judged if j.right is not None]
    model = LinearModel(
        weights=fit(features, first_is_better),
        judge=engine.identity.name,
        revision=engine.identity.revision,
        labels=len(read),
        accuracy=math.fsum(rights) / len(rights),
    )
    return model, judged


async def _read(
    engine: Engine, principle: Principle, labels: Sequence[Labelled], on_done: Callable[[], None]
) -> list[tuple[Features | None, str | None]]:
    """Return each label's features, or None and why."""
    slots, streak = asyncio.Semaphore(IN_FLIGHT), Streak()

    async def one(label: Labelled) -> tuple[Features | None, str | None]:
        shown = (label.better, label.worse) if label.better_is_first else (label.worse, label.better)
        question = Question(label.prompt, *shown, (principle,), seed=0)
        async with slots:
            try:
                [features] = await streak.do(lambda: read_features(engine, question))
            except EngineError as error:
                return None, str(error)
            finally:
                on_done()
        finite = all(math.isfinite(value) for value in features.values())
        return (features, None) if finite else (None, f"the likelihoods are no numbers: {features}")

    return await together(one(label) for label in labels)


def _better(label: Labelled, first: float) -> float:
    """Return the probability that the better answer is better, of the log-odds of the one shown first."""
    return 1 / (1 + math.exp(-first if label.better_is_first else first))
