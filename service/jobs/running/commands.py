"""What jobs share that are commands of ``cai`` in child processes, with folders that they go on in.

Their folders lie in the data folder, by the job's id: a command that was cut short goes on there, wherever the next
worker is. The model that comes out is copied to the artifacts, and registered.
"""

import io
import os
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Connection, insert, select

from base.errors import InputError
from critic.engines import parse_spec
from service.engines import TRAINED
from service.jobs.inputs.artifacts import MODELS, of_job
from service.jobs.requests import TrainSettings
from service.jobs.work.ledger import read
from service.jobs.work.work import Failed, Work
from service.outward.public import public
from service.store.disk.synced import make_folder
from service.store.tables import models, now

REPORTS = ("report.html", "metrics.jsonl", "refused.jsonl", "lineage.json", "config.yaml", "README.md")


def given(settings: TrainSettings) -> dict[str, Any]:
    """Return those settings that a request makes."""
    return settings.model_dump(exclude_none=True)


def run_folder(work: Work) -> Path:
    """The folder that the job's command goes on in."""
    folder = work.parts.settings.data.absolute() / "runs" / work.id
    make_folder(folder.parent)
    return folder


def principles_file(work: Work, ref: str) -> str:
    """The constitution's file: what it includes lies beside it."""
    return str(work.parts.constitutions.file(work.call(work.parts.constitutions.get(ref))))


def spec_of(work: Work, name: str | None) -> str:
    """The spec of an engine, or of a reward model that was trained here."""
    name = name or work.parts.settings.engine
    if name in work.parts.settings.engines:
        return work.parts.settings.engines[name].spec
    folder = folder_of(work, name.removeprefix(TRAINED))
    if folder is None:
        raise InputError(f"there is no engine {name!r}", where="engine", fix="GET /v1/engines lists them.")
    return f"rm:{folder}"


def folder_of(work: Work, name: str) -> Path | None:
    """Return the folder of a model that was trained here; None where there is none of this name."""
    query = select(models.c.folder).where(models.c.name == name)
    folder = read(work.parts.database, lambda connection: connection.execute(query).scalar_one_or_none())
    return None if folder is None else work.parts.artifacts.root / folder


def register(work: Work, name: str, trainer: str, folder: Path, reports: Path) -> dict[str, Any]:
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
