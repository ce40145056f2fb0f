"""``cai align`` where PyTorch is there: the chain, with bars, and what came of it."""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import typer
from transformers.utils import logging

from critic.engine import RunStopped
from critic.run.execute import Progress
from service.align.chain import align as run
from service.align.report import figures, sentence
from service.align.request import ChainRequest
from service.cli.exits import QUARANTINED, STOPPED
from service.cli.shown.progress import Bar
from service.cli.shown.steps import StepBar
from service.cli.shown.voice import say


def aligned(request: ChainRequest, out: Path, *, as_json: bool) -> None:
    """Go through the chain, and print what came of it. Raises `typer.Exit` where it stopped, or refused rows."""
    logging.disable_progress_bar()
    rows, steps = _Rows(), StepBar()
    try:
        facts = run(request, out, tell=partial(_say_on, err=as_json), on_progress=rows.update, callbacks=[steps])
    except (KeyboardInterrupt, RunStopped) as reason:
        because = f": {reason}" if str(reason) else ""
        say(f"Stopped{because}. The same command goes on from here.", err=True)
        raise typer.Exit(STOPPED) from None
    finally:
        rows.close()
        steps.close()
    if as_json:
        typer.echo(json.dumps({"directory": str(out), **facts}, indent=2))
    else:
        say(sentence(request, facts))
        _print(figures(facts), facts, out)
    if any(stage.get("refused") or stage.get("quarantined") for stage in facts["stages"].values()):
        say("Some rows were refused; refused.jsonl and quarantine.jsonl of the stages name them.", err=as_json)
        raise typer.Exit(QUARANTINED)


def _print(shares: Iterable[tuple[str, Mapping[str, Any]]], facts: Mapping[str, Any], out: Path) -> None:
    for name, share in shares:
        say(f"{name}: {share['estimate']:.2f} ({share['low']:.2f} to {share['high']:.2f})")
    for side in ("before", "after"):
        if words := facts[side]["words"]:
            say(f"words {side}: {words['estimate']:.1f}")
    say(f"model:  {out}/policy/\nreport: {out}/report.html")


def _say_on(stage: str, text: str, *, err: bool) -> None:
    say(f"{stage + ':':10}{text}", err=err)


class _Rows:
    """The bar of the run that makes the data; it appears with the first call."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._done = 0

    def update(self, standing: Progress, calls: int, total: int | None) -> None:
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
