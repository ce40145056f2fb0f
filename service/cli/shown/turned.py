"""What changed when a run was extended, for people and as JSON: in the words of ``cai reweigh``."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from critic.run.folder.turned import Turned, TurnedJudgement
from critic.run.folder.weighing import Change
from service.cli.shown.display import clean
from service.cli.shown.voice import say

JUDGEMENTS: dict[Change, str] = {
    "kept_side": "kept their side",
    "changed_side": "changed side",
    "became_tie": "became ties",
    "stopped_being_tie": "stopped being ties",
    "stayed_tie": "stayed ties",
    "became_unreadable": "have no usable vote any more",
    "became_readable": "have a usable vote now",
    "stayed_unreadable": "stay without a usable vote",
    "group_is_new": "are new",
    "group_is_gone": "are gone",
}
ALWAYS_SHOWN = 4  # of these, also where there are none
NAMED = 5  # judgements that the terminal names; JSON names all


def counted(judgements: Mapping[Change, int]) -> str:
    """Say how many judgements changed in which way."""
    always = list(JUDGEMENTS)[:ALWAYS_SHOWN]
    counts = {name: judgements.get(name, 0) for name in JUDGEMENTS}
    shown = [(name, count) for name, count in counts.items() if count or name in always]
    return ", ".join(f"{count} {JUDGEMENTS[name]}" for name, count in shown)


def print_turned(turned: Turned, out: Path) -> None:
    """Say what changed since before, and where what was exported then is."""
    lost = f", {turned.lost} without a result now" if turned.lost else ""
    say(f"changed: of {turned.rows} rows done again{lost}: judgements: {counted(turned.judgements)}")
    pairs = f"{turned.pairs_before} before, {turned.pairs_after} now"
    say(f"         pairs: {pairs}; {out}/before/ has the exports of before")
    for turn in turned.turns[:NAMED]:
        say(clean(f"         {_line(turn)}"))
    if len(turned.turns) > NAMED:
        say(f"         and {len(turned.turns) - NAMED} more; --json names all")


def _line(turn: TurnedJudgement) -> str:
    group = f", group {turn.group}" if turn.group is not None else ""
    before, after = ("none" if one is None else f"{one:.3f}" for one in (turn.before, turn.after))
    return f"row {turn.row} ({turn.where}{group}), response {turn.first} against {turn.second}: {before}, now {after}"


def turned_json(turned: Turned) -> dict[str, Any]:
    """Return the same as plain data."""
    judgements = {name: turned.judgements.get(name, 0) for name in JUDGEMENTS}
    return {
        "rows": turned.rows,
        "lost": turned.lost,
        "pairs": {"before": turned.pairs_before, "after": turned.pairs_after},
        "judgements": judgements,
        "turns": [asdict(turn) for turn in turned.turns],
    }
