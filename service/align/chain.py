"""Generate, SFT on revisions, reward model (PPO only), DPO or PPO, report: each stage in a folder of its own.

A stage that is finished is not done again: training leaves ``lineage.json``, the run ``generate.json``, the report
``report.json``. One that was cut short goes on where it stopped. Models are trained in this process; on several GPUs,
`cai train` is started by `accelerate launch` on the same folders.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from base.errors import InputError
from constitution import load
from critic.engine import RunStopped
from critic.run.execute import Progress
from critic.run.folder.results import replace_text
from critic.run.request import RunRequest
from critic.run.run import run
from service.align import prompts as prompting
from service.align.evaluate import evaluate
from service.align.policy import check_readable
from service.align.report import write_report
from service.align.request import CHAIN, ChainRequest
from trainers.config import TrainConfig, build
from trainers.folder.identity import claim
from trainers.folder.results import Trained
from trainers.method import load as load_method
from trainers.run import train

Tell = Callable[[str, str], None]
OnProgress = Callable[[Progress, int, int | None], None]


def align(
    request: ChainRequest,
    out: Path,
    *,
    tell: Tell = lambda stage, text: None,
    on_progress: OnProgress = lambda progress, calls, total: None,
    callbacks: Sequence[TrainerCallback] = (),
) -> dict[str, Any]:
    """Run the chain, or what is left of it, in the directory ``out``, and return the content of ``report.json``.

    ``tell`` hears of each stage, ``on_progress`` of the run, and ``callbacks`` of the steps of each training. Raises
    `InputError` for what a person gave wrong, another chain in ``out`` among it, and `RunStopped`.
    """
    settings = request.generate()
    check_readable(request)
    lines, refused = prompting.read(request.prompts, request.limit, request.columns)
    learnt, held_out = prompting.split(lines, request.held_out)
    configs = _configs(request, out)
    claim(out, request.identity(lines), CHAIN)
    prompting.write(learnt, out / "prompts.jsonl")
    prompting.write(held_out, out / "held-out.jsonl")
    prompting.write_refused(refused, out / "refused.jsonl")
    tell("prompts", f"{len(learnt)} to learn from, {len(held_out)} held out, {len(refused)} refused")

    made = _generate(request, settings.model_dump(), out, tell, on_progress)
    parent = request.model
    stages: dict[str, Mapping[str, Any]] = {"prompts": {"refused": len(refused)}, "generate": made}

    def trained(stage: str, data: str, **given: str) -> None:
        config = build(*configs(stage, model=parent, data=data, **given))
        config.disable_tqdm = True
        stages[stage] = _told(train(config, list(callbacks)), stage, tell)

    if made["revisions"]:
        trained("sft", str(out / "generate"))
        parent = str(out / "sft")
    else:
        stages["sft"] = {"skipped": "there are no revisions to learn from"}
        tell("sft", "skipped: there are no revisions to learn from")
    if request.method == "ppo":
        trained("reward", str(out / "generate"))
        trained("ppo", str(out / "prompts.jsonl"), reward=f"rm:{out / 'reward'}")
    else:
        trained("dpo", str(out / "generate"))

    if not (out / "report.json").is_file():
        tell("evaluate", f"{len(held_out)} held-out prompts, before and after")
        figures = asyncio.run(evaluate(request, settings, held_out, out))
        constitution = load(request.principles)
        about = {
            "constitution": constitution.ref,
            "constitution_hash": constitution.digest,
            "title": constitution.title,
            "stages": stages,
        }
        write_report(request, about | figures, out)
    report: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return report


def _generate(
    request: ChainRequest, settings: Mapping[str, Any], out: Path, tell: Tell, on_progress: OnProgress
) -> dict[str, int]:
    mark = out / "generate.json"
    if not mark.is_file():
        tell("generate", "answers, critiques, revisions and comparisons")
        asked = RunRequest(
            request.principles, str(out / "prompts.jsonl"), request.judges, request.policy, request.modes, settings
        )
        outcome = asyncio.run(run(asked, out / "generate", on_progress=on_progress))
        if outcome.progress.stopped:
            raise RunStopped(outcome.progress.stopped)
        files, results = outcome.results.exported.files, outcome.results
        counts = {"prompts": results.exported.rows, "quarantined": results.quarantined.total()}
        counts |= {"pairs": files["pairs"].records, "revisions": files["sft"].records}
        replace_text(mark, json.dumps(counts) + "\n")
    made: dict[str, int] = json.loads(mark.read_text(encoding="utf-8"))
    tell("generate", ", ".join(f"{count} {what}" for what, count in made.items()))
    if not made["pairs"]:
        raise InputError(
            "no comparison came out as a preference, so there is nothing to learn from",
            where=str(out / "generate"),
            fix="its report.html says why; another judge, or more samples (generate.samples=8), may find some",
        )
    return made


def _configs(request: ChainRequest, out: Path) -> Callable[..., tuple[type[TrainConfig], dict[str, Any], str]]:
    """Return what makes a stage's settings; those that a person gave are tried at once, before anything is made."""

    def of(stage: str, **given: Any) -> tuple[type[TrainConfig], dict[str, Any], str]:
        folder = str(out / ("policy" if stage == request.method else stage))
        chosen = {"seed": request.seed, "report_to": "none"} | dict(request.settings.get(stage, {}))
        return load_method(stage).config, chosen | {"output_dir": folder} | given, f"settings of {stage}"

    stages: Sequence[str] = ("sft", "reward", "ppo") if request.method == "ppo" else ("sft", "dpo")
    for stage in stages:
        build(*of(stage, model=request.model, data="tried", **({"reward": "rm:tried"} if stage == "ppo" else {})))
    return of


def _told(done: Trained, stage: str, tell: Tell) -> dict[str, Any]:
    before = "" if done.new else "finished before: "
    tell(stage, f"{before}{done.counts.examples} examples, {done.steps} steps, in {done.folder}/")
    counts = {"examples": done.counts.examples, "steps": done.steps, "refused": sum(done.counts.refused.values())}
    return counts | {"figures": dict(done.figures)}
