"""Runs, data sets and trained models on the Hugging Face hub. What is sent lies in a folder here, and stays."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from base.errors import InputError
from base.hub_client import patient
from critic.files.hub import hub_error
from service.exports.offers import MANIFEST, offered

CARD = "README.md"
FINISHED = "lineage.json"  # the last file of a training
MODEL_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt", CARD)
NOT_OF_THE_MODEL = ("checkpoint-*", "run.json", "trainer_state.json", ".*")


def push_dataset(folder: Path, repo: str) -> str:
    """Send the tables of a run or a data set, with its card, to a data set of the hub. Return what was done.

    A new repository is private. Raises `InputError`.
    """
    offer = offered(folder)
    if not folder.is_dir():
        raise InputError("a file has no card", where=str(folder), fix="Give the folder of a run or of a data set.")
    names = [path.name for path in offer.files.values()]
    card = None if (folder / CARD).is_file() else _card(folder, names)
    return _push(folder, repo, "dataset", [*names, CARD], card=card)


def expect_model(repo: str) -> None:
    """Raise `InputError` where a model can't go to ``repo``, before it is trained for that. Nothing is made there.

    Asked is whether the hub answers, who the token is, and whether it may write for that owner. The rights of a
    fine-grained token can't be told: what it is refused is told when the model is sent.
    """
    try:
        _asked(repo, lambda hub: _may_write(hub.whoami(), repo))
    except InputError as error:
        later = "Or train without --push-to-hub: the same command with it only sends the finished model."
        raise InputError(error.problem, where=error.where, fix=f"{error.fix} {later}") from None


def _may_write(known: Mapping[str, Any], repo: str) -> str:
    """Return who the token is. Raises `InputError` where they can write nothing to ``repo``."""
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, and not listed there

    validate_repo_id(repo)
    name = str(known.get("name"))
    owners = [name, *(str(group.get("name")) for group in known.get("orgs") or ())]
    owner, slash, _ = repo.partition("/")
    if slash and owner not in owners:
        raise InputError(
            f"the token is {name}'s, who can't make a model of {owner}",
            where=repo,
            fix=f"Expected OWNER/NAME, with {' or '.join(owners)} as the owner, or another token.",
        )
    token = (known.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read":
        raise InputError(
            "the token may only read", where=repo, fix="Make one that may write, and sign in: `hf auth login`."
        )
    return name


def push_model(folder: Path, repo: str) -> str:
    """Send a trained model, with its card, to a model of the hub. Return what was done. Raises `InputError`."""
    if not (folder / FINISHED).is_file():
        raise InputError("this training isn't finished", where=str(folder), fix="Run the same `cai train` again.")
    try:
        return _push(folder, repo, "model", MODEL_FILES)
    except InputError as error:
        kept = f"The finished model is in {folder}: the same command only sends it."
        raise InputError(error.problem, where=error.where, fix=f"{error.fix} {kept}") from None


def _push(folder: Path, repo: str, kind: str, names: Sequence[str], card: str | None = None) -> str:
    return _asked(repo, lambda hub: _sent(hub, folder, repo, kind, names, card))


def _asked(repo: str, ask: Callable[[Any], str]) -> str:
    """Return what the hub's client gives. Raises `InputError`."""
    from huggingface_hub import HfApi

    try:
        with patient():
            return ask(HfApi())
    except InputError:
        raise
    except Exception as error:  # the boundary: the library raises its own errors, and those of two others
        raise hub_error(error, repo) from None


def _sent(hub: Any, folder: Path, repo: str, kind: str, names: Sequence[str], card: str | None) -> str:
    url = str(hub.create_repo(repo, repo_type=kind, private=True, exist_ok=True))
    if card is not None:
        hub.upload_file(path_or_fileobj=card.encode(), path_in_repo=CARD, repo_id=repo, repo_type=kind)
    hub.upload_folder(
        repo_id=repo,
        repo_type=kind,
        folder_path=folder,
        allow_patterns=list(names),
        ignore_patterns=list(NOT_OF_THE_MODEL),
        commit_message="Upload by cai-feedback",
    )
    return f"{folder} is at {url} (a new repository is private)"


def _card(folder: Path, names: Sequence[str]) -> str:
    """Return the card of a data set that the service built: its tables load by their names."""
    made: Any = json.loads((folder / MANIFEST).read_text("utf-8"))
    tables = {name.rpartition(".")[0]: name for name in sorted(names)}
    front = {
        "pretty_name": f"{made.get('name', folder.name)}, version {made.get('version', '?')}",
        "tags": ["preference", "rlhf", "trl"],
        "configs": [{"config_name": table, "data_files": name} for table, name in tables.items()],
    }
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    built = json.dumps(made.get("request", {}), ensure_ascii=False, indent=2)
    return (
        f"---\n{head}---\n\n# {front['pretty_name']}\n\nBuilt from labels by this request:\n\n```json\n{built}\n```\n"
    )
