"""``cai jobs``: the jobs of a server, from the command line."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from constitution.errors import InputError
from service.cli import QUARANTINED

app = typer.Typer(help="Submit jobs to a server, and follow them.", no_args_is_help=True)

Server = Annotated[str, typer.Option(envvar="CAI_SERVER", help="The server's address.")]
Key = Annotated[str, typer.Option(envvar="CAI_KEY", help="An API key with the scope jobs.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]

HERE = "http://127.0.0.1:8300"


@app.command()
def submit(
    request: Annotated[str, typer.Argument(metavar="FILE", help="The request as JSON; - is standard input.")],
    server: Server = HERE,
    key: Key = "",
) -> None:
    """Put a job into the queue, and print its id."""
    try:
        text = sys.stdin.read() if request == "-" else Path(request).read_text("utf-8")
        asked = json.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(f"no request can be read: {error}", where=request) from None
    typer.echo(_call("POST", "/v1/jobs", server, key, json=asked).json()["id"])


@app.command("list")
def listed(
    state: Annotated[str | None, typer.Option(help="queued, running, done, failed or cancelled.")] = None,
    server: Server = HERE,
    key: Key = "",
) -> None:
    """The newest jobs, a line each."""
    found = _call("GET", "/v1/jobs", server, key, params={} if state is None else {"state": state}).json()
    for job in found["items"]:
        typer.echo(f"{job['id']}  {job['kind']:9}{job['state']:10}{_standing(job['progress'])}")


@app.command()
def status(id: Id, server: Server = HERE, key: Key = "") -> None:
    """One job, as JSON. The exit code is 3 where rows were quarantined."""
    job = _call("GET", f"/v1/jobs/{quote(id, safe='')}", server, key).json()
    typer.echo(json.dumps(job, indent=2, ensure_ascii=False))
    if job["state"] == "done" and job["progress"]["quarantined"]:
        raise typer.Exit(QUARANTINED)


@app.command()
def logs(id: Id, server: Server = HERE, key: Key = "") -> None:
    """Everything that happened to a job."""
    typer.echo(_call("GET", f"/v1/jobs/{quote(id, safe='')}/logs", server, key).text, nl=False)


@app.command()
def cancel(id: Id, server: Server = HERE, key: Key = "") -> None:
    """End a job."""
    typer.echo(_call("POST", f"/v1/jobs/{quote(id, safe='')}/cancel", server, key).json()["state"])


@app.command()
def retry(id: Id, server: Server = HERE, key: Key = "") -> None:
    """Do an ended job again: what is done stays, quarantined rows are tried again."""
    typer.echo(_call("POST", f"/v1/jobs/{quote(id, safe='')}/retry", server, key).json()["state"])


def _standing(progress: dict[str, Any]) -> str:
    total = f" of {progress['total']}" if progress["total"] is not None else ""
    return f"{progress['rows']}{total} rows, {progress['quarantined']} quarantined, {progress['pairs']} pairs"


def _call(method: str, path: str, server: str, key: str, **more: Any) -> Any:
    import httpx2

    try:
        answer = httpx2.request(method, server + path, headers={"Authorization": f"Bearer {key}"}, timeout=60, **more)
    except httpx2.HTTPError as error:
        raise InputError(f"the server can't be reached: {error}", where=server, fix="Start one: cai serve") from None
    if answer.is_error:
        problem = answer.json() if "json" in answer.headers.get("content-type", "") else {"detail": answer.text[:500]}
        raise InputError(problem["detail"], where=f"{method} {path}", fix=problem.get("fix", ""))
    return answer
