"""What models think is kept beside what they answer, and is nobody's answer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from critic.calls.ledger import Budget, MemoryLedger, RecordedEngine
from critic.engine import Completion, Lane, Request
from critic.engines.scripted import Script, ScriptedEngine, ScriptedRule
from critic.files.inputs import open_pairs
from critic.records import Line, Prompt, Row
from critic.revise import revise
from critic.run.folder.export import export
from tests.critic.test_pipeline import SAMPLING, TWO, line, pipeline, reasons
from tests.factories import FakeEngine, prompt, provenance, response

THINKS = Script(
    replies=(
        ScriptedRule(match="(kind|short) critique", reply="<think>Is it kind?</think>\n\nIt could be kinder."),
        ScriptedRule(match="(kind|short) revision", reply="<think>So I write anew.</think>\n\nA kinder answer {seed}."),
        ScriptedRule(reply="<think>Plan {seed}.</think>\n\nAnswer {seed}."),
    )
)


def everything_said(row: Row) -> list[str]:
    """All texts that are judged, learned from or shown as an answer."""
    said = [side.text for pair in row.pairs for side in (pair.chosen, pair.rejected)]
    for chain in row.chains:
        said.append(chain.original.text)
        for revision in chain.revisions:
            said.append(revision.critique.text)
            said += [revision.response.text] if revision.response else []
    return said


async def test_no_thought_is_in_an_answer_and_none_is_lost() -> None:
    row = await pipeline(THINKS).run(line())
    assert row.pairs and not any("think" in text or "Plan" in text for text in everything_said(row))
    assert all(chain.original.reasoning == f"Plan {chain.original.text[7:-1]}." for chain in row.chains)
    assert all(pair.chosen.reasoning for pair in row.pairs)


class Thinker(FakeEngine):
    """Answers from a list, and keeps what it was asked."""

    def __init__(self, *answers: Completion) -> None:
        super().__init__("thinker")
        self.answers, self.asked = list(answers), list[Request]()

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        self.asked.append(request)
        return self.answers.pop(0)


def thought(text: str, reasoning: str | None = "Hm.", finish: Any = "stop") -> Completion:
    return Completion(text, finish, 10, 256, reasoning)


async def revised(engine: Thinker) -> Any:
    chain = await revise(engine, prompt(), response("The Po."), TWO.principles[:1], SAMPLING, [1])
    return chain.revisions[0]


async def test_a_revision_chat_holds_no_thought() -> None:
    engine = Thinker(thought("Be kinder.", "SECRET"), thought("The Po, friend.", "SECRET"))
    revision = await revised(engine)
    assert not any("SECRET" in message.content for asked in engine.asked for message in asked.messages)
    assert revision.critique.reasoning == revision.response.reasoning == "SECRET"
    assert (revision.critique.text, revision.response.text) == ("Be kinder.", "The Po, friend.")


async def test_nothing_to_revise_is_found_after_thoughts() -> None:
    revision = await revised(Thinker(thought("NOTHING TO REVISE", "It is kind already.")))
    assert revision.outcome == "nothing_to_revise"


@pytest.mark.parametrize(
    ("answers", "outcome", "detail"),
    [
        ([thought("", finish="length")], "no_answer", "the limit of 256 tokens was reached before an answer"),
        ([thought("", finish="stop")], "no_answer", "the model thought, and gave no answer"),
        ([thought("", None)], "unreadable", ""),
        (
            [thought("Be kinder."), thought("", finish="length")],
            "no_answer",
            "the limit of 256 tokens was reached before an answer",
        ),
        ([thought("Be kinder."), thought("", None)], "unreadable", ""),
    ],
)
async def test_thoughts_without_an_answer_are_an_outcome_of_their_own(
    answers: list[Completion], outcome: str, detail: str
) -> None:
    revision = await revised(Thinker(*answers))
    assert (revision.outcome, revision.detail) == (outcome, detail)


async def test_a_response_without_an_answer_is_dropped_with_its_reason() -> None:
    script = Script(replies=(ScriptedRule(match="Why", reply="<think>I could go on for ever"), *THINKS.replies))
    row = await pipeline(THINKS, policy=script).run(line())
    assert reasons(row)[:2] == [("response", "no_answer")] * 2 and not row.candidates
    assert row.drops[0].detail == "response 0: the model thought, and gave no answer"
    empty = await pipeline(THINKS, policy=Script(replies=(ScriptedRule(reply=" "),))).run(line())
    assert reasons(empty)[0] == ("response", "empty_response")


async def test_responses_that_were_given_with_their_thoughts_are_judged_without_them() -> None:
    row = await pipeline(Script()).run(line(responses=("<think>a</think>\n\nThe Po.", "The <think> tag.")))
    assert [candidate.text for candidate in row.candidates] == ["The Po.", "The <think> tag."]
    assert [candidate.reasoning for candidate in row.candidates] == ["a", None]


async def test_the_ledger_keeps_thoughts_and_still_reads_answers_without_a_place_for_them() -> None:
    ledger = MemoryLedger()
    asked = Request(Prompt(messages=prompt().messages).messages, SAMPLING, 0)
    for answer in (thought("The Po.", "Hm."), thought("The Po.", None)):
        ledger = MemoryLedger()
        first = await RecordedEngine(Thinker(answer), ledger, Budget()).complete(asked)
        assert first == answer == await RecordedEngine(Thinker(), ledger, Budget()).complete(asked)
        [[*kept]] = ledger._answers.values()
        assert len(kept) == (4 if answer.reasoning is None else 5)


@pytest.fixture
def exported(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def write(row: Row, format: Any, **options: Any) -> dict[str, Any]:
        export(lambda: iter([row]), lambda: iter([]), provenance(), tmp_path, format, **options)
        names = ("pairs", "sft", "feedback")
        if format == "parquet":
            return {name: pq.read_table(tmp_path / f"{name}.parquet").to_pylist() for name in names}
        texts = {name: (tmp_path / f"{name}.jsonl").read_text() for name in names}
        return {name: list(map(json.loads, text.splitlines())) for name, text in texts.items()}

    return write


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
async def test_reasoning_is_exported_where_it_is_asked_for(format: str, exported: Callable[..., Any]) -> None:
    row = await pipeline(THINKS).run(line())
    plain = exported(row, format)
    assert "Plan" not in str(plain) and "reasoning" not in str(plain) and "think" not in str(plain)
    full = exported(row, format, reasoning=True)
    [pair] = full["pairs"]
    assert pair["chosen"][0]["reasoning_content"] == row.pairs[0].chosen.reasoning
    assert pair["prompt"] == [{"role": "user", "content": "Why?"}]
    assert full["sft"][0]["completion"][0]["reasoning_content"] == "So I write anew."
    assert {one["reasoning"] for one in full["feedback"] if one["kind"] == "critique"} == {"Is it kind?"}
    for table, records in plain.items():
        expected = []
        for one in full[table]:
            expected.append(
                {key: value for key, value in one.items() if key != "reasoning"}
                | {"chosen": 0, "rejected": 0, "completion": 0}
            )
        assert [one | {"chosen": 0, "rejected": 0, "completion": 0} for one in records] == expected


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
async def test_where_nobody_thinks_there_is_nothing_to_export(format: str, exported: Callable[..., Any]) -> None:
    row = await pipeline(Script()).run(line())
    [pair] = exported(row, format, reasoning=True)["pairs"]
    assert pair["chosen"][0].get("reasoning_content") is None
    if format == "jsonl":
        assert "reasoning_content" not in pair["chosen"][0]


async def test_what_was_exported_with_reasoning_is_read_again(exported: Callable[..., Any], tmp_path: Path) -> None:
    row = await pipeline(THINKS).run(line())
    exported(row, "jsonl", reasoning=True)
    [read] = list(open_pairs(str(tmp_path / "pairs.jsonl"), max_chars=1000, truncate=False))
    read_line = read()
    assert isinstance(read_line, Line)
    assert [one.text for one in read_line.item.responses] == [row.pairs[0].chosen.text, row.pairs[0].rejected.text]


async def test_a_script_can_think() -> None:
    answer = await ScriptedEngine(THINKS).complete(Request(prompt().messages, SAMPLING, 7))
    assert (answer.text, answer.reasoning) == ("Answer 7.", "Plan 7.")
