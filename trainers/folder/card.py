"""``README.md`` of a trained model's folder: the model card, with what it comes from and how it is loaded."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from critic.run.folder.results import replace_text

_WHAT = {
    "sft": "A language model, fine-tuned on demonstrations.",
    "reward": "A reward model: it scores answers, and writes none.",
    "dpo": "A language model, trained on preferences by direct preference optimisation.",
    "ppo": "A language model, trained by reinforcement learning (PPO) from a reward.",
}
_SHOWN = (
    "learning_rate", "lr_scheduler_type", "num_train_epochs", "max_steps", "per_device_train_batch_size",
    "gradient_accumulation_steps", "max_length", "dropout", "bf16", "seed",
)  # fmt: skip


def write_card(lineage: Mapping[str, Any], folder: Path) -> None:
    """Write the card into the model's folder. ``lineage`` is that of `trainers.folder.identity.lineage`."""
    replace_text(folder / "README.md", card(lineage))


def card(lineage: Mapping[str, Any]) -> str:
    """Return the card: YAML front matter, then Markdown."""
    front = yaml.safe_dump(_front_matter(lineage), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{front}---\n\n" + "\n".join(_body(lineage)).rstrip() + "\n"


def _front_matter(lineage: Mapping[str, Any]) -> dict[str, Any]:
    reward = lineage["trainer"] == "reward"
    return {
        "base_model": lineage["parent"]["name"],
        "library_name": "transformers",
        "pipeline_tag": "text-classification" if reward else "text-generation",
        "license": "unknown",
        "tags": ["constitutional-ai", "rlaif", lineage["trainer"]],
    }


def _body(lineage: Mapping[str, Any]) -> Iterator[str]:
    parent, counts = lineage["parent"], lineage["counts"]
    yield from (f"# {_text(parent['name'])}, trained ({lineage['trainer']})", "")
    yield from (_WHAT.get(lineage["trainer"], f"Trained by {lineage['trainer']}."), "", "## Where it comes from", "")
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
    yield from _loading(lineage["trainer"])
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


def _loading(trainer: str) -> Iterator[str]:
    kind = "AutoModelForSequenceClassification" if trainer == "reward" else "AutoModelForCausalLM"
    spec = "rm" if trainer == "reward" else "hf"
    yield from ("## How to load it", "", "```python", f"from transformers import AutoTokenizer, {kind}", "")
    yield from (f'model = {kind}.from_pretrained("PATH/OF/THIS/FOLDER")',)
    yield from ('tokenizer = AutoTokenizer.from_pretrained("PATH/OF/THIS/FOLDER")', "```", "")
    yield from (f"The command `cai` takes it as `{spec}:PATH/OF/THIS/FOLDER`.", "")


def _table(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield from ("| | |", "|---|---|")
    yield from (f"| {_text(name)} | {_text(value)} |" for name, value in lines)
    yield ""


def _text(text: str) -> str:
    """Keep a name from ending its cell or opening a tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
