"""Right and wrong answers: rows as they are published, what a judge is shown, and figures by hand."""

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from constitution.importers.cai_paper import Paper, PaperContrast
from critic.engine import (
    Choices,
    Engine,
    EngineDown,
    EngineError,
    Lane,
    Node,
    OwnTokens,
    RequestTooLong,
    Score,
    reads,
)
from critic.evaluation.choice_figures import figures, unreadable
from critic.evaluation.choice_formats import ChoiceFormat, PaperFormat, PlainFormat
from critic.evaluation.choice_rows import ChoiceRow, read_rows
from critic.evaluation.choices import PairReading, RowReading, measure
from critic.records import Message, Quarantined
from tests.factories import FakeEngine

OPEN = {"prompt": "\n\nHuman: Is it late?\n\nAssistant:", "corrects": ["It is ten."], "incorrects": ["Buy a watch."]}
LISTED = {
    "prompt": "A chat:\n\nHuman: Hi.\n\nAssistant: Hello!\n\nKind?\n (A) It was not.\n (B) It was.\nThe answer is:",
    "corrects": [" (B)"],
    "incorrects": [" (A)"],
}
PAPER = Paper(comparisons=("\nTake the kinder one. Options:",))


def rows_of(tmp_path: Path, *rows: object) -> list[ChoiceRow | Quarantined]:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return list(read_rows(str(file)))


def good_rows(tmp_path: Path, *rows: object) -> list[ChoiceRow]:
    read = rows_of(tmp_path, *rows)
    assert [row for row in read if isinstance(row, Quarantined)] == []
    return [row for row in read if isinstance(row, ChoiceRow)]


# --- rows -------------------------------------------------------------------------------------------------------------


def test_a_transcript_is_a_chat_and_other_text_is_one_message(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}]
    turns = "\n\nHuman: Hi.\n\nAssistant: Hey.\n\nHuman: Who?\n\nAssistant:"
    transcript, text, messages = good_rows(tmp_path, OPEN | {"prompt": turns}, LISTED, OPEN | {"prompt": chat})
    read = [(m.role, m.content) for m in transcript.prompt.messages]
    assert read == [("user", "Hi."), ("assistant", "Hey."), ("user", "Who?")]
    assert [m.content for m in text.prompt.messages] == [LISTED["prompt"]]
    assert [m.model_dump() for m in messages.prompt.messages] == chat


def test_every_correct_answer_meets_every_incorrect_one(tmp_path: Path) -> None:
    [row] = good_rows(tmp_path, OPEN | {"corrects": ["a", "b"], "incorrects": ["c", "d"]})
    assert row.pairs() == (("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"))
    assert row.listed is None


def test_options_of_the_prompt_are_reversed(tmp_path: Path) -> None:
    bracketed = "Which?\n (A) [[[One\n\n(A) or so]]]\n (B) [[[Two]]]\n (C) [[[Three\nfour]]]\n\nThe answer is:"
    lines, brackets = good_rows(
        tmp_path, LISTED, {"prompt": bracketed, "corrects": [" (C)"], "incorrects": [" (A)", " (B)"]}
    )
    assert lines.listed and lines.listed.reverse and brackets.listed and brackets.listed.reverse
    assert lines.listed.reverse.messages[0].content == str(LISTED["prompt"]).replace(
        "(A) It was not.\n (B) It was.", "(A) It was.\n (B) It was not."
    )
    assert brackets.listed.letters == ("A", "B", "C")
    assert brackets.listed.reverse.messages[0].content == (
        "Which?\n (A) [[[Three\nfour]]]\n (B) [[[Two]]]\n (C) [[[One\n\n(A) or so]]]\n\nThe answer is:"
    )


