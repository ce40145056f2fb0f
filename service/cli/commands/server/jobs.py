"""``cai jobs``: the jobs of a server, from the command line."""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from base.backoff import Silence
from base.errors import InputError
from service.api.calls import ApiCall
from service.cli.exits import QUARANTINED
from service.cli.given.config import ConfigFile
from service.cli.given.connected import connected
from service.cli.given.options import Json
from service.cli.given.remote import HERE, Key, Server
from service.cli.shown.voice import Quiet, say
from service.jobs.job import ENDED, Job, JobEvents

app = typer.Typer(help="Submit jobs to a server, and follow them.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]

LOOK_SECONDS = 1.0

log = logging.getLogger("cai.jobs")


_EXPECTED = "A file with the request is expected, as in docs/SERVICE.md; /docs of the server describes each kind."


@app.command()
def submit(
    request: Annotated[str, typer.Argument(metavar="FILE", help="The request as JSON; - is standard input.")],
    server: Server = HERE,
    key: Key = "",
    config: ConfigFile = None,
) -> None:
    """Put a job into the queue, and print its id."""
    try:
        text = sys.stdin.read() if request == "-" else Path(request).read_text("utf-8")
        asked = json.loads(text)
    except OSError as error:
        raise InputError(f"no request can be read: {error.strerror}", where=request, fix=_EXPECTED) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"no request can be read: {error}", where=request, fix=_EXPECTED) from None
    typer.echo(_send("POST", "/v1/jobs", server, key, json=asked)["id"])


@app.command("list")
def listed(
    state: Annotated[str | None, typer.Option(help="queued, running, done, failed or cancelled.")] = None,
    server: Server = HERE,
    key: Key = "",
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """List the newest jobs, one per line."""
    rows = _send("GET", "/v1/jobs", server, key, params={"state": state})["items"]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        job = _job(row)
        total = "" if job.progress.total is None else f" of {job.progress.total}"
        standing = (
            f"{job.progress.rows}{total} rows, {job.progress.quarantined} quarantined, {job.progress.pairs} pairs"
        )
        say(f"{job.id}  {job.kind:9}{job.state:10}{standing}")


@app.command()
def status(id: Id, server: Server = HERE, key: Key = "", config: ConfigFile = None) -> None:
    """Print one job as JSON. The exit code is 3 if it is done, but some rows are quarantined."""
    job = _job(_send("GET", _path(id), server, key))
    typer.echo(job.model_dump_json(indent=2))
    if job.state == "done" and job.progress.quarantined:
        raise typer.Exit(QUARANTINED)


@app.command()
def logs(
    id: Id,
    follow: Annotated[bool, typer.Option("--follow", help="Keep printing until the job has ended.")] = False,
    server: Server = HERE,
    key: Key = "",
    config: ConfigFile = None,
) -> None:
    """Print everything that happened to a job."""
    after, silence = 0, Silence(log)
    while True:
        job = _job(_send("GET", _path(id), server, key))
        ended = job.state in ENDED
        page = JobEvents.model_validate(_send("GET", f"{_path(id)}/events", server, key, params={"after": after}))
        typer.echo("".join(event.line() for event in page.items), nl=False)
        after = page.after
        if not page.items:
            if ended or not follow:
                return
            if job.state == "queued":
                silence.wait("the job is in the queue", LOOK_SECONDS)
            time.sleep(LOOK_SECONDS)


@app.command()
def cancel(id: Id, server: Server = HERE, key: Key = "", config: ConfigFile = None) -> None:
    """End a job."""
    typer.echo(_job(_send("POST", f"{_path(id)}/cancel", server, key)).state)


@app.command()
def retry(id: Id, server: Server = HERE, key: Key = "", config: ConfigFile = None) -> None:
    """Run an ended job again: finished rows stay, and quarantined rows are tried again."""
    typer.echo(_job(_send("POST", f"{_path(id)}/retry", server, key)).state)


def _path(id: str) -> str:
    return f"/v1/jobs/{quote(id, safe='')}"


def _job(row: Any) -> Job:
    return Job.model_validate(row)


def _send(method: str, path: str, server: str, key: str, **more: Any) -> Any:
    with connected(server, key) as client:
        call: ApiCall[Any] = ApiCall(method, path, lambda answer: answer, **more)
        return client.send(call)
