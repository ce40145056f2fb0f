"""How strong models are by people's comparisons of their answers, and how reliable people are by those strengths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from critic.evaluation.agreement.units import Said
from critic.feedback.from_file import GIVEN
from critic.statistics.intervals import Figure, few
from critic.statistics.people.bradley_terry import bradley_terry, with_reliability
from critic.statistics.policies.strengths import ELO


@dataclass(frozen=True, slots=True)
class ModelStrengths:
    """By model, in Elo's points around their mean: ``strengths`` as people compare them, with intervals over prompts.

    ``weighed`` are those of a person without slips: what each says counts by their ``reliability``, which is how often
    they say what the strengths say. ``why_not`` says why there is none of it.
    """

    strengths: Mapping[str, Figure]
    weighed: Mapping[str, float]
    reliability: Mapping[str, float]
    why_not: str = ""


def model_strengths(labels: Sequence[Said]) -> ModelStrengths | None:
    """Return the strengths of the models whose answers people compared; None where no two named ones were."""
    told = [(one, *one.models) for one in labels if one.models is not None and _are_two(*one.models)]
    if not told:
        return None
    prompts = [one.prompt for one, _, _ in told]
    if note := few(len(set(prompts)), "prompt"):
        return ModelStrengths({}, {}, {}, note)
    ones = [model for _, model, _ in told]
    others = [model for _, _, model in told]
    names = sorted({*ones, *others})
    place = {name: number for number, name in enumerate(names)}
    first = [place[name] for name in ones]
    second = [place[name] for name in others]
    said = [one.value for one, _, _ in told]
    people = [one.annotator for one, _, _ in told]
    try:
        alike = bradley_terry(first, second, said, prompts)
    except ValueError as error:
        return ModelStrengths({}, {}, {}, f"{str(error).capitalize()}.")
    weighed = with_reliability(first, second, said, people)
    counts = np.bincount([*first, *second], minlength=len(names)).tolist()
    figures = {}
    for number, name in enumerate(names):
        value, low, high = (ELO * float(side[number]) for side in (alike.strengths, alike.low, alike.high))
        figures[name] = Figure(value, low, high, counts[number], alike.clusters)
    return ModelStrengths(
        figures,
        dict(zip(names, (ELO * weighed.strengths).tolist(), strict=True)),
        dict(zip(sorted(set(people)), weighed.reliability.tolist(), strict=True)),
    )


def _are_two(one: str, other: str) -> bool:
    """Whether two models are told apart: those that nobody named are all called `GIVEN`."""
    return one != other and GIVEN not in (one, other)
