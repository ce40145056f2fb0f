"""The published few-shots of the Constitutional AI paper, taken apart and put together again, to the byte."""

import re
from pathlib import Path

import pytest

from constitution.importers.cai_paper import Paper, PaperRequest, read_paper
from critic.evaluation import paper_format
from critic.evaluation.choice_rows import ChoiceRow, read_rows
from critic.records import Message


@pytest.fixture(scope="module")
def paper(cai_data: Path) -> Paper:
    return read_paper(sorted((cai_data / "cai_paper" / "prompts").glob("*.json")))


def chat(short: str) -> tuple[Message, ...]:
    """A conversation of H and A."""
    return paper_format.messages_of(
        re.sub(r"\n\n([HA]):", lambda m: {"H": "\n\nHuman:", "A": "\n\nAssistant:"}[m[1]], short)
    )


def test_questions_that_are_reasoned_about(paper: Paper) -> None:
    """Two of the six begin with fewer line feeds or without "(H)"; from the conversation on all are alike."""
    begins = r"\n{0,2}Human: Consider .*?:(?=\n\nH:)"
    whole = 0
    for shot in paper.reasoned:
        parts = re.fullmatch(
            rf"({begins})(.*)\n\n\{{\}}\n \(A\) \[\[\[(.*)\]\]\]\n \(B\) \[\[\[(.*)\]\]\]\n\nAssistant: Let's think "
            r"step by step:(.*)\n\nHuman:\nSo the answer is:( \([AB]\))",
            shot,
            re.DOTALL,
        )
        assert parts is not None
        introduction, conversation, a, b, reasoning, answer = parts.groups()
        ours = (
            paper_format.reasoned_choice(chat(conversation), "{}", (a, b)) + reasoning + paper_format.VERDICT + answer
        )
        assert ours.removeprefix(paper_format.REASONING_INTRODUCTION) == shot.removeprefix(introduction)
        whole += ours == shot
    assert (whole, len(paper.reasoned)) == (4, 6)


def test_few_shots_that_reason_take_the_instruction_in_their_place(paper: Paper) -> None:
    for instruction in paper.comparisons:
        asked = paper_format.reasoned_choice(
            (Message(role="user", content="Why?"),), instruction, ("Because.", "No."), paper.reasoned
        )
        assert asked.count(instruction) == 7 and "{}" not in asked
        assert asked.startswith("".join(paper.reasoned).replace("{}", instruction))


def test_critiques_and_revisions(paper: Paper) -> None:
    for shot in paper.few_shots:
        parts = re.fullmatch(
            r"(.*)(\n\nCritiqueRequest: .*\n\nCritique:) (.*)(\n\nRevisionRequest: .*\n\nRevision:)( .*?)(\n\nHuman:)?",
            shot,
            re.DOTALL,
        )
        assert parts is not None
        conversation, critique, written, revision, revised, open_turn = parts.groups(default="")
        request, messages = PaperRequest("", critique, revision), paper_format.messages_of(conversation)
        assert [message.role for message in messages[-2:]] == ["user", "assistant"]
        assert paper_format.revision(messages, request, written) + revised + open_turn == shot
        assert paper_format.critique(messages, request, [shot]).count(critique) == 2


def test_multiple_choice_has_the_layout_of_the_questions_that_are_reasoned_about(paper: Paper) -> None:
    """The strings between the conversation and the last option are the same in both published layouts."""
    for shot in paper.reasoned:
        middle = shot[shot.index("\n\n{}") : shot.index(paper_format.REASONING)]
        a, b = re.findall(r"\[\[\[(.*?)\]\]\]", middle, re.DOTALL)
        user = (Message(role="user", content="Why?"),)
        assert paper_format.multiple_choice(user, "{}", (a, b)) == (
            f"{paper_format.INTRODUCTION}\n\nHuman: Why?{middle}{paper_format.ANSWER}"
        )


def test_few_shots_with_a_right_and_a_wrong_answer(paper: Paper) -> None:
    for instruction in paper.comparisons:
        shots = paper_format.few_shots(paper.contrasts, instruction)
        asked = paper_format.multiple_choice((Message(role="user", content="Why?"),), instruction, ("x", "y"), shots)
        assert asked.count(instruction) == 6
        assert [answer for _, answer in shots] == [" (A)", " (B)", " (A)", " (B)", " (A)"]
        for contrast, (question, answer) in zip(paper.contrasts, shots, strict=True):
            assert question in asked
            assert f"{answer} [[[{contrast.corrects[0]}]]]\n" in question
            assert contrast.prompt.removesuffix("\n\nAssistant:") + "\n\n" + instruction + "\n (A) [[[" in question
            assert question.endswith("]]]\n\nThe answer is:")


def test_the_few_shots_are_rows_that_a_judge_can_be_measured_on(cai_data: Path) -> None:
    rows = list(read_rows(str(cai_data / "cai_paper" / "prompts" / "RLMadisonFewShotPrompts.json")))
    assert [type(row) for row in rows] == [ChoiceRow] * 5
    assert all(isinstance(row, ChoiceRow) and len(row.prompt.messages) == len(row.pairs()) == 1 for row in rows)
