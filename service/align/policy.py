"""The last stage's report on the policy: what `cai evaluate policy` measures, on the chain's own answers.

What the chain's judge said of the held-out answers is taken over, so that nobody is asked twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from base.errors import InputError
from critic.calls.ledger import Ledger
from critic.engines import parse_spec
from critic.evaluation.policy.leakage import GENERATOR, JUDGE, MEASURED_BY, POLICY, FamilySeat, leaks
from critic.evaluation.policy.matches import Match
from critic.evaluation.policy.measure import PolicyPlan, measure
from critic.evaluation.policy.measured import HELD_OUT, RED_TEAM, SAFE, MeasuredPolicies
from critic.evaluation.policy.tax import Exam, read_exam
from critic.records import Line, Prompt
from critic.run.config import RunSettings
from critic.run.family import families
from service.align import prompts as prompting
from service.align.request import ChainRequest

SAMPLES = 2
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """The settings of the stage: ``evaluate.samples=3 evaluate.safe=FILE`` and so on.

    ``red_team`` and ``safe`` are files of prompts, ``choices`` a folder in MMLU's form, of which ``choices_limit``
    questions are asked.
    """

    samples: int = SAMPLES
    red_team: str | None = None
    safe: str | None = None
    choices: str | None = None
    choices_limit: int | None = None

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> "EvaluateSettings":
        """Check what a person gave. Raises `InputError`."""
        where = "settings of evaluate"
        names = [field.name for field in fields(cls)]
        if unknown := [name for name in given if name not in names]:
            raise InputError(f"there is no setting {unknown[0]!r}", where=where, fix=f"There are {', '.join(names)}.")
        for name in ("samples", "choices_limit"):
            if name in given and (not isinstance(given[name], int) or given[name] < 1):
                raise InputError(f"{name} is a number above 0, not {given[name]!r}", where=where)
        for name in ("red_team", "safe", "choices"):
            if name in given and not isinstance(given[name], str):
                raise InputError(f"{name} is the name of a file or folder, not {given[name]!r}", where=where)
        return cls(**given)

    def prompts(self) -> Iterator[tuple[str, list[Prompt]]]:
        """The sets of prompts beside the held-out ones. Raises `InputError` for files that can't be read."""
        for name, file in ((RED_TEAM, self.red_team), (SAFE, self.safe)):
            if file is not None:
                lines, _ = prompting.read(file, None)
                yield name, [line.item.prompt for line in lines]

    def exam(self) -> Exam | None:
        """The questions, where there are any."""
        return read_exam(Path(self.choices), 0, self.choices_limit) if self.choices is not None else None


def check_readable(request: ChainRequest) -> None:
    """Read what the last stage will read, before anything is trained. Raises `InputError`."""
    evaluation = EvaluateSettings.read(request.settings.get("evaluate", {}))
    dict(evaluation.prompts())
    evaluation.exam()


async def measured(
    request: ChainRequest, settings: RunSettings, lines: Sequence[Line], trained: str, ledger: Ledger
) -> MeasuredPolicies:
    """Ask both policies, the base first; the held-out answers are judged by the chain."""
    evaluation = EvaluateSettings.read(request.settings.get("evaluate", {}))
    plan = PolicyPlan(
        policies=(request.policy, trained),
        prompts={HELD_OUT: [line.item.prompt for line in lines], **dict(evaluation.prompts())},
        judges=(),
        constitution=None,
        harmless=None,
        sampling=settings.policy_sampling(),
        samples=evaluation.samples,
        seed=request.seed,
        exam=evaluation.exam(),
        names=(BEFORE, AFTER),
    )
    return await measure(plan, ledger)


def matches(
    measured: MeasuredPolicies, outcomes: Mapping[tuple[str, tuple[str, str]], Sequence[float | None]]
) -> list[Match]:
    """What the chain's judge said, as matches of the trained policy against the base."""
    made = []
    before, after = measured.texts[HELD_OUT]
    for place, prompt in enumerate(measured.prompts[HELD_OUT]):
        for sample, (one, other) in enumerate(zip(before[place], after[place], strict=True)):
            if one is None or other is None:
                continue
            said = [0.5] if one == other else outcomes.get((prompt.key, (one, other)), [None])
            for win in said:
                made.append(Match(place, 0, 1, sample, None, win, len(other) - len(one), one == other))
    return made


def leaking(request: ChainRequest) -> list[str]:
    """Whether one family sits in several of the chain's seats. A rule is of no family."""
    judges = [str(parse_spec(judge)) for judge in request.judges]
    named = [(GENERATOR, request.policy), (POLICY, request.policy)]
    named += [(role, judge) for judge in judges for role in (JUDGE, MEASURED_BY)]
    return leaks(FamilySeat(role, name, families(name)) for role, name in named)
