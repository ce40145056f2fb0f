"""What the page on evaluating shows is run, line by line, on small files under the names that it gives them.

Engines are scripted ones in their place: what is shown is that the commands take what they are shown with.
"""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from service.cli import app

ROOT = Path(__file__).parents[2]
WHAT = ("--principles", "harmlessness@1.1.0", "--pairs", "pairs.jsonl")
PAGE = ROOT / "docs" / "EVALUATING.md"
ENGINES = {
    "embedded": "scripted:base.yaml",
    "hf:runs/aligned/policy": "scripted:trained.yaml",
    "openai:Qwen/Qwen3-32B@http://127.0.0.1:8001/v1?think=false": "scripted:judge.yaml",
    "rm:runs/aligned/reward": "verify:contains=longer",
    "DIR": "runs/first",
}
"""What the page names, and what stands in for it."""


def shown() -> list[list[str]]:
    """The commands of the page, in words."""
    fenced = re.findall(r"^```(?:bash)?\n(cai .*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(fenced).replace("\\\n", " ").splitlines()
    commands = []
    for line in lines:
        commands.append([ENGINES.get(word, word) for word in shlex.split(line, comments=True)[1:]])
    return commands


def cai(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, list(words))


def write(path: str, rows: list[dict[str, object]]) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "principles" / "harmlessness" / "1.1.0.yaml", "new.yaml")
    Path("judge.yaml").write_text(yaml.safe_dump({"choose": "hash", "likelihood": "short"}))
    for name, reply in (("base", "Short {seed}."), ("trained", "A longer answer, {seed}.")):
        Path(f"{name}.yaml").write_text(yaml.safe_dump({"replies": [{"reply": reply}], "likelihood": "short"}))
    write(
        "pairs.jsonl", [{"prompt": f"Q {n}?", "chosen": f"Plain {n}.", "rejected": f"- one\n- {n}"} for n in range(24)]
    )
    write("labels.jsonl", [label(item, person) for item in range(20) for person in range(40)])
    write("held-out.jsonl", [{"prompt": f"Ask {n}?"} for n in range(20)])
    for name in ("red.txt", "look-alikes.txt"):
        Path(name).write_text("".join(f"{name} {n}?\n" for n in range(20)))
    for part in ("dev", "val"):
        (tmp_path / "mmlu" / part).mkdir(parents=True)
        rows = "".join(f"What is {n}?,{n},no,maybe,none,A\n" for n in range(6))
        (tmp_path / "mmlu" / part / f"sums_{part}.csv").write_text(rows)
    judged = cai("judge", "--judge", "scripted:judge.yaml", *WHAT, "--out", "runs/first", "--quiet")
    assert judged.exit_code == 0, judged.output
    shutil.copytree("runs/first", "runs/aligned/generate")
    return tmp_path


def label(item: int, person: int) -> dict[str, object]:
    """One of two groups of twenty, who want different things."""
    group = ("north", "south")[person % 2]
    return {
        "kind": "comparison",
        "source": "human",
        "prompt": {"messages": [{"role": "user", "content": f"Question {item}?"}]},
        "responses": [{"text": "plain", "model": "m"}, {"text": "wordy", "model": "m"}],
        "label": {"choice": "first" if group == "north" else "second"},
        "annotator": f"p{person}",
        "group": group,
    }


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_every_command_of_the_page_runs() -> None:
    commands = shown()
    assert {tuple(words[:2]) for words in commands} == {
        ("evaluate", "groups"),
        ("constitution", "test"),
        ("constitution", "recover"),
        ("evaluate", "policy"),
    }
    for words in commands:
        done = cai(*words)
        assert done.exit_code in (0, 4), (words, done.output, done.exception)  # 4: a limit that is shown is not held
    assert Path("report/policy.html").is_file() and Path("runs/tested/test.json").is_file()
