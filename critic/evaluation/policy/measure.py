"""Ask everything that a report on policies needs. Models are open one at a time; every answer goes through a ledger."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError
from base.together import together
from constitution import Constitution
from critic.calls.ledger import Budget, Ledger, RecordedEngine
from critic.engine import Engine, EngineError, Node, Reward, Sampling
from critic.engine_kinds.capabilities import LIKELIHOODS, NONE
from critic.engines import Spec, check_spec, expect, open_engine, parse_spec
from critic.evaluation.policy.answers import Texts, answers, likelihoods
from critic.evaluation.policy.matches import Match, play
from critic.evaluation.policy.measured import HELD_OUT, RED_TEAM, Drift, Likelihoods, MeasuredPolicies
from critic.evaluation.policy.tax import Exam, sit
from critic.judging import settled
from critic.judging.base import Mode
from critic.judging.jury import Juror, Jury
from critic.records import Message, Prompt
from critic.settings.judging import Pooling

Tell = Callable[[str], None]

_POOLING = Pooling()


@dataclass(frozen=True, slots=True)
class PolicyPlan:
    """What is to be measured. ``policies`` are engines' specs, the base first.

    ``prompts`` are by set (`critic.evaluation.policy.measured`). Held-out prompts are judged under ``constitution``,
    red-team ones under ``harmless``; without a constitution a set isn't judged. ``reward`` is a reward model's spec.
    ``names`` are the policies' in the report; by default what their specs name.
    """

    policies: tuple[str, ...]
    prompts: Mapping[str, Sequence[Prompt]]
    judges: tuple[tuple[Spec, Mode], ...]
    constitution: Constitution | None
    harmless: Constitution | None
    sampling: Sampling
    samples: int = 1
    seed: int = 0
    pooling: Pooling = _POOLING
    exam: Exam | None = None
    reward: str | None = None
    drift: bool = True
    names: tuple[str, ...] | None = None


async def measure(plan: PolicyPlan, ledger: Ledger, tell: Tell = lambda text: None) -> MeasuredPolicies:
    """Return what the policies said and how they were judged. Raises `InputError` and `RunStopped`."""
    if len(plan.policies) < 2:
        raise InputError("one policy has nothing to be compared with", fix="Name the base and at least one trained.")
    names = plan.names or _names(plan.policies)
    giving = _giving(plan.reward)
    judges = [spec for spec, _ in plan.judges] if plan.constitution or plan.harmless else []
    for spec in (*map(parse_spec, plan.policies), *judges, *([giving] if giving else ())):
        check_spec(spec)  # each is opened once those before it have answered
        expect(spec)
    texts: dict[str, list[list[Texts]]] = {name: [] for name in plan.prompts}
    exam: list[list[float | None]] = []
    own: list[Likelihoods] = []
    base_by: list[Likelihoods] = []
    able: list[str] = []
    for policy, name in zip(plan.policies, names, strict=True):
        tell(f"answers of {name}")
        engine = RecordedEngine(open_engine(parse_spec(policy)), ledger, Budget())
        try:
            for which, prompts in plan.prompts.items():
                texts[which].append(await answers(engine, prompts, plan.sampling, plan.samples, plan.seed))
            if plan.exam is not None:
                exam.append(await sit(engine, plan.exam))
            able.append(_unable(engine, plan))
            held_out = plan.prompts[HELD_OUT]
            own.append(() if able[-1] else await likelihoods(engine, held_out, texts[HELD_OUT][-1]))
            base_by.append(() if able[-1] else await likelihoods(engine, held_out, texts[HELD_OUT][0]))
        finally:
            await engine.close()
    drift = await _drift(plan, ledger, texts[HELD_OUT], own, base_by, able, tell)
    matches, judged_by = await _judged(plan, ledger, texts, tell)
    reward_name, rewards = await _rewards(giving, plan, ledger, texts[HELD_OUT], tell)
    return MeasuredPolicies(
        names=names,
        samples=plan.samples,
        prompts=plan.prompts,
        texts=texts,
        matches=matches,
        judged_by=judged_by,
        drift=drift,
        questions=plan.exam.questions if plan.exam is not None else (),
        exam=exam,
        reward_name=reward_name,
        rewards=rewards,
    )


def _names(specs: Sequence[str]) -> tuple[str, ...]:
    """Short names where they differ: the last part of a path."""
    if len(set(specs)) < len(specs):
        raise InputError("a policy is named twice", where=", ".join(specs))
    short = [Path(parse_spec(spec).target or spec).name for spec in specs]
    return tuple(short) if len(set(short)) == len(short) else tuple(specs)


def _unable(engine: Engine, plan: PolicyPlan) -> str:
    if not plan.drift:
        return "It was not asked for."
    if engine.capabilities.get(LIKELIHOODS) == NONE:
        return f"{engine.identity.name} reads no likelihoods of texts, so that its drift is not known."
    return ""


async def _drift(
    plan: PolicyPlan,
    ledger: Ledger,
    texts: Sequence[Sequence[Texts]],
    own: Sequence[Likelihoods],
    base_by: Sequence[Likelihoods],
    able: Sequence[str],
    tell: Tell,
) -> list[Drift | None]:
    """Read the trained policies' answers under the base, which is opened once more."""
    if not plan.drift:
        return []
    drifts: list[Drift | None] = [None]
    if able[0]:
        return [None, *(Drift(refusal=able[0]) for _ in plan.policies[1:])]
    tell("drift from the base")
    engine = RecordedEngine(open_engine(parse_spec(plan.policies[0])), ledger, Budget())
    try:
        for place in range(1, len(plan.policies)):
            if able[place]:
                drifts.append(Drift(refusal=able[place]))
                continue
            by_base = await likelihoods(engine, plan.prompts[HELD_OUT], texts[place])
            drifts.append(Drift(own[place], by_base, base_by[place], own[0]))
    finally:
        await engine.close()
    return drifts


