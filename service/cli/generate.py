"""``cai generate`` and ``cai judge``: a run in a directory, from the command line."""

import asyncio
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from constitution.errors import InputError
from service.cli.columns import Column
from service.cli.run_display import RunDisplay

if TYPE_CHECKING:
    from critic.run.cluster_spec import Cluster
    from critic.run.plan import Plan
    from critic.run.request import RunRequest
    from critic.run.run import Outcome

EMBEDDED = ["embedded"]


class Strategy(StrEnum):
    """What is paired with what."""

    samples = "samples"
    revision = "revision"
    best_of_n = "best-of-n"


class Aggregation(StrEnum):
    """How principles' votes become one probability."""

    log_odds = "log-odds"
    probability = "probability"
    majority = "majority"
    minimum = "minimum"


class Format(StrEnum):
    """The exports' file format."""

    jsonl = "jsonl"
    parquet = "parquet"


Principles = Annotated[str, typer.Option(help="A constitution: FILE, NAME@VERSION, or NAME for its newest version.")]
Out = Annotated[Path, typer.Option(help="The run's directory. The same command again goes on where it stopped.")]
JudgeSpecs = Annotated[
    list[str],
    typer.Option(
        help="The engine that critiques, revises and judges: embedded, hf:PATH_OR_ID ... Several are a jury; the first "
        "that can write critiques and revises."
    ),
]
JudgePrinciples = Annotated[
    str, typer.Option(help="How many principles judge a comparison: all, or a number drawn for each.", metavar="all|K")
]
Modes = Annotated[
    list[str] | None,
    typer.Option(
        "--mode",
        help="The judge mode, as in logprob or cot?samples=4; one for all judges, or one for each. Default: by engine.",
    ),
]
AggregationOption = Annotated[Aggregation, typer.Option(help="How principles' votes are pooled.")]
Ranking = Annotated[
    bool, typer.Option("--ranking", help="Rank all answers by all comparisons, and pair by their ranks.")
]
TieBand = Annotated[float, typer.Option(help="A probability this near 0.5 is a tie, and makes no pair.")]
Seed = Annotated[int, typer.Option(help="All chance comes from it.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only the first N rows of the input.")]
MaxChars = Annotated[int, typer.Option(min=1, help="Quarantine longer prompts.")]
Truncate = Annotated[
    bool, typer.Option("--truncate", help="Cut prompts over --max-chars at their end, and count them.")
]
FormatOption = Annotated[Format, typer.Option(help="The exports' format.")]
WithReasoning = Annotated[
    bool, typer.Option("--with-reasoning", help="Export what models thought before they answered, too.")
]
RetestShare = Annotated[
    float,
    typer.Option(
        "--retest",
        min=0,
        max=1,
        help="The share of the votes that is asked twice, at least 8, where a judge's answers can differ; 0: none.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count calls and tokens; ask no engine.")]
MaxCalls = Annotated[int | None, typer.Option(min=0, help="A hard limit on the run's recorded calls.")]
MaxCost = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="A hard limit on the run's cost, in US dollars, at the prices in the engines' specs (input_price, "
        "output_price); it is passed by no more than the error of estimated prompt tokens.",
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        help="Run on a Ray cluster, and write its rows as Parquet shards: ray, or ray://HOST:PORT, with "
        "?actors=MIN-MAX&cpus=C&gpus=G&shard=ROWS as needed.",
        metavar="ray[://HOST:PORT]",
    ),
]
Extend = Annotated[bool, typer.Option("--extend", help="Go on in a directory whose run had another config.")]


