"""A kind is one file: a foreign one, dropped into its folder, works end to end."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ENGINE = '''
"""An engine that answers with the last word of the question, for this test."""
from critic.engine import Completion, Identity, Score, Usage, reads
from critic.engine_kinds.kind import EngineKind
from critic.engine_kinds.options import SpecOption, check_known

OPTIONS = (SpecOption("loud", "false", "whether it shouts"),)


class Echoer:
    whole_trees = True
    capabilities = {}

    def __init__(self, target, options):
        check_known(options, OPTIONS, f"echoer:{target}")
        self.identity, self.usage = Identity(f"echoer:{target}", "1"), Usage()
        self._loud = options.get("loud") == "true"

    async def complete(self, request, lane="batch"):
        word = request.messages[-1].content.split()[-1] + f" {request.seed}"
        return Completion(word.upper() if self._loud else word, "stop", 1, 1)

    async def score(self, tree, lane="batch"):
        return tuple(Score((-0.1, -2.4), 1) for _ in reads(tree))

    async def close(self):
        pass


ENGINE = EngineKind(name="echoer", open=Echoer, target="NAME", options=OPTIONS, mode="shorter")
'''
MODE = '''
"""The shorter response is better by each principle, whoever judges: for this test."""
from critic.judging.base import Mode


class Shorter(Mode):
    name = "shorter"
    factor: float = 1.0

    async def votes(self, engine, question, lane="batch"):
        better = len(question.second) - len(question.first)
        return tuple(
            self.vote(engine, principle, self.factor * better, raw="", order=order)
            for principle in question.principles
            for order in question.shown()
        )
'''
PAIRS = '{"prompt": "Say one", "response_a": "One.", "response_b": "One, I think."}\n'


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with two files more, and a file of pairs."""
    folder = tmp_path_factory.mktemp("house")
    # With what is compiled, but for what another process is writing now.
    shutil.copytree(ROOT / "critic", folder / "critic", ignore=shutil.ignore_patterns("*.pyc.*"))
    (folder / "critic/engines/echoer.py").write_text(ENGINE, encoding="utf-8")
    (folder / "critic/judging/modes/shorter.py").write_text(MODE, encoding="utf-8")
    (folder / "pairs.jsonl").write_text(PAIRS, encoding="utf-8")
    return folder


def cai(house: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with that package before ours."""
    environment = os.environ | {"PYTHONPATH": f"{house}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "service.cli", *arguments]
    return subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_a_foreign_engine_writes_and_judges_in_a_foreign_mode(house: Path) -> None:
    judged = cai(
        house,
        "judge",
        "--principles",
        "honesty",
        "--pairs",
        "pairs.jsonl",
        "--judge",
        "echoer:polly",
        "--out",
        "judged",
    )
    assert judged.returncode == 0, judged.stderr
    [pair] = [json.loads(line) for line in (house / "judged/pairs.jsonl").read_text("utf-8").splitlines()]
    assert (pair["chosen"][-1]["content"], pair["rejected"][-1]["content"]) == ("One.", "One, I think.")
    manifest = json.loads((house / "judged/manifest.json").read_text("utf-8"))
    assert "echoer:polly" in json.dumps(manifest) and "shorter" in json.dumps(manifest)

    critique = cai(
        house,
        "critique",
        "--principles",
        "honesty",
        "--prompt",
        "Hi",
        "--response",
        "Ho",
        "--judge",
        "echoer:polly?loud=true",
    )
    assert critique.returncode == 0, critique.stderr
    assert critique.stdout == critique.stdout.upper() or "RESPONSE" in critique.stdout.upper()


@pytest.mark.slow
def test_their_options_are_checked_and_named(house: Path) -> None:
    judge = ("judge", "--principles", "honesty", "--pairs", "pairs.jsonl", "--out", "no")
    refused = cai(house, *judge, "--judge", "echoer:polly?lowd=true")
    assert refused.returncode == 2 and "did you mean 'loud'?" in refused.stderr
    refused = cai(house, *judge, "--judge", "echoer:polly", "--mode", "shorter?facter=2")
    assert refused.returncode == 2 and "did you mean 'factor'?" in refused.stderr
    refused = cai(house, *judge, "--judge", "echoerr:polly")
    assert refused.returncode == 2 and "did you mean 'echoer'?" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("critic/engines/empty.py", "NAME = 1\n", "critic.engines.empty: it holds no engine"),
        ("critic/engines/second.py", ENGINE, "critic.engines.second: there is an engine 'echoer' already"),
        ("critic/judging/modes/empty.py", "", "critic.judging.modes.empty: it holds no judge mode"),
        ("critic/judging/modes/twice.py", MODE, "critic.judging.modes.twice: there is a judge mode 'shorter' already"),
    ],
)
def test_a_file_that_does_not_fit_its_kind_says_what_is_missing(house: Path, file: str, text: str, told: str) -> None:
    (house / file).write_text(text, encoding="utf-8")
    try:
        refused = cai(
            house, "compare", "--principles", "honesty", "--prompt", "Hi", "--response", "a", "--response", "b"
        )
        assert refused.returncode == 2 and told in refused.stderr and "Traceback" not in refused.stderr
    finally:
        (house / file).unlink()


@pytest.mark.slow
def test_the_engine_that_contributing_shows_works_as_it_says(house: Path) -> None:
    shown = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    (house / "critic/engines/parrot.py").write_text(shown, encoding="utf-8")
    (house / "prompts.jsonl").write_text('{"prompt": "Say cracker"}\n', encoding="utf-8")
    made = ("--prompts", "prompts.jsonl", "--samples", "2", "--revisions", "0", "--out", "said")
    engines = ("--policy", "parrot:polly", "--judge", "verify:contains=cracker")
    done = cai(house, "generate", "--principles", "honesty", *made, *engines)
    assert done.returncode == 0, done.stderr
    assert "cracker" in cai(house, "show", "said", "--json").stdout + (house / "said/feedback.jsonl").read_text("utf-8")