@pytest.mark.parametrize(
    "prompt",
    ["Is it (A) or (B)?", "Which?\n (A) One\n (B) Two\nor three\nor four.", "Which?\n (A) One\n (C) Three\n (B) Two"],
)
def test_options_without_clear_ends_are_read_in_one_order(tmp_path: Path, prompt: str) -> None:
    [row] = good_rows(tmp_path, LISTED | {"prompt": prompt})
    assert row.listed and row.listed.reverse is None and row.listed.letters == ("A", "B")


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ("{", "broken_line", "not JSON"),
        ({"corrects": ["a"], "incorrects": ["b"]}, "bad_prompt", "neither a string nor a list"),
        (OPEN | {"prompt": " "}, "bad_prompt", "the last user message is empty"),
        (OPEN | {"prompt": "\n\nHuman: Hi.\n\nAssistant: Hey."}, "bad_prompt", "roles are out of order"),
        (OPEN | {"prompt": [{"role": "user"}]}, "bad_prompt", "Field required"),
        (OPEN | {"corrects": []}, "bad_answers", "corrects is not a list"),
        (OPEN | {"incorrects": "no"}, "bad_answers", "incorrects is not a list"),
        (OPEN | {"incorrects": ["no", 3]}, "bad_answers", "incorrects is not a list"),
        (OPEN | {"incorrects": ["no", " "]}, "bad_answers", "strings that say something"),
        (OPEN | {"incorrects": ["It is ten."]}, "bad_answers", "an answer stands there twice"),
        (OPEN | {"incorrects": ["\ud83d"]}, "bad_answers", "half of a surrogate pair"),
        (LISTED | {"incorrects": [" (C)"]}, "bad_answers", "no other options than A, B"),
        (LISTED | {"incorrects": ["(B)"]}, "bad_answers", "name the same option"),
    ],
)
def test_a_bad_row_is_named_and_costs_no_other(tmp_path: Path, row: object, reason: str, detail: str) -> None:
    first, bad, last = rows_of(tmp_path, OPEN, row, LISTED)
    assert isinstance(first, ChoiceRow) and isinstance(last, ChoiceRow) and last.row == 2
    assert isinstance(bad, Quarantined)
    assert (bad.row, bad.where, bad.reason) == (1, "rows.jsonl:2", reason)
    assert detail in bad.detail


# --- what is shown and read -------------------------------------------------------------------------------------------


class Reader(FakeEngine):
    """Finds the letter of what holds ``likes`` three nats likelier than any other; a text has a nat a character.

    ``lean`` is added to the letter A.
    """

    def __init__(self, likes: str, lean: float = 0.0) -> None:
        super().__init__()
        self.likes, self.lean = likes, lean
        self.asked: list[tuple[list[tuple[str, str]], Choices]] = []

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        return tuple([self.read(path, read, own) for path, read, own in reads(tree)])

    def read(self, path: Sequence[Message], read: object, own: Sequence[Message]) -> Score:
        if isinstance(read, OwnTokens):
            text = own[0].content
            return Score((-float(len(text)),), 2 if self.likes in text else 1)
        assert isinstance(read, Choices)
        chat: list[tuple[str, str]] = []
        for message in path:
            joined = chat.pop()[1] if chat and chat[-1][0] == message.role else ""
            chat.append((message.role, joined + message.content))
        self.asked.append((chat, read))
        page = chat[-1 if chat[-1][0] == "user" else -2][1]
        marks = [f"({x})" if f"({x})" in page else f"[response {x}" for x in read.texts]
        starts = [page.rindex(mark) for mark in marks] + [len(page)]
        shown = [page[a:b] for a, b in pairwise(starts)]
        return Score(tuple(3.0 * (self.likes in text) + self.lean * (i == 0) for i, text in enumerate(shown)), 1)


async def read_one(engine: Engine, row: ChoiceRow, format: ChoiceFormat | None = None) -> RowReading:
    [reading] = await measure(engine, [row], format or PlainFormat())
    assert isinstance(reading, RowReading)
    return reading


