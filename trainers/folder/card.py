"""``README.md`` of a trained model's folder: the model card, with what it comes from and how it is loaded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from critic.run.folder.results import replace_text


@dataclass(frozen=True, slots=True)
class Made:
    """What a method makes: a sentence about it, the hub's name of its task, and how it is loaded.

    ``auto`` is the class of transformers that loads it, and ``engine`` what ``cai`` calls it as an engine.
    """

    about: str
    task: str
    auto: str
    engine: str


def policy(about: str) -> Made:
    """Return what a language model is."""
    return Made(about, "text-generation", "AutoModelForCausalLM", "hf")


def reward_model(about: str) -> Made:
    """Return what a reward model is."""
    return Made(about, "text-classification", "AutoModelForSequenceClassification", "rm")


_SHOWN = (
    "learning_rate", "lr_scheduler_type", "num_train_epochs", "max_steps", "per_device_train_batch_size",
    "gradient_accumulation_steps", "max_length", "dropout", "bf16", "seed",
)  # fmt: skip


def write_card(lineage: Mapping[str, Any], made: Made, folder: Path) -> None:
    """Write the card into the model's folder. ``lineage`` is that of `trainers.folder.identity.lineage`."""
    replace_text(folder / "README.md", card(lineage, made))


def card(lineage: Mapping[str, Any], made: Made) -> str:
    """Return the card: YAML front matter, then Markdown."""
    front = yaml.safe_dump(_front_matter(lineage, made), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{front}---\n\n" + "\n".join(_body(lineage, made)).rstrip() + "\n"


def _front_matter(lineage: Mapping[str, Any], made: Made) -> dict[str, Any]:
    return {
        "base_model": lineage["parent"]["name"],
        "library_name": "transformers",
        "pipeline_tag": made.task,
        "license": "unknown",
        "tags": ["constitutional-ai", "rlaif", lineage["trainer"]],
    }


def _body(lineage: Mapping[str, Any], made: Made) -> Iterator[str]:
    parent, counts = lineage["parent"], lineage["counts"]
    yield from (f"# {_text(parent['name'])}, trained ({lineage['trainer']})", "")
    yield from (made.about, "", "## Where it comes from", "")
    rows = [("parent", f"{parent['name']}, SHA-256 `{parent['revision']}`"), ("data", f"SHA-256 `{lineage['data']}`")]
    rows += [("constitution", f"SHA-256 `{name}`") for name in lineage["constitutions"]]
    rows += [("judge's certificate", f"SHA-256 `{name}`") for name in lineage.get("certificates", ())]
    rows += [(f"ancestor ({own['trainer']})", own["name"]) for own in _ancestors(lineage)]
    rows += [("trained on", f"{counts['examples']:,} examples, {lineage['steps']:,} steps")]
    rows += [("held out", f"{counts['held_out']:,} examples")] if counts["held_out"] else []
    rows += [(f"refused ({reason})", f"{count:,} rows") for reason, count in sorted(counts["refused"].items())]
    yield from _table(rows)
    if lineage["figures"]:
        yield from ("## Figures", "", "The last ones logged; `eval_` ones are of held-out examples.", "")
        yield from _table([(name, f"{value:.4g}") for name, value in lineage["figures"].items()])
    yield from ("## Settings", "", "`config.yaml` holds all of them.", "")
    shown = [(key, str(lineage["settings"][key])) for key in _SHOWN if key in lineage["settings"]]
    yield from _table([*shown, *_computed(lineage)])
    yield from _loading(made)
    yield from (
        "## Limits",
        "",
        "- It has learnt what its labels say. Where a model gave them, no person has checked them.",
        "- The licence depends on the parent and the data; none is claimed here.",
    )


def _computed(lineage: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say how batches were computed, and how the weights were saved: runs of older versions don't tell."""
    if batches := lineage.get("batches"):
        yield "batches", batches["path"] + (f": {batches['why']}" if batches["why"] else "")
    if saved := lineage.get("saved"):
        yield "weights", f"trained in float32, saved in {saved['dtype']}"


def _ancestors(lineage: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for own in lineage["ancestors"]:
        yield own
        yield from _ancestors(own)


def _loading(made: Made) -> Iterator[str]:
    yield from ("## How to load it", "", "```python", f"from transformers import AutoTokenizer, {made.auto}", "")
    yield from (f'model = {made.auto}.from_pretrained("PATH/OF/THIS/FOLDER")',)
    yield from ('tokenizer = AutoTokenizer.from_pretrained("PATH/OF/THIS/FOLDER")', "```", "")
    yield from (f"The command `cai` takes it as `{made.engine}:PATH/OF/THIS/FOLDER`.", "")


def _table(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield from ("| | |", "|---|---|")
    yield from (f"| {_text(name)} | {_text(value)} |" for name, value in lines)
    yield ""


def _text(text: str) -> str:
    """Keep a name from ending its cell or opening a tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