def generate(
    principles: Principles,
    prompts: Annotated[str, typer.Option(help="JSON Lines, JSON, CSV, Parquet, text, - for stdin, or a dataset.")],
    out: Out,
    policy: Annotated[str, typer.Option(help="The engine that answers the prompts.")] = "embedded",
    judge: JudgeSpecs = EMBEDDED,
    samples: Annotated[int, typer.Option(help="Answers a prompt.")] = 2,
    revisions: Annotated[int, typer.Option(help="Rounds of critique and revision for each answer.")] = 1,
    judge_principles: JudgePrinciples = "all",
    strategy: Annotated[Strategy, typer.Option(help="What is paired.")] = Strategy.samples,
    mode: Modes = None,
    tie_band: TieBand = 0.02,
    aggregation: AggregationOption = Aggregation.log_odds,
    ranking: Ranking = False,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(help="Of the policy's answers; 0 is greedy.")] = 1.0,
    judge_max_tokens: Annotated[int, typer.Option(help="Longest critique and revision, in tokens.")] = 256,
    judge_temperature: Annotated[float, typer.Option(help="Of critiques and revisions.")] = 0.7,
    seed: Seed = 0,
    limit: Limit = None,
    max_chars: MaxChars = 32_000,
    truncate: Truncate = False,
    format: FormatOption = Format.jsonl,
    with_reasoning: WithReasoning = False,
    retest: RetestShare = 0.01,
    dry_run: DryRun = False,
    max_calls: MaxCalls = None,
    max_cost: MaxCost = None,
    extend: Extend = False,
    on: On = None,
    column: Column = None,
) -> None:
    """Sample answers to prompts, critique, revise and compare them, and write preference pairs."""
    settings = {
        "samples": samples,
        "revisions": revisions,
        "judge_principles": principles_count(judge_principles),
        "strategy": strategy.value,
        "tie_band": tie_band,
        "aggregation": aggregation.value,
        "ranking": ranking,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "judge_max_tokens": judge_max_tokens,
        "judge_temperature": judge_temperature,
        "seed": seed,
    }
    from critic.run.request import RunRequest

    request = RunRequest(
        principles, prompts, tuple(judge), policy, tuple(mode or ()), settings, limit, max_chars, truncate, column
    )
    _start(request, out, format, with_reasoning, retest, dry_run, max_calls, max_cost, extend, on)


def judge(
    principles: Principles,
    pairs: Annotated[str, typer.Option(help="Prompts with 2 or more responses each, or chosen and rejected.")],
    out: Out,
    judge: JudgeSpecs = EMBEDDED,
    judge_principles: JudgePrinciples = "all",
    mode: Modes = None,
    tie_band: TieBand = 0.02,
    aggregation: AggregationOption = Aggregation.log_odds,
    ranking: Ranking = False,
    seed: Seed = 0,
    limit: Limit = None,
    max_chars: MaxChars = 32_000,
    truncate: Truncate = False,
    format: FormatOption = Format.jsonl,
    with_reasoning: WithReasoning = False,
    retest: RetestShare = 0.01,
    dry_run: DryRun = False,
    max_calls: MaxCalls = None,
    max_cost: MaxCost = None,
    extend: Extend = False,
    on: On = None,
    column: Column = None,
) -> None:
    """Compare answers that exist already, and write preference pairs."""
    settings = {
        "judge_principles": principles_count(judge_principles),
        "tie_band": tie_band,
        "aggregation": aggregation.value,
        "ranking": ranking,
        "seed": seed,
    }
    from critic.run.request import RunRequest

    request = RunRequest(
        principles, pairs, tuple(judge), None, tuple(mode or ()), settings, limit, max_chars, truncate, column
    )
    _start(request, out, format, with_reasoning, retest, dry_run, max_calls, max_cost, extend, on)


def principles_count(text: str) -> int | None:
    """Read ``--judge-principles``: None for all."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"{text!r} is not a number of principles", where="--judge-principles", fix="all, or 1, 2, ...")
    return int(text)


def _start(
    request: "RunRequest",
    out: Path,
    format: Format,
    with_reasoning: bool,
    retest: float,
    dry_run: bool,
    max_calls: int | None,
    max_cost: float | None,
    extend: bool,
    on: str | None,
) -> None:
    from critic.run.cluster_spec import parse_cluster
    from critic.run.run import dry_run as plan
    from critic.run.run import run

    cluster = parse_cluster(on) if on is not None else None
    if dry_run:
        planned = asyncio.run(plan(request, max_cost, out))
        _print_plan(planned, request, out)
        if retest:
            typer.echo(
                f"besides, {retest:.2g} of the votes, at least 8 principles', are asked twice where answers can differ"
            )
        if planned.quarantined:
            raise typer.Exit(3)
        return
    console = Console(stderr=True)
    try:
        with RunDisplay(console) as display:
            if cluster is not None:
                outcome = _on_cluster(
                    cluster, request, out, format, with_reasoning, retest, max_calls, max_cost, extend, display
                )
            else:
                outcome = asyncio.run(
                    run(
                        request,
                        out,
                        extend=extend,
                        max_calls=max_calls,
                        max_cost=max_cost,
                        format=format.value,
                        with_reasoning=with_reasoning,
                        retest_share=retest,
                        on_progress=display.update,
                    )
                )
    except KeyboardInterrupt:
        console.print("Stopped. Nothing that was answered is lost: the same command goes on from here.")
        raise typer.Exit(130) from None
    _print_outcome(outcome, out)
    if outcome.progress.stopped:
        raise typer.Exit(130)
    if outcome.progress.quarantined:
        raise typer.Exit(3)


def _on_cluster(
    cluster: "Cluster",
    request: "RunRequest",
    out: Path,
    format: Format,
    with_reasoning: bool,
    retest: float,
    max_calls: int | None,
    max_cost: float | None,
    extend: bool,
    display: "RunDisplay",
) -> "Outcome":
    """Do the run on a Ray cluster. Raises `InputError` for limits, which many engines at once can't hold."""
    limits = {"--max-calls": max_calls, "--max-cost": max_cost}
    if given := [name for name, limit in limits.items() if limit is not None]:
        raise InputError(
            "engines on many machines can't hold a hard limit together",
            where=given[0],
            fix="Limit the rows with --limit; --dry-run says what they cost.",
        )
    try:
        from critic.run.cluster import run_on
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise InputError("Ray is not installed", where="--on", fix="pip install 'cai-feedback[ray]'") from None
    return run_on(
        cluster,
        request,
        out,
        extend=extend,
        format=format.value,
        with_reasoning=with_reasoning,
        retest_share=retest,
        on_progress=display.update,
    )