@pytest.mark.parametrize("format", [PlainFormat(), PaperFormat(PAPER)])
async def test_both_orders_are_read_and_undone(tmp_path: Path, format: ChoiceFormat) -> None:
    """The judge likes the correct answer by 3 and the letter A by 1: so 4 where it stands first, and 2 in the other."""
    questions = [f"\n\nHuman: Is it {i}?\n\nAssistant:" for i in range(20)]
    rows = good_rows(tmp_path, *(OPEN | {"prompt": question} for question in questions))
    pairs = [(await read_one(Reader("It is ten.", 1), row, format)).pairs[0] for row in rows]
    assert all((p.given, p.swapped) == ((4, 2) if p.correct_first else (2, 4)) for p in pairs)
    assert all(p.both == 3 for p in pairs)
    assert 4 <= sum(p.correct_first for p in pairs) <= 16, "which one is first is drawn"
    # Ten characters as two tokens, against twelve as one.
    assert all((p.summed, p.per_token) == (2, -5 + 12) for p in pairs)


async def test_options_of_the_prompt_are_shown_as_they_are_and_reversed(tmp_path: Path) -> None:
    [row] = good_rows(tmp_path, LISTED)
    engine = Reader("It was not.", 1)
    reading = await read_one(engine, row)
    (given, _), (reverse, _) = engine.asked
    assert given == [("user", LISTED["prompt"])]
    assert row.listed and row.listed.reverse and reverse == [("user", row.listed.reverse.messages[0].content)]
    # It likes the wrong option, and the letter A: the right one is B, and A in the reverse.
    assert reading.pairs == (PairReading(False, -4, -2, 0, 0, 1.0),)
    assert not reading.one_order and reading.problems == ()


async def test_more_than_two_options(tmp_path: Path) -> None:
    prompt = "Which?\n (A) One\n (B) Two\n (C) Three\nThe answer is:"
    [row] = good_rows(tmp_path, {"prompt": prompt, "corrects": [" (C)"], "incorrects": [" (A)", " (B)"]})
    engine = Reader("Three", 1)
    reading = await read_one(engine, row, PaperFormat(PAPER))
    assert [choices.texts for _, choices in engine.asked] == [("A", "B", "C")] * 2
    assert [(p.correct_first, p.given, p.swapped) for p in reading.pairs] == [(False, 2, 4), (False, 3, 4)]
    assert engine.asked[0][0] == [("user", prompt), ("assistant", " (")]


async def test_options_that_can_not_be_reversed_are_read_in_one_order(tmp_path: Path) -> None:
    [row] = good_rows(tmp_path, LISTED | {"prompt": "Which?\n (A) One\n (B) Two\nor three\nor four."})
    engine = Reader("Two")
    reading = await read_one(engine, row)
    assert (reading.one_order, reading.pairs[0].given, reading.pairs[0].swapped) == (True, 3, None)
    assert len(engine.asked) == 1
    assert unreadable([reading]).letters == 0, "what was not asked is not unreadable"


async def test_the_paper_s_question_is_shown_to_the_byte(tmp_path: Path) -> None:
    [row] = good_rows(tmp_path, OPEN)
    shot = PaperContrast("\n\nHuman: May I?\n\nAssistant:", ("Please do.",), ("No.",))
    engine = Reader("It is ten.")
    reading = await read_one(engine, row, PaperFormat(Paper(comparisons=PAPER.comparisons, contrasts=(shot,))))
    head = "\n\nConsider the following conversation between a human and an assistant:\n\nHuman: "
    tail = "\n\n\nTake the kinder one. Options:\n (A) [[[{}]]]\n (B) [[[{}]]]\n\nThe answer is:"
    orders = [("It is ten.", "Buy a watch."), ("Buy a watch.", "It is ten.")]
    for (chat, _), order in zip(engine.asked, orders if reading.pairs[0].correct_first else orders[::-1], strict=True):
        assert chat == [
            ("user", f"{head}May I?{tail.format('Please do.', 'No.')}"),
            ("assistant", " (A)"),
            ("user", f"{head}Is it late?{tail.format(*order)}"),
            ("assistant", " ("),
        ]