async def _judged(
    plan: PolicyPlan, ledger: Ledger, texts: Mapping[str, Sequence[Sequence[Texts]]], tell: Tell
) -> tuple[dict[str, list[Match]], dict[str, str]]:
    under = {HELD_OUT: plan.constitution, RED_TEAM: plan.harmless}
    if not any(under.get(name) for name in plan.prompts):
        return {}, {}
    engines: dict[Spec, RecordedEngine] = {}
    matches: dict[str, list[Match]] = {}
    judged_by: dict[str, str] = {}
    try:
        jurors = []
        for spec, mode in plan.judges:
            if spec not in engines:
                engines[spec] = RecordedEngine(open_engine(spec), ledger, Budget())
            jurors.append(Juror(engines[spec], (await settled(mode, engines[spec]))[0]))
        jury = Jury(tuple(jurors))
        for name, prompts in plan.prompts.items():
            constitution = under.get(name)
            if constitution is not None:
                tell(f"{name} prompts judged under {constitution.ref}")
                matches[name] = await play(jury, constitution, prompts, texts[name], plan.pooling)
                judged_by[name] = f"{jury.judge}, under {constitution.ref}"
    finally:
        for engine in engines.values():
            await engine.close()
    return matches, judged_by


def _giving(reward: str | None) -> Spec | None:
    """The engine that gives rewards. Raises `InputError` for another one: before anything is asked, and paid for."""
    spec = None if reward is None else parse_spec(reward)
    if spec is not None and spec.gives != "rewards":
        raise InputError(f"{spec} gives {spec.gives}, and no rewards", where="--reward", fix="Name one: rm:PATH_OR_ID.")
    return spec


async def _rewards(
    spec: Spec | None, plan: PolicyPlan, ledger: Ledger, texts: Sequence[Sequence[Texts]], tell: Tell
) -> tuple[str, list[list[tuple[float | None, ...]]]]:
    if spec is None:
        return "", []
    tell(f"rewards of {spec}")
    engine = RecordedEngine(open_engine(spec), ledger, Budget())
    try:
        rewards = [await _rewarded(engine, plan.prompts[HELD_OUT], own) for own in texts]
        return engine.identity.name, rewards
    finally:
        await engine.close()


async def _rewarded(
    engine: Engine, prompts: Sequence[Prompt], texts: Sequence[Texts]
) -> list[tuple[float | None, ...]]:
    """The reward of each answer: of a model with several heads the mean is nobody's, so one is needed."""
    asked = [(prompt, text) for prompt, own in zip(prompts, texts, strict=True) for text in own]
    rewards = iter(await together(_reward(engine, prompt, text) for prompt, text in asked))
    by_prompt = []
    for own in texts:
        by_prompt.append(tuple(next(rewards) for _ in own))
    return by_prompt


async def _reward(engine: Engine, prompt: Prompt, text: str | None) -> float | None:
    if text is None:
        return None
    node = Node((Message(role="assistant", content=text),), Reward())
    try:
        [score] = await engine.score(Node(prompt.messages, children=(node,)))
    except EngineError:  # too long for the model, say
        return None
    if len(score.values) != 1:
        raise InputError(
            f"{engine.identity.name} has {len(score.values)} heads, one a group",
            where="--reward",
            fix="Name a reward model of one group: the mean of several is nobody's opinion.",
        )
    return score.values[0]
