"""``README.md`` of a run's directory: the dataset card, by which ``datasets.load_dataset(DIR, "pairs")`` works.

The `datasets` library caches by what the card says, not by what the files hold. So each config carries its file's
hash: a changed export is another config, and two directories of one name don't meet in the cache.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from critic.run.folder.results import Results, replace_text
from critic.run.folder.tables import TABLES, tables
from critic.statistics.summary import drops

DTYPES = {pa.string(): "string", pa.int64(): "int64", pa.float64(): "float64", pa.bool_(): "bool"}


def write_card(results: Results, directory: Path) -> None:
    """Write the card into the run's directory, after its exports."""
    replace_text(directory / "README.md", card(results))


def card(results: Results) -> str:
    """Return the card: YAML front matter, then Markdown."""
    front = yaml.safe_dump(_front_matter(results), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{front}---\n\n" + "\n".join(_body(results)).rstrip() + "\n"


def _front_matter(results: Results) -> dict[str, Any]:
    return {
        "pretty_name": f"AI feedback under {results.provenance.constitution}",
        "license": "unknown",
        "tags": ["constitutional-ai", "rlaif", "preference", "dpo", "trl"],
        "configs": [_config(results, table) for table in TABLES],
    }


def _filled(results: Results) -> list[str]:
    """The tables with records. `datasets` can't load an empty one, and says that it corresponds to no data."""
    return [table for table in TABLES if results.exported.files[table].records]


def _config(results: Results, table: str) -> dict[str, Any]:
    file = results.exported.files[table]
    return {
        "config_name": table,
        "data_files": file.name,
        "description": f"sha256:{file.sha256}",
        "features": features(tables(results.exported.reasoning)[table].schema),
        **({"default": True} if table == "pairs" else {}),
    }


def features(schema: pa.Schema) -> list[dict[str, Any]]:
    """Return a schema as `datasets` writes its features in a card."""
    return [_feature(field) for field in schema]


def _feature(field: pa.Field) -> dict[str, Any]:
    if not pa.types.is_list(field.type):
        return {"name": field.name, "dtype": DTYPES[field.type]}
    item = field.type.value_type
    return {"name": field.name, "list": [_feature(part) for part in item] if pa.types.is_struct(item) else DTYPES[item]}


def _body(results: Results) -> list[str]:
    made = results.provenance
    warned = [f"> **Warning.** {_text(warning)}\n" for warning in results.warnings()]
    return [
        f"# AI feedback under {_text(made.constitution)}",
        "",
        "Preference pairs, revised answers and the judgements behind them, labelled by a model under a constitution.",
        "**Every label here is a model's** (`source: ai`); no person has checked them.",
        "",
        *warned,
        "## How it was made",
        "",
        *_table(
            ("", ""),
            [
                ("constitution", f"{made.constitution}, SHA-256 `{made.constitution_hash}`"),
                ("policy (wrote the answers)", made.policy),
                ("judge (critiques, revisions, comparisons)", f"{made.judge}, mode {made.mode}"),
                ("strategy", made.strategy),
                ("seed", str(made.seed)),
                ("templates", f"SHA-256 `{made.templates}`"),
            ],
        ),
        "## What it holds",
        "",
        *_table(("config", "records", "what"), [_holding(results, table) for table in TABLES]),
        *_loading(results),
        "## What was dropped, and why",
        "",
        *_dropped(results),
        "## Limits",
        "",
        "- A label is what this judge prefers under this constitution. `manifest.json` and `report.html` say how far "
        "it leans to a position or to length.",
        "- `probability` is the judge's, not calibrated against people.",
        "- Prompts and answers may be offensive or ask for harm, and may be wrong.",
        "- The licence depends on the prompts, the policy and the judge; none is claimed here.",
    ]


HOLDS = {
    "pairs": "`prompt`, `chosen`, `rejected` as chat messages, with `probability` that the chosen one is better",
    "sft": "`prompt`, `completion`: revised answers, `final` for the last of each chain",
    "feedback": "critiques, corrections, comparisons with every vote, and rankings (`kind` says which)",
}


def _holding(results: Results, table: str) -> tuple[str, str, str]:
    return f"`{table}`", f"{results.exported.files[table].records:,}", HOLDS[table]


def _loading(results: Results) -> list[str]:
    filled = _filled(results)
    if not filled:
        return []
    code = [f'{name} = load_dataset("PATH/OF/THIS/FOLDER", "{name}", split="train")' for name in filled]
    return ["```python", "from datasets import load_dataset", "", *code, "```", ""]


def _dropped(results: Results) -> list[str]:
    lines = [
        (what, reason, f"{count:,}")
        for what, reasons in drops(results.statistics).items()
        for reason, count in reasons.items()
    ]
    lines += [("row (quarantined)", reason, f"{count:,}") for reason, count in sorted(results.quarantined.items())]
    return _table(("what", "reason", "count"), lines) if lines else ["Nothing.", ""]


def _table(head: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> list[str]:
    rule = "|".join("---" for _ in head)
    return [f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(map(_text, line))} |" for line in lines), ""]


def _text(text: str) -> str:
    """Keep a name from ending its cell or opening a tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
