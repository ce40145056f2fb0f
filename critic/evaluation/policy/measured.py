"""What was asked for a report on policies: what they said, how they were judged, what they scored; raw, by prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from critic.evaluation.policy.answers import TextLikelihood, Texts
from critic.evaluation.policy.matches import Match
from critic.evaluation.policy.tax import MultipleChoice
from critic.records import Prompt

HELD_OUT, RED_TEAM, SAFE = "held-out", "red-team", "safe"

Likelihoods = Sequence[tuple[TextLikelihood | None, ...]]


@dataclass(frozen=True, slots=True)
class Drift:
    """Likelihoods, by prompt and sample: of the policy's own answers, and of the base's, under the policy and the base.

    ``refusal`` says why there are none.
    """

    own_by_policy: Likelihoods = ()
    own_by_base: Likelihoods = ()
    base_by_policy: Likelihoods = ()
    base_by_base: Likelihoods = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class MeasuredPolicies:
    """``names`` are the policies, the base first. ``texts`` are by set of prompts, then by policy, then by prompt.

    ``matches`` are by set, ``drift`` by policy (nothing for the base), ``exam`` by policy and question, ``rewards`` by
    policy, prompt and sample of the held-out prompts. ``people`` are matches by people's labels.
    """

    names: tuple[str, ...]
    samples: int
    prompts: Mapping[str, Sequence[Prompt]]
    texts: Mapping[str, Sequence[Sequence[Texts]]]
    matches: Mapping[str, Sequence[Match]] = field(default_factory=dict)
    judged_by: Mapping[str, str] = field(default_factory=dict)
    drift: Sequence[Drift | None] = ()
    questions: Sequence[MultipleChoice] = ()
    exam: Sequence[Sequence[float | None]] = ()
    reward_name: str = ""
    rewards: Sequence[Sequence[tuple[float | None, ...]]] = ()
    people: Sequence[Match] = ()
    leaks: Sequence[str] = ()
