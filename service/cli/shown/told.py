"""What ``cai generate`` and ``cai judge`` say at their end, for people and as JSON."""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from critic.engines import kinds, parse_spec
from critic.run.folder.store import RunStore
from critic.run.plan import Plan, embedded_seconds
from critic.run.request import RunRequest
from critic.run.run import Outcome
from service.cli.shown.display import clean
from service.cli.shown.rate import duration
from service.cli.shown.reasons import dropped
from service.cli.shown.turned import print_turned, turned_json
from service.cli.shown.voice import say


def print_outcome(outcome: Outcome, out: Path) -> None:
    """Say what a start of a run did, what was lost and why, and where the results are."""
    standing, results = outcome.progress, outcome.results
    files = results.exported.files
    before = f", {standing.skipped} of them before" if standing.skipped else ""
    drops = results.statistics.drops
    lines = {
        "rows": f"{results.exported.rows} done{before}; {results.quarantined.total()} quarantined",
        "pairs": f"{files['pairs'].records}; {drops.total()} drops",
        "calls": f"{outcome.calls} in {outcome.seconds:.1f} s; {results.calls} in all",
        "results": f"{out}/ (pairs, sft, feedback, README.md, manifest.json, report.html)",
    }
    for name, value in lines.items():
        say(f"{name + ':':9}{value}")
        if name == "pairs":
            for what, reason, meaning, count in dropped(drops):
                say(f"{'':9}{count:,} {what}{'' if count == 1 else 's'}: {reason} ({meaning})")
    if outcome.turned is not None:
        print_turned(outcome.turned, out)
    for warning in results.warnings():
        say(clean(f"warning: {warning}"))
    for cause in results.causes:
        say(clean(f"quarantined: {cause}"))
    if standing.stopped:
        say(f"Stopped early: {clean(standing.stopped)}")
        say("Nothing that was answered is lost: the command goes on from here.")
    if standing.quarantined:
        say(f"{out}/quarantine.jsonl names each quarantined row and why. The same command tries them again.")


def outcome_json(outcome: Outcome, out: Path) -> dict[str, Any]:
    """Return the same as plain data."""
    standing, results = outcome.progress, outcome.results
    drops = sorted(results.statistics.drops.items())
    causes = [asdict(cause) for cause in results.causes]
    return {
        "directory": str(out),
        "rows": results.exported.rows,
        "rows_before": standing.skipped,
        "pairs": results.exported.files["pairs"].records,
        "drops": [{"what": what, "reason": reason, "count": count} for (what, reason), count in drops],
        "quarantined": dict(results.quarantined),
        "causes": causes,
        "calls": outcome.calls,
        "calls_in_all": results.calls,
        "seconds": round(outcome.seconds, 3),
        "stopped": standing.stopped,
        "changed": None if outcome.turned is None else turned_json(outcome.turned),
        "warnings": results.warnings(),
    }


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return what a run would ask for as plain data."""
    return {
        "rows": plan.rows,
        "quarantined": dict(plan.reasons),
        "first_quarantined": plan.first,
        "calls": plan.calls,
        "completions": plan.completions,
        "reads": plan.reads,
        "prompt_tokens": plan.prompt_tokens,
        "completion_tokens": plan.completion_tokens,
        "cost": plan.cost,
        "plain_tokens": plan.plain_tokens,
        "thought_tokens": plan.thought_tokens,
        "thought_cost": plan.thought_cost,
    }


def print_plan(plan: Plan, request: RunRequest, out: Path) -> None:
    """Say what a run would ask for, and what that takes."""
    lines = [
        f"{plan.rows} rows to run" + (f", {plan.quarantined} quarantined at reading" if plan.quarantined else ""),
        *(f"  {reason}: {count:,}, as {clean(plan.first[reason])}" for reason, count in plan.reasons.most_common()),
        f"{plan.calls:,} calls at most: {plan.completions:,} completions, {plan.reads:,} reads of log-probabilities",
        f"about {plan.prompt_tokens:,} prompt tokens, at most {plan.completion_tokens:,} generated tokens",
        *_unknown_before_opening(plan, request),
        *_time_and_cost(plan, request, out),
    ]
    typer.echo("\n".join(lines))


def _unknown_before_opening(plan: Plan, request: RunRequest) -> list[str]:
    """What is to be added where engines turn out to be of another kind when they are opened."""
    specs = [parse_spec(text) for text in dict.fromkeys((*request.judges, *filter(None, [request.policy])))]
    lines = []
    if plan.plain_tokens:
        proved = ", ".join(str(spec) for spec in specs if kinds()[spec.kind].proves)
        lines.append(
            f"up to {plan.plain_tokens:,} prompt tokens more where a model takes the plain path, which shares no "
            f"beginnings: {proved}"
        )
    if plan.thought_tokens:
        thinking = ", ".join(str(spec) for spec in specs if spec.room)
        cost = f", which cost up to ${plan.thought_cost:,.2f}" if plan.thought_cost else ""
        lines.append(
            f"up to {plan.thought_tokens:,} generated tokens more{cost}, where a model thinks first: {thinking}"
        )
    return lines


def _time_and_cost(plan: Plan, request: RunRequest, out: Path) -> list[str]:
    """Time by this directory's own pace, else by the embedded model's; cost, where an engine has a price."""
    lines = []
    rows, seconds = 0, 0.0
    specs = {*request.judges, *([request.policy] if request.policy is not None else [])}
    if (out / "run.db").is_file():
        with closing(RunStore.open_existing(out)) as store:
            rows, seconds = store.pace()
            lines.append(f"{out} holds {store.calls():,} committed calls; none of them would be made again")
    if rows:
        whole = plan.rows * seconds / rows
        lines.append(f"about {duration(whole)} for all rows, at this run's {seconds / rows:.2g} s a row so far")
    elif specs == {"embedded"}:
        slow, fast = (duration(embedded_seconds(plan, amx=amx)) for amx in (False, True))
        lines.append(f"at most about {slow} with the embedded model on two cores, {fast} where they have AMX")
    else:
        lines.append("time: unknown before some rows have run; run --limit 5, then plan again with the same --out")
    if plan.cost is not None:
        return [
            *lines,
            f"cost: at most about ${plan.cost:,.2f} at the prices given; engines without prices count as free",
        ]
    if any(spec.startswith("openai:") for spec in specs):
        return [*lines, "cost: what the server charges for these tokens; give input_price and output_price in its spec"]
    return [*lines, "cost: none but time; every engine named runs on this machine"]