async def test_each_row_draws_one_of_the_paper_s_instructions(tmp_path: Path) -> None:
    questions = [OPEN | {"prompt": f"\n\nHuman: Is it {i}?\n\nAssistant:"} for i in range(12)]
    paper = Paper(comparisons=("\nOne. Options:", "\nTwo. Options:"))
    drawn = []
    for row in good_rows(tmp_path, *questions):
        engine = Reader("It is ten.")
        await read_one(engine, row, PaperFormat(paper))
        pages = [chat[0][1] for chat, _ in engine.asked]
        drawn.append("One." if "\nOne. Options:" in pages[0] else "Two.")
        assert all(f"\n{drawn[-1]} Options:" in page for page in pages)
    assert set(drawn) == {"One.", "Two."}


# --- what can't be read -----------------------------------------------------------------------------------------------


class Failing(Reader):
    """Raises ``error`` for reads of one kind, or of any."""

    def __init__(self, error: Exception, kind: type = object) -> None:
        super().__init__("It is ten.")
        self.error, self.kind = error, kind

    def read(self, path: Sequence[Message], read: object, own: Sequence[Message]) -> Score:
        if isinstance(read, self.kind):
            raise self.error
        return super().read(path, read, own)


async def test_a_server_without_likelihoods_still_chooses(tmp_path: Path) -> None:
    [row] = good_rows(tmp_path, OPEN)
    reading = await read_one(Failing(EngineError("it can't tell"), OwnTokens), row)
    assert (reading.pairs[0].both, reading.pairs[0].summed, reading.problems) == (3, None, ("it can't tell",))
    assert unreadable([reading]) == (0, 1, 1, 0)
    by_name = figures([reading])
    assert by_name["accuracy, likelihood summed"] is None and by_name["accuracy, both orders"] is not None


@pytest.mark.parametrize(
    ("error", "reason"), [(EngineError("broken"), "engine_error"), (RequestTooLong("broken"), "too_long")]
)
async def test_a_row_of_which_nothing_can_be_read_is_quarantined(tmp_path: Path, error: Exception, reason: str) -> None:
    rows = good_rows(tmp_path, OPEN, OPEN | {"corrects": ["Ten."]})
    assert await measure(Failing(error), rows[:1], PlainFormat()) == [
        Quarantined(row=0, where="rows.jsonl:1", reason=reason, detail="broken")
    ]


async def test_a_conversation_that_the_paper_can_not_hold_is_not_asked(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}]
    [row] = good_rows(tmp_path, OPEN | {"prompt": chat})
    engine = Reader("It is ten.")
    reading = await read_one(engine, row, PaperFormat(PAPER))
    assert reading.problems == ("the paper's transcripts have no place for a system message",)
    assert (engine.asked, reading.pairs[0].given, reading.pairs[0].summed) == ([], None, 2)


async def test_an_engine_that_is_gone_ends_the_measurement(tmp_path: Path) -> None:
    with pytest.raises(EngineDown):
        await measure(Failing(EngineDown("gone")), good_rows(tmp_path, OPEN), PlainFormat())


async def test_an_engine_that_fails_every_row_ends_the_measurement(tmp_path: Path) -> None:
    rows = good_rows(tmp_path, *[OPEN | {"corrects": [f"It is {hour}."]} for hour in range(20)])
    with pytest.raises(EngineDown, match="failed in the same way, and none was answered: no weights"):
        await measure(Failing(EngineError("no weights")), rows, PlainFormat())
    read = await measure(Failing(EngineError("it can't tell"), OwnTokens), rows, PlainFormat())
    assert len(read) == 20  # a server without likelihoods fails in one of two ways


class Thinks(FakeEngine):
    """Puts ``mass`` on the letters, four fifths of it on A, and the rest where its thoughts begin."""

    def __init__(self, mass: float) -> None:
        super().__init__()
        self.mass = mass

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        letters = (math.log(0.8 * self.mass), math.log(0.2 * self.mass))
        return tuple(Score(letters if isinstance(read, Choices) else (-1.0,), 1) for _, read, _ in reads(tree))


