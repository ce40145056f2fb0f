"""Jobs of the kinds train, align and evaluate: commands of ``cai`` in child processes, with folders that they go on in.

Their folders lie in the data folder, by the job's id: a command that was cut short goes on there, wherever the next
worker is. The model that comes out is copied to the artifacts, and registered.
"""

import io
import os
import shutil
from pathlib import Path
from typing import Any, cast

import yaml
from sqlalchemy import Connection, insert, select

from base.errors import InputError
from base.option import as_file
from critic.engines import parse_spec
from critic.settings.aligning import AlignSettings, ChainSettings
from critic.settings.measuring import MeasureJudgeSettings
from service.engines import TRAINED
from service.jobs.inputs.artifacts import MODELS, of_job
from service.jobs.kinds.rows import mode_texts
from service.jobs.queue import TRAINABLE
from service.jobs.requests import AlignRequest, EvaluateRequest, TrainRequest, TrainSettings
from service.jobs.work.child import command
from service.jobs.work.ledger import read
from service.jobs.work.work import Failed, Work
from service.outward.public import public
from service.store.disk.synced import make_folder
from service.store.tables import models, now

REPORTS = ("report.html", "metrics.jsonl", "refused.jsonl", "lineage.json", "config.yaml", "README.md")


def train(work: Work) -> dict[str, Any]:
    """Do a train job."""
    asked = cast(TrainRequest, work.request)
    folder = run_folder(work)

    def training() -> dict[str, Any]:
        command(work, ["train", asked.method], _config(work, asked, folder))
        return {}

    work.step("train", training)
    found = work.step("register", lambda: _register(work, asked.name, asked.method, folder, folder))
    shutil.rmtree(folder, ignore_errors=True)
    return found


def align(work: Work) -> dict[str, Any]:
    """Do an align job."""
    asked = cast(AlignRequest, work.request)
    folder = run_folder(work)
    work.step("align", lambda: _align(work, asked, folder))
    found = work.step("register", lambda: _register(work, asked.name, asked.method, folder / "policy", folder))
    shutil.rmtree(folder, ignore_errors=True)
    return found


def evaluate(work: Work) -> dict[str, Any]:
    """Do an evaluate job."""
    asked = cast(EvaluateRequest, work.request)
    folder = run_folder(work)

    def measuring() -> dict[str, Any]:
        [source] = work.inputs()
        settings = MeasureJudgeSettings(
            pairs=str(source),
            judge=_spec(work, asked.judge),
            mode=tuple(asked.modes),
            principles=principles_file(work, asked.constitution),
            principle=asked.principle,
            limit=asked.limit,
            column=asked.input.columns,
            out=folder,
        )
        command(work, ["evaluate", "judge"], as_file(settings))
        work.parts.artifacts.put(folder / "accuracy.json", of_job(work.id), "accuracy.json")
        return {"file": "accuracy.json"}

    return work.step("evaluate", measuring)


def _align(work: Work, asked: AlignRequest, folder: Path) -> dict[str, Any]:
    [source] = work.inputs()
    judges = asked.judges or [work.parts.settings.engine]
    chain = AlignSettings(
        principles=principles_file(work, asked.constitution),
        prompts=str(source),
        out=folder,
        policy=_spec(work, asked.policy),
        judge=tuple(_spec(work, judge) for judge in judges),
        mode=mode_texts(work, judges, asked.modes),
        column=asked.input.columns,
        **{name: getattr(asked, name) for name in ChainSettings.model_fields},
    )
    stages: dict[str, Any] = {"generate": {"samples": asked.samples, "max_tokens": asked.max_tokens}}
    stages |= {stage: _given(getattr(asked, stage)) for stage in ("sft", asked.method)}
    if asked.method == "ppo":
        stages["reward"] = _given(asked.reward)
    command(work, ["align"], as_file(chain) | stages)
    return {}


