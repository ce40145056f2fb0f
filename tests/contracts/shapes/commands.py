"""What each command makes of the rows of a case, by its own reader, in the words of the table."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from base.errors import InputError
from critic.feedback import ComparisonLabel, DemonstrationLabel, Feedback, RankingLabel, RatingLabel, ThumbsLabel
from critic.files.inputs import read_labelled, read_pairs, read_prompts
from critic.files.sources import Broken
from critic.records import Line, Quarantined
from service.formats import format_of
from tests.contracts.shapes.rows import ASK, Case
from trainers.batches.data import read
from trainers.batches.examples import Demonstration, Example, Pair, Ranked, Rated

TRAINERS: dict[str, Sequence[type[Example]]] = {
    "sft": (Demonstration,),
    "dpo": (Pair,),
    "reward": (Pair, Ranked, Rated),
}


def written(case: Case, folder: Path) -> str:
    path = folder / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in case.rows))
    return str(path)


def lines(case: Case, folder: Path, reader: Callable[..., Iterator[Line | Quarantined]], **more: Any) -> list[Any]:
    read_lines = reader(written(case, folder), max_chars=999, **more)
    return [line.reason if isinstance(line, Quarantined) else line for line in read_lines]


def generated(case: Case, folder: Path) -> list[Any]:
    return lines(case, folder, read_prompts, truncate=False)


def judged(case: Case, folder: Path) -> list[Any]:
    return [answers(line) for line in lines(case, folder, read_pairs, truncate=False)]


def evaluated(case: Case, folder: Path) -> list[Any]:
    return [answers(line) for line in lines(case, folder, read_labelled)]


def answers(line: Any) -> Any:
    return line if isinstance(line, str) else [response.text for response in line.item.responses]


def trained(case: Case, folder: Path, method: str) -> tuple[list[Example], list[str]]:
    """Return the examples of a trainer, and the reasons of what it refuses.

    A file of which nothing can be used is an error, so one row that can be stands behind the case's.
    """
    source = Path(written(case, folder))
    usable = {"completion": "yes"} if method == "sft" else {"chosen": "yes", "rejected": "no"}
    kept = source.read_text()
    try:
        data = read(str(source), TRAINERS[method])
    except InputError:
        source.write_text(kept + json.dumps({"prompt": "Else?"} | usable) + "\n")
        data = read(str(source), TRAINERS[method])
    examples = [example for example in data.examples if example.prompt.messages[-1].content.endswith(ASK)]
    return examples, [row.reason for row in data.refused]


def said(example: Example) -> tuple[object, ...]:
    if isinstance(example, Ranked):
        return ("Ranked", example.ranks)
    value = (example.value,) if isinstance(example, Rated) else ()
    return (type(example).__name__, *example.answers, *value)


def imported(case: Case, folder: Path) -> list[Any]:
    return list(format_of("jsonl").read(Path(written(case, folder))))


def reason_or(row: Broken | Feedback) -> object:
    return row.reason if isinstance(row, Broken) else told(row)


def told(feedback: Feedback) -> tuple[object, ...]:
    match feedback.label:
        case ComparisonLabel(choice=choice):
            return ("comparison", choice, *(response.text for response in feedback.responses))
        case RankingLabel(ranks=ranks):
            return ("ranking", ranks)
        case RatingLabel(value=value, scale=scale, response=place):
            ends = (scale.min, scale.max)
            return ("rating", value, ends, feedback.responses[place].text, feedback.principle)
        case ThumbsLabel(value=value):
            return ("thumbs", value, feedback.responses[0].text)
        case DemonstrationLabel(text=text):
            return ("demonstration", text)
    raise AssertionError(feedback.kind)
