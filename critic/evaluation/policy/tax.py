"""The alignment tax: multiple-choice accuracy before and after, on files in MMLU's form (Hendrycks et al. 2021).

A folder of CSV files, one a subject, without a header: question, four options, the right one's letter. Files in a
folder ``dev`` beside them are the few shots of their subject. What is read is which letter comes next, in the open turn
of the assistant; where less than a floor of probability is on all four, a question is unreadable, and counts as wrong
by chance: a quarter right.
"""

import asyncio
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError
from base.together import together
from critic.calls.faults import Streak
from critic.engine import Choices, Engine, EngineError, Node
from critic.judging.base import FLOOR, mass_of
from critic.records import Message

LETTERS = ("A", "B", "C", "D")
SHOTS = "dev"
IN_FLIGHT = 64
CHANCE = 1 / len(LETTERS)

_PARTS = ("_dev", "_val", "_test")


@dataclass(frozen=True, slots=True)
class MultipleChoice:
    """One question. ``right`` is the place of the right option."""

    subject: str
    question: str
    options: tuple[str, ...]
    right: int

    def page(self) -> str:
        """The question as it is shown, up to the answer."""
        listed = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, self.options, strict=True))
        return f"{self.question}\n{listed}\nAnswer:"


@dataclass(frozen=True, slots=True)
class Exam:
    """Questions, and by subject the shots before each."""

    questions: tuple[MultipleChoice, ...]
    shots: Mapping[str, tuple[MultipleChoice, ...]]


def read_exam(folder: Path, shots: int, limit: int | None = None) -> Exam:
    """Read a folder of CSV files, or one with folders ``dev`` and ``val`` or ``test``.

    ``limit`` takes so many questions, evenly from the subjects. Raises `InputError` for what isn't such a folder.
    """
    parts = [folder / name for name in ("test", "val") if (folder / name).is_dir()]
    asked = parts[0] if parts else folder
    questions = [question for file in _files(asked) for question in _read(file)]
    if not questions:
        raise InputError("there are no questions", where=str(asked), fix="Expected CSV files, one a subject.")
    before: dict[str, list[MultipleChoice]] = {}
    if shots:
        shown = (folder if parts else folder.parent) / SHOTS
        if not shown.is_dir():
            raise InputError("there are no shots", where=str(shown), fix="Leave --shots out, or add the folder.")
        for file in _files(shown):
            before[_subject(file)] = list(_read(file))[:shots]
    taken = _evenly(questions, limit)
    return Exam(tuple(taken), {subject: tuple(own) for subject, own in before.items()})


def prompt_of(question: MultipleChoice, shots: Sequence[MultipleChoice]) -> tuple[Message, ...]:
    """The chat before the letter, in the words of the benchmark."""
    subject = question.subject.replace("_", " ")
    head = f"The following are multiple choice questions (with answers) about {subject}."
    shown = [f"{shot.page()} {LETTERS[shot.right]}" for shot in shots]
    return (Message(role="user", content="\n\n".join([head, *shown, question.page()])),)


async def sit(
    engine: Engine, exam: Exam, on_done: Callable[[], None] = lambda: None, floor: float = FLOOR
) -> list[float | None]:
    """Return for each question 1 or 0, shares where letters are equally likely; None where it can't be read."""
    slots, streak = asyncio.Semaphore(IN_FLIGHT), Streak()

    async def one(question: MultipleChoice) -> float | None:
        chat = prompt_of(question, exam.shots.get(question.subject, ()))
        async with slots:
            try:
                [score] = await streak.do(lambda: engine.score(Node(chat, Choices(LETTERS))))
            except EngineError:  # counted as unread
                return None
            finally:
                on_done()
        if not mass_of(score) >= floor:
            return None
        best = max(score.values)
        likeliest = [place for place, value in enumerate(score.values) if value == best]
        return float(question.right in likeliest) / len(likeliest)

    return await together(one(question) for question in exam.questions)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError("this is no folder", where=str(folder), fix="Name one of CSV files in MMLU's form.")
    return sorted(file for file in folder.iterdir() if file.suffix == ".csv")


def _subject(file: Path) -> str:
    for part in _PARTS:
        if file.stem.endswith(part):
            return file.stem.removesuffix(part)
    return file.stem


def _read(file: Path) -> Iterator[MultipleChoice]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            for number, cells in enumerate(csv.reader(lines, strict=True), 1):
                if cells:
                    yield _question(cells, _subject(file), f"{file}:{number}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"not a CSV file: {error}", where=str(file)) from None


def _question(cells: Sequence[str], subject: str, where: str) -> MultipleChoice:
    *texts, letter = (cell.strip() for cell in cells)
    if len(texts) != 1 + len(LETTERS) or letter.upper() not in LETTERS or not all(texts):
        raise InputError(
            "expected a question, four options and a letter from A to D",
            where=where,
            fix="MMLU's files have no header.",
        )
    return MultipleChoice(subject, texts[0], tuple(texts[1:]), LETTERS.index(letter.upper()))


def _evenly(questions: Sequence[MultipleChoice], limit: int | None) -> list[MultipleChoice]:
    """The first question of each subject, then the second of each, up to ``limit``."""
    by_subject: dict[str, list[MultipleChoice]] = {}
    for question in questions:
        by_subject.setdefault(question.subject, []).append(question)
    longest = max(map(len, by_subject.values()))
    dealt = [own[i] for i in range(longest) for own in by_subject.values() if i < len(own)]
    return dealt[:limit]
