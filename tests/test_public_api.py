"""The public API, and the examples, which use nothing else."""

import ast
import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cai_feedback
from cai_feedback import AsyncJudge, InputError, Judge, Quarantined, generate, judge, rows

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SCRIPT = """
choose: first
likelihood: short
replies:
  - {match: "(?i)critique", reply: "It could be kinder."}
  - {reply: "An answer, {seed}."}
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    """A judge without a model, which always finds the response that is shown first likelier."""
    (tmp_path / "script.yaml").write_text(SCRIPT, encoding="utf-8")
    return f"scripted:{tmp_path / 'script.yaml'}"


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run([sys.executable, *arguments], env=inherited, capture_output=True, text=True)


def test_every_name_is_there_and_documented() -> None:
    for name in cai_feedback.__all__:
        assert name == "__version__" or getattr(cai_feedback, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'jugde'"):
        _ = cai_feedback.jugde
    assert set(cai_feedback._PLACES) == set(cai_feedback.__all__) - {"__version__"}


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_examples_use_the_public_api_only(file: Path) -> None:
    own = {"base", "benchmarks", "constitution", "critic", "service", "tests", "trainers"}
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        imported += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not {name.partition(".")[0] for name in imported} & own, ast.unparse(node)


def test_a_judge_compares_and_revises(spec: str) -> None:
    with Judge(spec, "honesty@1.0.0") as judge_:
        row = judge_.compare("Hi", ["Good day to you.", "Hello."], judge_principles=2)
        [judgement] = row.judgements
        # It prefers whichever comes first, so the two orders cancel.
        assert judgement.probability == pytest.approx(0.5) and judgement.outcome == "tie" and not row.pairs
        assert len(judgement.votes) == 4 and {vote.order for vote in judgement.votes} == {"given", "swapped"}
        chain = judge_.critique("Hi", "Go away.", rounds=2)
        assert chain.original.text == "Go away." and len(chain.revisions) == 2
        assert judge_.constitution.ref == "honesty@1.0.0"


def test_the_same_is_awaited(spec: str) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]

    async def asked() -> tuple[float | None, str]:
        async with AsyncJudge(spec, "honesty@1.0.0") as judge_, AsyncJudge("verify:max-words=1", "honesty") as rule:
            row, chain = await asyncio.gather(rule.compare(chat, ["Good day to you.", "Hello."]), judge_.critique(chat))
        return row.judgements[0].probability, chain.original.text

    probability, written = asyncio.run(asked())
    assert probability is not None and probability < 0.5
    assert written.startswith("An answer")


def test_what_is_wrong_is_told_with_its_place(spec: str) -> None:
    with pytest.raises(InputError, match="did you mean 'scripted'"):
        Judge("scriptd:x", "honesty")
    closed = Judge(spec, "honesty")
    with pytest.raises(InputError, match="the judge is not open"):
        closed.compare("Hi", ["a", "b"])
    with Judge(spec, "honesty") as judge_:
        with pytest.raises(InputError, match="there are not two responses"):
            judge_.compare("Hi", ["a"])
        with pytest.raises(InputError, match=r"prompt.*roles are out of order"):
            judge_.compare([{"role": "assistant", "content": "Hi"}], ["a", "b"])
        with pytest.raises(InputError, match="no principle 'kind'"):
            judge_.critique("Hi", "Ho", principle="kind")


def test_runs_are_made_gone_on_with_and_read(spec: str, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "One?"}\n{"prompt": "Two?"}\n{"text": 3}\n', encoding="utf-8")
    made = generate("honesty@1.0.0", prompts, tmp_path / "run", policy=spec, judges=spec, samples=2, revisions=0)
    again = generate("honesty@1.0.0", prompts, tmp_path / "run", policy=spec, judges=spec, samples=2, revisions=0)
    assert made.calls > 0 and again.calls == 0
    results = list(rows(tmp_path / "run"))
    assert [type(row).__name__ for row in results] == ["Row", "Row", "Quarantined"]
    assert isinstance(results[-1], Quarantined) and results[-1].where.endswith("prompts.jsonl:3")

    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"prompt": "One?", "response_a": "1.", "response_b": "It is 1."}\n', encoding="utf-8")
    judge("honesty@1.0.0", pairs, tmp_path / "judged", judges="verify:max-words=1", modes=["rm"])
    [row] = rows(tmp_path / "judged")
    assert not isinstance(row, Quarantined) and [pair.chosen.text for pair in row.pairs] == ["1."]
    with pytest.raises(InputError, match="samplez"):
        generate("honesty@1.0.0", prompts, tmp_path / "no", policy=spec, judges=spec, samplez=2)


@pytest.mark.slow
def test_the_examples_run(spec: str, tmp_path: Path) -> None:
    compared = python(str(ROOT / "examples/compare.py"), spec)
    assert compared.returncode == 0, compared.stderr
    assert "better with probability" in compared.stdout and "revised:" in compared.stdout
    answers = str(ROOT / "examples/answers.jsonl")
    labelled = python(str(ROOT / "examples/label_file.py"), answers, str(tmp_path / "out"), spec)
    assert labelled.returncode == 0, labelled.stderr
    assert "3 rows" in labelled.stdout and "not made into pairs" in labelled.stdout


@pytest.mark.slow
def test_a_training_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="output_dir is missing"):
        cai_feedback.train("dpo")
    with pytest.raises(InputError, match="learning_rate"):
        cai_feedback.train("dpo", lerning_rate=1e-5, output_dir=str(tmp_path), data="x")
    with pytest.raises(InputError, match="no training method"):
        cai_feedback.train("dpoo")
