"""Each shape that rows have in this field, read by every command: what it is there, or why it is refused.

A case names a row (or several), and for each command what comes of it: of ``generate`` the prompt, of ``judge`` the
responses, of ``evaluate`` the better and the worse answer, of the trainers their examples, of ``import`` the labels.
A refusal is its reason.
"""

from pathlib import Path
from typing import Any

import pytest

from critic.files.shapes import naming
from critic.records import Quarantined
from critic.run.request import RunRequest
from service.align import prompts as align
from service.cli.runs.inspection import inspect
from tests.contracts.shapes.cases import CASES
from tests.contracts.shapes.commands import (
    TRAINERS,
    evaluated,
    generated,
    imported,
    judged,
    reason_or,
    said,
    trained,
    written,
)
from tests.contracts.shapes.rows import ASK, Case

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each
def test_generate_reads_the_prompt(case: Case, tmp_path: Path) -> None:
    lines = generated(case, tmp_path)
    assert [line if isinstance(line, str) else line.item.prompt.messages[-1].content for line in lines] == case.generate
    assert all(isinstance(line, str) or len(line.item.prompt.messages) == 1 + case.before for line in lines)


@each
def test_judge_reads_the_responses(case: Case, tmp_path: Path) -> None:
    assert judged(case, tmp_path) == case.judge


@each
def test_evaluate_reads_the_better_and_the_worse(case: Case, tmp_path: Path) -> None:
    assert evaluated(case, tmp_path) == case.evaluate


@pytest.mark.parametrize("method", TRAINERS)
@each
def test_trainers_read_their_examples(case: Case, method: str, tmp_path: Path) -> None:
    examples, refused = trained(case, tmp_path, method)
    assert [said(example) for example in examples] + refused == getattr(case, method)
    assert all(len(example.prompt.messages) == 1 + case.before for example in examples)


@each
def test_import_reads_the_labels(case: Case, tmp_path: Path) -> None:
    rows = imported(case, tmp_path)
    assert [reason_or(row) for row in rows] == case.labels
    prompts = [row.prompt.messages for row in rows if not hasattr(row, "reason")]
    assert all(messages[-1].content.endswith(ASK) and len(messages) == 1 + case.before for messages in prompts)


@each
def test_runs_dry_runs_jobs_and_align_read_the_same(case: Case, tmp_path: Path) -> None:
    """They count what `RunRequest.unread` gives, and `align` reads prompts with its own words for what comes twice."""
    source = written(case, tmp_path)
    for policy, expected in (("embedded", case.generate), (None, case.judge)):
        request = RunRequest("c", source, ("embedded",), policy, max_chars=999)
        lines = list(request.lines())
        reasons = [line.reason for line in lines if isinstance(line, Quarantined)]
        assert reasons == [one for one in expected if isinstance(one, str) and not one.endswith(ASK)]
    kept, refused = align.read(source, None)
    prompts = [line for line in generated(case, tmp_path) if not isinstance(line, str)]
    wanted = {line.item.prompt.key for line in prompts}
    assert {line.item.prompt.key for line in kept} == wanted
    assert len(kept) + len(refused) == len(case.generate)


@each
def test_inspect_tells_what_each_command_does(case: Case, tmp_path: Path) -> None:
    uses = {use.command: use for use in inspect(written(case, tmp_path), naming(), max_chars=999).uses}
    expected: dict[str, list[Any]] = {
        "judge": case.judge,
        "evaluate judge": case.evaluate,
        "train sft": case.sft,
        "train dpo, orpo, simpo": case.dpo,
        "train reward": case.reward,
    }
    for command, outcome in expected.items():
        reasons = [one for one in outcome if isinstance(one, str)]
        assert uses[command].taken == len(outcome) - len(reasons), command
        assert [reason for reason, places in uses[command].refused.items() for _ in places] == reasons, command
    prompts = uses["generate, align"]
    # Rows of one answer each ask the same, and a run answers a prompt once.
    again = len(prompts.refused.get("duplicate", ()))
    assert prompts.taken + again == sum(one.endswith(ASK) for one in case.generate)
