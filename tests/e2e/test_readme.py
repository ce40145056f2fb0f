"""What the README and the pages of docs show is run: shell blocks in order, then Python, in a folder with examples."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import service.cli
from constitution import load
from service.cli.opened import every
from service.settings import Settings
from tests import warm

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language, in order: the README's, then those of the pages by name."""
    text = "\n".join(page.read_text() for page in PAGES)
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [text for name, text in fences if name == language]


def run(folder: Path, *command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False, timeout=1500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cai(folder: Path, block: str) -> str:
    """What the commands of a block print: one a line, with comments, as a shell takes them."""
    said = []
    for words in filter(None, (shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines())):
        assert words[0] == "cai", "a block that needs a shell has a test of its own"
        done = warm.run([warm.CAI, *words[1:]], folder, timeout=1500)
        assert done.returncode == 0, done.stdout + done.stderr
        said.append(done.stdout)
    return "".join(said)


def apart(block: str) -> bool:
    """Whether a block takes long, runs a server, or needs another environment: those have tests of their own."""
    return block.startswith(("cai train", "cai align", "cai serve", "from lm_eval"))


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_model")
def test_the_blocks_run(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    said = [cai(tmp_path, block) for block in blocks("bash") if not apart(block)]
    made, judged, tested, evaluated = said
    assert "chosen" in made and "mean shift" in evaluated
    assert "runs/first was made under harmlessness@1.1.0" in judged and "changed side" in judged
    assert "harmlessness@1.1.0" in tested and (tmp_path / "runs/tested/test.json").is_file()
    loaded, asked = (run(tmp_path, sys.executable, "-c", block) for block in blocks("python") if not apart(block))
    assert "probability" in loaded and len(json.loads(asked.replace("(", "[").replace(")", "]").replace("'", '"'))) == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("embedded_model")
def test_what_trains_runs_and_gets_better(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    [train] = [block for block in blocks("bash") if block.startswith("cai train")]
    [align] = [block for block in blocks("bash") if block.startswith("cai align")]
    assert "model:    runs/dpo-smoke/ (4 steps" in cai(tmp_path, train)
    cai(tmp_path, align)
    report = json.loads((tmp_path / "runs/short/report.json").read_text())
    assert report["change"]["low"] > 0  # of the share of short answers, prompt by prompt


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_model")
def test_the_walk_through_the_service_ends_with_a_reward(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    [walk] = [block for block in blocks("bash") if block.startswith("cai serve")]
    published, critique, comparison, labels, dataset, reward, *said = run(tmp_path, "bash", "-euc", walk).splitlines()
    assert json.loads(critique)["constitution_hash"] == json.loads(published)["hash"]
    assert json.loads(comparison)["judgements"][0]["votes"]
    assert len(json.loads(labels)["ids"]) == json.loads(dataset)["counts"]["tables"]["pairs"]["rows"] == 2
    assert isinstance(json.loads(reward)["rewards"][0], float)
    assert [line.split()[0] for line in said] == ["ai", "human", "human"]
    assert {line.split()[-1] for line in said} == {json.loads(published)["hash"]}


def test_the_settings_of_a_service_load(tmp_path: Path) -> None:
    [yaml] = [block for block in blocks("yaml") if block.startswith("# settings.yaml")]
    (tmp_path / "settings.yaml").write_text(yaml)
    assert Settings.read(tmp_path / "settings.yaml").engine == "judge"


def test_the_commands_that_need_more_than_this_machine_are_planned(tmp_path: Path) -> None:
    commands = [part for block in blocks("sh") for part in re.split(r"\n(?=cai )", block) if part.startswith("cai ")]
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Why?"}\n')
    servers, cluster = (run(tmp_path, "bash", "-euc", command.rstrip() + " --dry-run") for command in commands)
    assert "--on 'ray://" in commands[1]
    assert servers.startswith("1 rows to run\n") and "what the server charges" in servers
    assert cluster.startswith("1 rows to run\n") and not (tmp_path / "runs").exists()


def test_the_constitution_loads(tmp_path: Path) -> None:
    [yaml] = [block for block in blocks("yaml") if block.startswith("name:")]
    (tmp_path / "brief.yaml").write_text(yaml)
    brief = load(tmp_path / "brief.yaml")
    assert brief.ref == "brief@1.0.0"
    assert {p.priority for p in brief.principles} == {1, 2} and brief.principles[0].id == "short"


def test_the_tree_names_what_is_there() -> None:
    tree = next(block for block in blocks("") if block.startswith("principles/"))
    folder = ROOT
    for line in tree.splitlines():
        name = line.split()[0]
        folder = ROOT if not line.startswith(" ") else folder
        assert (folder / name).exists() or (ROOT / name).exists(), name
        folder = ROOT / name if name.endswith("/") and not line.startswith(" ") else folder


def test_every_command_is_shown() -> None:
    shown = set(re.findall(r"^cai (\w+)", "\n".join(blocks("")), re.MULTILINE))
    helped = run(ROOT, "cai", "--help")
    assert shown == set(re.findall(r"^│ (\w+)  ", helped.split("Show this message")[1], re.MULTILINE))


def shown_commands() -> list[list[str]]:
    """The words of each `cai` command that a page shows, in whatever block, with its subcommand and options."""
    text = "\n".join(body for language in ("", "sh", "bash", "console") for body in blocks(language))
    # What `cai inspect` says of each command is no command: "cai judge: 1 taken".
    lines = re.findall(r"^(?:\$ )?cai (?![\w, -]+: )(.+)$", text.replace("\\\n", " "), re.MULTILINE)
    return [line.partition(" #")[0].partition(" | ")[0].split() for line in lines]


def test_commands_that_are_shown_have_the_options_they_are_shown_with() -> None:
    commands = dict(every(typer.main.get_command(service.cli.app)))
    with_options = 0
    for words in shown_commands():
        # A row of the list of commands shows several at once.
        path = [word.partition("|")[0] for word in words]
        command: Any = next(commands[key] for end in (3, 2, 1) if (key := tuple(path[:end])) in commands)
        known = {name for option in command.params for name in option.opts}
        given = {word.strip("[]").partition("=")[0] for word in words if re.match(r"\[?--\w", word)}
        assert given <= known, (words, given - known)
        # What is shown with settings is shown whole: it can be typed as it stands.
        if path[0] == "train":
            assert "--config" in given or len(words) < 4, words
        with_options += bool(given)
    assert with_options > 20
