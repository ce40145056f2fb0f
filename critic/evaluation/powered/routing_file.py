"""What was routed, in files: every item with its probability, and those that people are to label."""

import json
from pathlib import Path
from typing import Any

from base.errors import InputError
from critic.evaluation.powered.estimates import Draw
from critic.evaluation.powered.route import Route, Routed
from critic.run.folder.results import replace_text

ITEMS, ASKED = "routing.jsonl", "to-label.jsonl"
FIX = "Give the file routing.jsonl that `cai evaluate routing` wrote."
LEAST = 1e-12  # of a chance: an even draw of one from a million millions


def write_route(route: Route, out: Path) -> tuple[Path, Path]:
    """Write both files into the folder ``out``, and return them."""
    out.mkdir(parents=True, exist_ok=True)
    items, asked = out / ITEMS, out / ASKED
    replace_text(items, "".join(_line(_item(one, route)) for one in route.items))
    replace_text(asked, "".join(_line(_question(one)) for one in route.drawn))
    return items, asked


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def _item(routed: Routed, route: Route) -> dict[str, Any]:
    return {
        "item": routed.one.item.id,
        "chance": routed.chance,
        "drawn": routed.is_drawn,
        "labels": len(routed.one.item.said),
        "probability": routed.one.probability(),
        "doubt": routed.doubt,
        "signals": dict(routed.signals),
        "verdicts": dict(routed.verdicts),
        "budget": route.budget,
        "seed": route.seed,
    }


def _question(routed: Routed) -> dict[str, Any]:
    """An item as projects and importers take it. Neither a judge's opinion nor a chance stands where people read."""
    item = routed.one.item
    prompt = [message.model_dump(mode="json", exclude_none=True) for message in item.prompt.messages]
    responses = [response.text for response in (item.first, item.second)]
    return {
        "prompt": prompt,
        "responses": responses,
        "models": [response.model for response in (item.first, item.second)],
    }


def read_draw(file: Path) -> Draw:
    """Return what was drawn. Raises `InputError` for a file that is none of ours."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't be read: {error}", where=str(file), fix=FIX) from None
    chances: dict[str, float] = {}
    shown: set[str] = set()
    for number, line in enumerate(lines, 1):
        item, chance, is_shown = _chance(line, f"{file}:{number}")
        if item in chances:
            raise InputError(f"the item {item} stands there twice", where=f"{file}:{number}", fix=FIX)
        chances[item] = chance
        if is_shown:
            shown.add(item)
    if not chances:
        raise InputError("it is empty", where=str(file), fix=FIX)
    return Draw(chances, frozenset(shown))


def _chance(line: str, where: str) -> tuple[str, float, bool]:
    """Return an item, its probability, and whether people have it: drawn, or labelled before."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    told = row if isinstance(row, dict) else {}
    item, chance = told.get("item"), told.get("chance")
    if not isinstance(item, str) or not isinstance(chance, int | float) or chance is True or not LEAST <= chance <= 1:
        raise InputError("it has no item with a chance above 0 and at most 1", where=where, fix=FIX)
    return item, float(chance), bool(told.get("drawn")) or bool(told.get("labels"))