def _print_plan(plan: "Plan", request: "RunRequest", out: Path) -> None:
    from service.cli.display import clean

    lines = [
        f"{plan.rows} rows to run" + (f", {plan.quarantined} quarantined at reading" if plan.quarantined else ""),
        *(f"  {reason}: {count:,}, as {clean(plan.first[reason])}" for reason, count in plan.reasons.most_common()),
        f"{plan.calls:,} calls at most: {plan.completions:,} completions, {plan.reads:,} reads of log-probabilities",
        f"about {plan.prompt_tokens:,} prompt tokens, at most {plan.completion_tokens:,} generated tokens",
        *_unknown_before_opening(plan, request),
        *_time_and_cost(plan, request, out),
    ]
    typer.echo("\n".join(lines))


def _unknown_before_opening(plan: "Plan", request: "RunRequest") -> list[str]:
    """What is to be added where engines turn out to be of another kind when they are opened."""
    from critic.engines import REGISTRY, parse_spec

    specs = [parse_spec(text) for text in dict.fromkeys((*request.judges, *filter(None, [request.policy])))]
    lines = []
    if plan.plain_tokens:
        proved = ", ".join(str(spec) for spec in specs if REGISTRY[spec.kind].proves)
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


def _time_and_cost(plan: "Plan", request: "RunRequest", out: Path) -> list[str]:
    """Time by this directory's own pace, else by the embedded model's; cost, where an engine has a price."""
    from critic.run.plan import embedded_seconds
    from critic.run.store import RunStore

    lines = []
    rows, seconds = 0, 0.0
    specs = {*request.judges, *([request.policy] if request.policy is not None else [])}
    if (out / "run.db").is_file():
        with closing(RunStore.open_existing(out)) as store:
            rows, seconds = store.pace()
            lines.append(f"{out} holds {store.calls():,} committed calls; none of them would be made again")
    if rows:
        whole = plan.rows * seconds / rows
        lines.append(f"about {_duration(whole)} for all rows, at this run's {seconds / rows:.2g} s a row so far")
    elif specs == {"embedded"}:
        slow, fast = (_duration(embedded_seconds(plan, amx=amx)) for amx in (False, True))
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


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _print_outcome(outcome: "Outcome", out: Path) -> None:
    standing, results = outcome.progress, outcome.results
    files = results.exported.files
    before = f", {standing.skipped} of them before" if standing.skipped else ""
    lines = {
        "rows": f"{results.exported.rows} done{before}; {results.quarantined.total()} quarantined",
        "pairs": f"{files['pairs'].records}; {results.statistics.drops.total()} drops, each with its reason",
        "calls": f"{outcome.calls} in {outcome.seconds:.1f} s; {results.calls} in all",
        "results": f"{out}/ (pairs, sft, feedback, README.md, manifest.json, report.html)",
    }
    for name, value in lines.items():
        typer.echo(f"{name + ':':9}{value}")
    for warning in results.warnings():
        typer.echo(f"warning: {warning}")
    for cause in results.causes:
        typer.echo(f"quarantined: {cause}")
    if standing.stopped:
        typer.echo(
            f"Stopped early: {standing.stopped}\nNothing that was answered is lost: the command goes on from here."
        )
    if standing.quarantined:
        typer.echo(f"{out}/quarantine.jsonl names each quarantined row and why. The same command tries them again.")