def _config(work: Work, asked: TrainRequest, folder: Path) -> dict[str, Any]:
    columns = {Path(source.file or "").name: source.columns for source in asked.data}
    found = {"report_to": "none", **_given(asked.settings)}
    found["model"] = _parent(work, asked.model)
    found["data"] = [_source(path, columns.get(path.name)) for path in work.inputs()]
    found |= {"output_dir": str(folder)}
    if asked.reward is not None:
        found["reward"] = _spec(work, asked.reward)
    if asked.constitution is not None:
        found["principles"] = principles_file(work, asked.constitution)
    return found


def _source(path: Path, columns: str | None) -> str | dict[str, str]:
    """Return an input as `trainers.config` names it."""
    return str(path) if columns is None else {"path": str(path), "columns": columns}


def _given(settings: TrainSettings) -> dict[str, Any]:
    return settings.model_dump(exclude_none=True)


def run_folder(work: Work) -> Path:
    """The folder that the job's command goes on in."""
    folder = work.parts.settings.data.absolute() / "runs" / work.id
    make_folder(folder.parent)
    return folder


def principles_file(work: Work, ref: str) -> str:
    """The constitution's file: what it includes lies beside it."""
    return str(work.parts.constitutions.file(work.call(work.parts.constitutions.get(ref))))


def _parent(work: Work, name: str | None) -> str:
    """The model that is trained, as trainers name it."""
    if name is None:
        return "embedded"
    if (folder := _trained(work, name.removeprefix(TRAINED))) is not None:
        return str(folder)
    if name not in work.parts.settings.engines:
        raise InputError(f"there is no model and no engine {name!r}", where="model", fix="GET /v1/models lists models.")
    kind, _, target = _spec(work, name).partition("?")[0].partition(":")
    if kind not in TRAINABLE:
        raise InputError(f"the weights of {name} are not here to be trained", where="model")
    return target or kind


def _spec(work: Work, name: str | None) -> str:
    """The spec of an engine, or of a reward model that was trained here."""
    name = name or work.parts.settings.engine
    if name in work.parts.settings.engines:
        return work.parts.settings.engines[name].spec
    folder = _trained(work, name.removeprefix(TRAINED))
    if folder is None:
        raise InputError(f"there is no engine {name!r}", where="engine", fix="GET /v1/engines lists them.")
    return f"rm:{folder}"


def _trained(work: Work, name: str) -> Path | None:
    query = select(models.c.folder).where(models.c.name == name)
    folder = read(work.parts.database, lambda connection: connection.execute(query).scalar_one_or_none())
    return None if folder is None else work.parts.artifacts.root / folder


def _register(work: Work, name: str, trainer: str, folder: Path, reports: Path) -> dict[str, Any]:
    """Copy the model to the artifacts, and make it known by its name."""
    if not (folder / "lineage.json").is_file():
        raise Failed("the command ended without a model")
    artifacts = work.parts.artifacts
    artifacts.put_folder(folder, f"{MODELS}/{work.id}")
    for report in REPORTS:
        place = reports if (reports / report).is_file() else folder
        if (place / report).is_file():
            content = _shown(work, (place / report).read_text("utf-8"), report)
            artifacts.write(io.BytesIO(content.encode()), of_job(work.id), report)
    row = {
        "id": work.id,
        "name": name,
        "trainer": trainer,
        "folder": f"{MODELS}/{work.id}",
        "lineage": yaml.safe_load((folder / "lineage.json").read_text("utf-8")),
        "job": work.id,
        "created_at": now(),
    }

    def known(connection: Connection) -> None:
        named = connection.execute(select(models.c.id).where(models.c.name == name)).scalar_one_or_none()
        if named not in (None, work.id):
            raise Failed(f"there is another model {name!r} by now")
        if named is None:
            connection.execute(insert(models), row)

    work.store.now(known)
    return {"model": name}


def _shown(work: Work, text: str, report: str) -> str:
    """A report as the job's owner reads it: engines by the names that requests have for them, no folders of ours."""
    settings = work.parts.settings
    for name, engine in settings.engines.items():
        for said in (engine.spec, parse_spec(engine.spec).target):
            text = text.replace(said, name) if "/" in said or "@" in said else text
    for folder in (settings.data.absolute(), work.folder):
        text = text.replace(f"{folder}{os.sep}", "")
    # A page's own addresses are no engine's.
    return text if report.endswith((".html", ".md")) else public(text)
