"""``cai evaluate policy``: what training made of a policy, before and after."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from base.errors import InputError
from constitution import load
from critic.engine import RunStopped, Sampling
from critic.evaluation.policy.alarms import sentences
from critic.evaluation.policy.figures import figures
from critic.evaluation.policy.leakage import GENERATOR, JUDGE, MEASURED_BY, POLICY, FamilySeat, leaks
from critic.evaluation.policy.matches import Match
from critic.evaluation.policy.measure import PolicyPlan, measure
from critic.evaluation.policy.measured import HELD_OUT, RED_TEAM, SAFE, MeasuredPolicies
from critic.evaluation.policy.people import labelled
from critic.evaluation.policy.report import report, samples
from critic.evaluation.policy.tax import read_exam
from critic.files.inputs import read_labelled, read_prompts
from critic.files.shapes import naming
from critic.records import Line, Prompt, Quarantined
from critic.run.family import families
from critic.run.folder.reading import open_rows, read_config
from critic.run.folder.results import replace_text
from critic.run.folder.store import RunStore
from critic.run.request import RunRequest, check
from critic.settings.measuring import PolicySettings
from service.cli.exits import STOPPED
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.shown.display import clean
from service.cli.shown.voice import Quiet, say

MAX_CHARACTERS = 32_000


@expand
def policy(
    settings: PolicySettings,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Measure policies before and after training: wins, refusals, drift, alignment tax, reward hacking; one report."""
    if settings.shots and settings.choices is None:
        raise InputError("there are no questions to show shots before", where="--shots", fix="Add --choices DIR.")
    if settings.people is not None and settings.reward is None:
        raise InputError("people's labels are compared with a reward", where="--people", fix="Add --reward rm:PATH.")
    out, column = settings.out, settings.column
    checked = check(RunRequest(settings.principles, settings.prompts, settings.judge, None, settings.mode, {}))
    files = {HELD_OUT: settings.prompts, RED_TEAM: settings.red_team, SAFE: settings.safe}
    exam = None
    if settings.choices is not None:
        exam = read_exam(settings.choices, settings.shots, settings.choices_limit)
    plan = PolicyPlan(
        policies=settings.policies,
        prompts={name: _prompts(file, settings.limit, column) for name, file in files.items() if file is not None},
        judges=checked.seats,
        constitution=checked.constitution,
        harmless=load(settings.harmless),
        sampling=Sampling(settings.max_tokens, settings.temperature),
        samples=settings.samples,
        seed=settings.seed,
        exam=exam,
        reward=settings.reward,
    )
    try:
        measured = asyncio.run(_measure(plan, out, as_json))
    except (RunStopped, KeyboardInterrupt) as reason:
        because = f": {reason}" if str(reason) else ""
        say(f"Stopped{because}; the same command goes on from here.", err=True)
        raise typer.Exit(STOPPED) from None
    measured = _with_people_and_leaks(measured, plan, settings.people, settings.learnt_from, column)
    told = figures(measured)
    _write(out, told, measured)
    if as_json:
        typer.echo(json.dumps(told, indent=2, allow_nan=False))
        return
    for sentence in sentences(told):
        say(clean(f"warning: {sentence}"))
    _print(told, out)


def _prompts(source: str, limit: int | None, column: str | None) -> list[Prompt]:
    """The prompts of a file, each once. Raises `InputError` where there are none, and where one can't be read."""
    prompts: dict[str, Prompt] = {}
    rows = read_prompts(source, max_chars=MAX_CHARACTERS, truncate=False, columns=naming(column))
    for row in islice(rows, limit):
        if isinstance(row, Quarantined):
            raise InputError(row.detail, where=row.where, fix="Mend the row, or leave it out.")
        prompts.setdefault(row.item.prompt.key, row.item.prompt)
    if not prompts:
        raise InputError("the file holds no prompts", where=source)
    return list(prompts.values())


async def _measure(plan: PolicyPlan, out: Path, as_json: bool) -> MeasuredPolicies:
    config = {"kind": "policy", "policies": list(plan.policies)}
    with closing(RunStore.open(out / "answers", config, extend=True)) as store:
        return await measure(plan, store, lambda text: say(clean(text), err=as_json))


def _with_people_and_leaks(
    measured: MeasuredPolicies, plan: PolicyPlan, people: str | None, runs: Sequence[Path], column: str | None
) -> MeasuredPolicies:
    matches: tuple[Match, ...] = ()
    if people is not None:
        rows = read_labelled(people, max_chars=MAX_CHARACTERS, columns=naming(column))
        matches = tuple(labelled((row for row in rows if isinstance(row, Line)), measured))
        if not matches:
            raise InputError(
                "none of its rows is about two of these answers",
                where=people,
                fix="Have people compare what answers.jsonl holds.",
            )
    return replace(measured, people=matches, leaks=_leaks(plan, runs))


def _leaks(plan: PolicyPlan, runs: Sequence[Path]) -> list[str]:
    named = [(POLICY, policy) for policy in plan.policies]
    named += [(MEASURED_BY, str(spec)) for spec, _ in plan.judges]
    for run in runs:
        with closing(open_rows(run)) as store:
            config = read_config(store, run)
        named += [(JUDGE, seat.judge.name) for seat in config.jury]
        named += [(GENERATOR, config.policy.name)] if config.policy is not None else []
    return leaks(FamilySeat(role, name, families(name)) for role, name in named)


def _write(out: Path, told: dict[str, Any], measured: MeasuredPolicies) -> None:
    rows = []
    for name, by_policy in measured.texts.items():
        for policy, texts in zip(measured.names, by_policy, strict=True):
            for prompt, answers in zip(measured.prompts[name], texts, strict=True):
                rows.append(
                    {
                        "set": name,
                        "policy": policy,
                        "prompt": [m.model_dump() for m in prompt.messages],
                        "answers": answers,
                    }
                )
    replace_text(out / "answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    replace_text(out / "policy.html", report(told, samples(measured)))
    replace_text(out / "policy.json", json.dumps(told, indent=2, allow_nan=False) + "\n")


def _print(told: dict[str, Any], out: Path) -> None:
    for name, policies in told["wins"].items():
        for policy, groups in policies.items():
            for group, own in groups.items():
                which = f"{name}, {policy}" + ("" if group == "all" else f", {group}")
                say(clean(f"win rate ({which}): {_said(own['win rate'])}"))
    for name, policies in told["answers"].items():
        for policy, own in policies.items():
            say(clean(f"refused ({name}, {policy}): {_said(own['refused'])}"))
    for policy, own in told["tax"].items():
        say(clean(f"multiple choice ({policy}): {_said(own['accuracy'])}"))
    say(f"report: {out}/policy.html")


def _said(figure: dict[str, Any]) -> str:
    if "refusal" in figure:
        return str(figure["refusal"])
    return f"{figure['estimate']:.2f} ({figure['low']:.2f} to {figure['high']:.2f}, n = {figure['n']})"
