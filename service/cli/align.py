"""``cai align``: the chain from principles and prompts to a trained policy, from the command line."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli import QUARANTINED, STOPPED
from service.cli.columns import Column
from service.cli.options import EMBEDDED, JudgeSpecs, Limit, Modes, Out, Principles, Seed
from service.cli.progress import Bar

if TYPE_CHECKING:
    from critic.run.execute import Progress


class AlignMethod(StrEnum):
    """How the policy learns from preferences."""

    dpo = "dpo"
    ppo = "ppo"


def align(
    principles: Principles,
    prompts: Annotated[str, typer.Option(help="JSON Lines, JSON, CSV, Parquet, text, or a dataset.")],
    out: Out,
    method: Annotated[AlignMethod, typer.Option(help="How the policy learns from preferences.")] = AlignMethod.dpo,
    policy: Annotated[str, typer.Option(help="What is trained: embedded, hf:PATH_OR_ID ...")] = "embedded",
    judge: JudgeSpecs = EMBEDDED,
    mode: Modes = None,
    held_out: Annotated[float, typer.Option(help="The share of prompts kept for the report.")] = 0.25,
    limit: Limit = None,
    seed: Seed = 0,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STAGE.KEY=VALUE]...", help="Settings of generate, sft, reward, dpo, ppo, evaluate."),
    ] = None,
    column: Column = None,
) -> None:
    """Generate, train, and compare before and after on held-out prompts: the whole chain."""
    from transformers.utils import logging

    from critic.engines.base import RunStopped
    from service.align import AlignRequest
    from service.align import align as run
    from service.align.report import figures
    from service.align.request import read_settings
    from service.cli.steps import StepBar

    request = AlignRequest(
        principles, prompts, tuple(judge), tuple(mode or ()), policy, method.value, held_out, limit, seed,
        read_settings(settings or []), column,
    )  # fmt: skip
    logging.disable_progress_bar()
    rows, steps = _Rows(), StepBar()
    try:
        found = run(request, out, tell=_say, on_progress=rows.update, callbacks=[steps])
    except (KeyboardInterrupt, RunStopped) as reason:
        because = f": {reason}" if str(reason) else ""
        typer.echo(f"Stopped{because}. The same command goes on from here.", err=True)
        raise typer.Exit(STOPPED) from None
    finally:
        rows.close()
        steps.close()
    for name, share in figures(found):
        typer.echo(f"{name}: {share['estimate']:.2f} ({share['low']:.2f} to {share['high']:.2f})")
    for side in ("before", "after"):
        if words := found[side]["words"]:
            typer.echo(f"words {side}: {words['estimate']:.1f}")
    typer.echo(f"model:  {out}/policy/\nreport: {out}/report.html")
    if any(stage.get("refused") or stage.get("quarantined") for stage in found["stages"].values()):
        typer.echo("Some rows were refused; refused.jsonl and quarantine.jsonl of the stages name them.")
        raise typer.Exit(QUARANTINED)


def _say(stage: str, text: str) -> None:
    typer.echo(f"{stage + ':':10}{text}")


class _Rows:
    """The bar of the run that makes the data; it appears with the first call."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._done = 0

    def update(self, standing: "Progress", calls: int, total: int | None) -> None:
        """Show where the run stands."""
        if self._bar is None and total:
            self._bar = Bar("prompts", total)
            self._bar.__enter__()
        done = standing.rows + standing.skipped + standing.quarantined
        while self._bar is not None and self._done < done:
            self._done += 1
            self._bar.advance()
        if total and done >= total:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.__exit__()
            self._bar = None