@pytest.mark.parametrize(("mass", "floor", "is_read"), [(0.09, 0.1, False), (0.11, 0.1, True), (1e-10, 0.0, True)])
@pytest.mark.parametrize("row", [OPEN, LISTED])
async def test_letters_below_the_floor_are_unreadable(
    tmp_path: Path, row: dict[str, object], mass: float, floor: float, is_read: bool
) -> None:
    [reading] = await measure(Thinks(mass), good_rows(tmp_path, row), PlainFormat(), floor=floor)
    assert isinstance(reading, RowReading)
    [pair] = reading.pairs
    assert (pair.given is not None, pair.swapped is not None) == (is_read, is_read)
    assert pair.mass == pytest.approx(mass) and pair.summed == 0
    assert unreadable([reading], floor) == (int(not is_read), 0, 1, int(not is_read))


class Broken(FakeEngine):
    """Its arithmetic fails everywhere."""

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        counts = [len(read.texts) if isinstance(read, Choices) else 1 for _, read, _ in reads(tree)]
        return tuple(Score((math.nan,) * count, 1) for count in counts)


async def test_values_that_are_no_numbers_are_unreadable(tmp_path: Path) -> None:
    readings = [await read_one(Broken(), row) for row in good_rows(tmp_path, OPEN, LISTED)]
    assert unreadable(readings) == (2, 2, 2, 0)
    assert set(figures(readings).values()) == {None}


# --- figures ----------------------------------------------------------------------------------------------------------


def pair(given: float | None, swapped: float | None, likely: float | None = 1.0, *, first: bool = True) -> PairReading:
    return PairReading(first, given, swapped, likely, likely)


def reading(number: int, *pairs: PairReading) -> RowReading:
    return RowReading(number, f"rows.jsonl:{number + 1}", pairs, one_order=False, problems=())


def test_figures_by_hand() -> None:
    """Five pairs in four rows: right; right on average; a tie of both orders; wrong twice; unread in one order."""
    readings = [
        reading(0, pair(2, 1)),
        reading(1, pair(3, -1, -1.0), pair(-2, 2)),
        reading(2, pair(-1, -2, None)),
        reading(3, pair(1, None)),
    ]
    by_name = {name: (f.estimate, f.n, f.clusters) if f else None for name, f in figures(readings).items()}
    assert by_name["accuracy, given order"] == (3 / 5, 5, 4)
    assert by_name["accuracy, both orders"] == (2 / 4, 4, 3)
    assert by_name["ties, both orders"] == (1 / 4, 4, 3)
    assert by_name["rows right, given order"] == (2 / 4, 4, 4)
    assert by_name["rows right, both orders"] == (1 / 3, 3, 3)
    assert by_name["orders agree"] == by_name["same position"] == (2 / 4, 4, 3)
    assert by_name["accuracy, likelihood summed"] == (3 / 4, 4, 3)
    assert unreadable(readings) == (1, 1, 5, 0)


def test_a_judge_that_always_says_a_is_never_right_in_both_orders_and_keeps_its_position() -> None:
    """Half of the correct answers stand first: so half are right in the given order, and all are ties of both."""
    readings = [reading(i, pair(5, -5) if i % 2 else pair(-5, 5, first=False)) for i in range(8)]
    by_name = {name: f.estimate if f else None for name, f in figures(readings).items()}
    assert by_name["accuracy, given order"] == 0.5
    assert (by_name["accuracy, both orders"], by_name["ties, both orders"]) == (0, 1)
    assert (by_name["orders agree"], by_name["same position"]) == (0, 1)
    # Sure of the first (1 / (1 + e^-5) = .9933), of which half are right; and undecided, as it should be, on average.
    assert by_name["calibration error, given order"] == pytest.approx(0.4933, abs=1e-4)
    assert by_name["calibration error, both orders"] == 0
    assert by_name["Brier score, both orders"] == 0.25


def test_calibration_is_that_of_the_answer_shown_first() -> None:
    """Log-odds log 4 for the correct one, shown first: .8, and it is; shown second: .2 for the first, and it isn't."""
    by_name = figures([reading(row, pair(math.log(4), None, first=row % 2 == 0)) for row in range(40)])
    assert (error := by_name["calibration error, given order"]) and error.estimate == pytest.approx(0.2, abs=1e-4)
    assert (score := by_name["Brier score, given order"]) and score.estimate == pytest.approx(0.04)
    assert by_name["Brier score, both orders"] is None
