"""Before and after: both policies answer the held-out prompts, and the judge of the chain compares the answers.

Where the judge is a `verify` rule, the share of answers that satisfy it is certain. Every answer and every vote is on
disk before the next, so that a second start repeats none.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from critic.engine import RunStopped
from critic.engines.verify import parse as parse_rule
from critic.evaluation.policy.figures import figures
from critic.evaluation.policy.measured import HELD_OUT
from critic.records import Line, Prompt
from critic.run.config import RunSettings
from critic.run.folder.results import replace_text
from critic.run.folder.store import RunStore
from critic.run.request import RunRequest
from critic.run.run import run
from critic.settings.judging import Drawn, Pooling, Seeded
from critic.statistics.intervals import Figure, Mean, Share
from critic.statistics.policies.change import mean_change
from service.align.policy import leaking, matches, measured
from service.align.request import ChainRequest


@dataclass(frozen=True, slots=True)
class Answered:
    """What both policies said to one prompt, sample by sample; None where one gave no answer."""

    prompt: Prompt
    before: tuple[str | None, ...]
    after: tuple[str | None, ...]

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield the answers side by side, where both gave one."""
        for before, after in zip(self.before, self.after, strict=True):
            if before is not None and after is not None:
                yield before, after


async def evaluate(request: ChainRequest, settings: RunSettings, lines: Sequence[Line], out: Path) -> dict[str, Any]:
    """Return the figures and answers of the report. Raises `InputError` for settings that don't fit."""
    folder = out / "evaluate"
    folder.mkdir(exist_ok=True)
    with closing(RunStore.open(folder / "answers", {"kind": "align"}, extend=True)) as store:
        measured_policy = await measured(request, settings, lines, f"hf:{out / 'policy'}", store)
    prompts, (before, after) = measured_policy.prompts[HELD_OUT], measured_policy.texts[HELD_OUT]
    answered = [Answered(*three) for three in zip(prompts, before, after, strict=True)]
    outcomes = await _judged(request, settings, answered, folder)
    policy = replace(
        measured_policy,
        matches={HELD_OUT: matches(measured_policy, outcomes)},
        judged_by={HELD_OUT: f"the chain's judge, {', '.join(request.judges)}"},
        leaks=leaking(request),
    )
    answers = []
    for row in answered:
        answers.append(asdict(row) | {"prompt": [m.model_dump() for m in row.prompt.messages]})
    before_by_row = [row.before for row in answered]
    return _win_rate(answered, outcomes) | {
        "samples": measured_policy.samples,
        "answers": answers,
        "before": _side(request, before_by_row),
        "after": _side(request, [row.after for row in answered]),
        "change": _change(request, answered),
        "policy": figures(policy),
    }


def _verified(request: ChainRequest, text: str) -> bool:
    """Whether an answer satisfies the chain's rule."""
    assert request.rule is not None
    return all(check(text) for check in parse_rule(request.rule.target))


def _change(request: ChainRequest, answered: Iterable[Answered]) -> dict[str, Any] | None:
    """Return by how much the share of answers that satisfy the rule rose, with its interval over prompts.

    It is paired: a prompt's own change is counted, where both policies answered. None without a rule.
    """
    if request.rule is None:
        return None
    changes: list[float] = []
    for row in answered:
        sides = []
        for texts in (row.before, row.after):
            sides.append([_verified(request, text) for text in texts if text is not None])
        if all(sides):
            before, after = (sum(hits) / len(hits) for hits in sides)
            changes.append(after - before)
    return _figure(mean_change(changes, range(len(changes))))


def _side(request: ChainRequest, answers: Iterable[tuple[str | None, ...]]) -> dict[str, Any]:
    """One policy's own figures: a prompt's answers are a cluster."""
    verified, words, unanswered = Share(), Mean(), 0
    for texts in answers:
        for text in texts:
            if text is None:
                unanswered += 1
                continue
            words.count(len(text.split()))
            if request.rule:
                verified.count(_verified(request, text))
        words.end_cluster()
        verified.end_cluster()
    figures = {"unanswered": unanswered, "words": _figure(words.figure())}
    return figures | ({"verified": _figure(verified.figure())} if request.rule else {})


Outcomes = Mapping[tuple[str, tuple[str, str]], list[float | None]]
"""By prompt and both answers: what each group's judgement of them was, as a win of the trained policy."""


async def _judged(request: ChainRequest, settings: RunSettings, answered: Sequence[Answered], folder: Path) -> Outcomes:
    """Compare the answers as `cai judge` does."""
    places = [(row, pair) for row in answered for pair in dict.fromkeys(row.pairs()) if pair[0] != pair[1]]
    outcomes: dict[tuple[str, tuple[str, str]], list[float | None]] = {}
    if places:
        rows = []
        for row, pair in places:
            turns = [message.model_dump() for message in row.prompt.messages]
            rows.append({"prompt": turns, "tags": list(row.prompt.tags), "responses": list(pair)})
        replace_text(folder / "pairs.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        own = settings.model_dump(include={*Pooling.model_fields, *Drawn.model_fields, *Seeded.model_fields})
        asked = RunRequest(request.principles, str(folder / "pairs.jsonl"), request.judges, None, request.modes, own)
        outcome = await run(asked, folder / "judge")
        if outcome.progress.stopped:
            raise RunStopped(outcome.progress.stopped)
        for record in _comparisons(folder / "judge" / "feedback.jsonl"):
            row, pair = places[record["row"]]
            outcomes.setdefault((row.prompt.key, pair), []).append(_win(record))
    return outcomes


def _comparisons(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        yield from (row for row in map(json.loads, lines) if row["kind"] == "comparison")


def _win(record: Mapping[str, Any]) -> float | None:
    """1 where the second answer, the trained policy's, is preferred; a tie is one half; None if unreadable."""
    if record["outcome"] == "tie":
        return 0.5
    return float(record["probability"] < 0.5) if record["outcome"] == "preference" else None


def _win_rate(answered: Sequence[Answered], outcomes: Outcomes) -> dict[str, Any]:
    """Count how often the trained policy's answer was preferred."""
    wins, equal, unread = Share(), 0, 0
    for row in answered:
        for pair in row.pairs():
            equal += pair[0] == pair[1]
            of_pair = [0.5] if pair[0] == pair[1] else outcomes.get((row.prompt.key, pair), [None])
            for win in of_pair:
                if win is None:
                    unread += 1
                else:
                    wins.count(win)
        wins.end_cluster()
    return {"win_rate": _figure(wins.figure()), "equal_answers": equal, "unreadable": unread}


def _figure(figure: Figure | None) -> dict[str, Any] | None:
    """Return it as plain data; bounds that are not known are None, since JSON has no infinity."""
    if figure is None:
        return None
    return {key: value if math.isfinite(value) else None for key, value in asdict(figure).items()}
