"""What ``KEY=VALUE`` can be: each trainer's settings, read off their source, because importing them takes seconds."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from trainers import catalogue

_ABOUT = {
    "model": "The model that is trained: embedded, a folder, or a hub's id.",
    "data": "Files, runs' directories or data sets; or {path: ..., ratio: ..., columns: prompt=question}.",
    "eval_data": "The same, to evaluate on.",
    "prefix_packing": "Whether a prompt is computed once for all of its answers; unset: where a proof holds.",
    "lora": "Settings of peft's LoraConfig, as {r: 16, target_modules: all-linear}.",
    "bf16": "Compute in bfloat16; unset: where the hardware multiplies it fast.",
    "learning_rate": "The optimiser's learning rate at the first step, from which the schedule continues.",
    "logging_steps": "Number of steps between two lines of figures.",
    "save_steps": "Number of steps between two checkpoints.",
    "save_total_limit": "How many checkpoints are kept.",
    "remove_unused_columns": "Leave it as it is: rows are read whole.",
    "use_cpu": "Train on the CPU; by default where there is no GPU.",
    "dataloader_pin_memory": "Of transformers; by default where there is a GPU.",
}


@dataclass(frozen=True, slots=True)
class ConfigField:
    """A field of a config's class. ``default`` is empty where there is none that could be written down."""

    name: str
    type: str
    default: str
    help: str


def print_settings(shipped: Sequence[str]) -> None:
    """Print the shipped configs, this project's settings with what they mean, and the names of transformers' own."""
    console = Console()
    console.print(_panel("Shipped configs, for --config NAME", Text(", ".join(shipped))))
    for title, file, name in classes():
        table = Table("", "", "", box=None, show_header=False, pad_edge=False, expand=True)
        for setting in settings_of(file.read_text("utf-8"), name):
            default = f" [{setting.default}]" if setting.default else ""
            table.add_row(Text(setting.name, "cyan"), Text(setting.type, "yellow"), Text(setting.help + default))
        console.print(_panel(title, table))
    names = [setting.name for setting in transformers_settings()]
    console.print(
        _panel("Settings of transformers' TrainingArguments, for methods that learn from rows", Text(", ".join(names)))
    )


def classes() -> Iterator[tuple[str, Path, str]]:
    """Yield a title, a file and the class of settings in it: of all methods, and of each that has some of its own."""
    folder = Path(str(files("trainers")))
    yield "Settings of every method", folder / "config.py", "TrainConfig"
    yield "Settings of methods that learn from what the policy writes", folder / "online" / "config.py", "OnlineConfig"
    for method in catalogue.listed().values():
        if list(settings_of(method.file.read_text("utf-8"), method.config)):
            yield f"Settings of {method.name}", method.file, method.config


def settings_of(source: str, name: str) -> Iterator[ConfigField]:
    """Yield the fields of the class ``name`` with the text that stands under each."""
    [definition] = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == name]
    for node, after in zip(definition.body, [*definition.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        kind = ast.unparse(node.annotation)
        if not kind.startswith("ClassVar"):
            yield ConfigField(node.target.id, kind, _default(node.value), _help(node, after))


def transformers_settings() -> Iterator[ConfigField]:
    """Yield transformers' own settings; none where it is not installed."""
    spec = find_spec("transformers")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        source = (Path(place) / "training_args.py").read_text("utf-8")
        own = [setting for setting in settings_of(source, "TrainingArguments") if not setting.name.startswith("_")]
        yield from sorted(own, key=lambda setting: setting.name)


def _default(value: ast.expr | None) -> str:
    return ast.unparse(value) if isinstance(value, ast.Constant) and value.value is not None else ""


def _help(node: ast.AnnAssign, after: ast.stmt | None) -> str:
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
        return " ".join(after.value.value.replace("``", "").split())
    assert isinstance(node.target, ast.Name)
    return _ABOUT.get(node.target.id, "")


def _panel(title: str, content: Text | Table) -> Panel:
    return Panel(content, title=title, title_align="left", border_style="dim")
