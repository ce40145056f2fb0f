"""Every command of ``cai``, found by walking it: help, near words, config files, typos that make nothing, JSON, quiet.

A new command is here by being there; what it prints as JSON is asked of it by its line in `FIGURES`.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import service.cli
from benchmarks.serving import serving
from service.cli.opened import every
from tests.factories import small_constitution
from tests.trainers.tiny import write_model

COMMANDS = {" ".join(path): command for path, command in every(typer.main.get_command(service.cli.app))}
PEOPLE = 21  # a figure is given from 20 pairs on
walked = pytest.mark.parametrize("name", COMMANDS)


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left: its exit code, and what it printed."""

    code: int
    out: str
    err: str


Cai = Callable[..., Ended]


@pytest.fixture
def cai(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cai:
    """``cai`` in this process."""
    for name in ("CAI_DEBUG", "CAI_KEY", "CAI_SERVER", "CAI_DATABASE", "CAI_CONSTITUTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["cai", *arguments])
        try:
            service.cli.main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return run


def long_options(name: str) -> list[str]:
    """A command's own options."""
    named = [option for one in COMMANDS[name].params if one.param_type_name == "option" for option in one.opts]
    return [option for option in named if option.startswith("--") and option != "--help"]


def arguments(name: str) -> list[str]:
    """Something for each argument: a training method, or what names no file."""
    of_them = [one for one in COMMANDS[name].params if one.param_type_name == "argument" and one.name != "settings"]
    return ["dpo" if one.name == "method" else "nowhere" for one in of_them]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@walked
def test_help_and_near_words(name: str, cai: Cai) -> None:
    told = cai(*name.split(), "-h")
    assert told.code == 0 and f"Usage: cai {name}" in told.out and not told.err
    option = long_options(name)[0]
    ended = cai(*name.split(), f"{option}x", "1")
    assert ended.code == 2 and option in ended.err.replace(f"{option}x", "")


ODD_CONFIGS = {
    "binary.yaml": bytes(range(256)) * 4,
    "a-list.yaml": b"- a\n- b\n",
    "broken.yaml": b"a: [1\n",
    "deep.yaml": b"[" * 5000,
    "number.yaml": b"1: 2\n",
    "latin.yaml": "prompts: caf\u00e9\n".encode("latin-1"),
    "odd.txt": b"a: 1\n",
}


@pytest.mark.slow  # what a command needs is imported as it runs
@walked
def test_an_odd_config_is_told_with_its_file_and_key_and_a_typo_makes_nothing(
    name: str, cai: Cai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.yaml").mkdir()
    for file, content in ODD_CONFIGS.items():
        (tmp_path / file).write_bytes(content)
    # A configuration of a trainer has settings that are no options, and one of a command of the service the service's.
    own = [option[2:] for option in long_options(name) if option not in ("--config", "--quiet")]
    key = {"train": "learning_rate", "keys make": "port"}.get(name, own[0])
    misspelt = f"{key}x"
    (tmp_path / "near.yaml").write_text(f"{misspelt}: 1\n")
    before = files(tmp_path)
    command = [*name.split(), *arguments(name)]
    needed = ["--scope", "read"] if name == "keys make" else []
    for file in (*ODD_CONFIGS, "folder.yaml", "missing.yaml", "near.yaml"):
        ended = cai(*command, *needed, "--config", file)
        assert ended.code == 2 and f"error: {file}" in ended.err and not ended.out, (file, ended)
    nearest = f"'{key}'".replace("_", "-")
    assert misspelt in ended.err and nearest in ended.err.replace("_", "-"), "the nearest of its own is named"
    if "nowhere" in command:
        assert cai(*command, *needed).code == (0 if name == "export" else 2)  # export lists its formats
    assert files(tmp_path) == before


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a constitution, prompts, pairs that two people labelled, a run over them, and a data set."""
    folder = tmp_path_factory.mktemp("stage")
    (folder / "c.yaml").write_text(yaml.safe_dump(small_constitution(2)))
    (folder / "j.yaml").write_text("choose: hash")
    (folder / "s.yaml").write_text("choose: first\nlikelihood: short")
    (folder / "t.yaml").write_text(yaml.safe_dump(TRAINING))
    write_model(folder / "model")
    (folder / "p.txt").write_text("".join(f"question {i}\n" for i in range(PEOPLE)))
    choices = [{"prompt": f"\n\nHuman: {i}?\n\nAssistant:", "corrects": ["1"], "incorrects": ["2"]} for i in range(3)]
    labels = [_label(i, who) for i in range(PEOPLE) for who in ("ann", "bob")]
    asked = range(2 * PEOPLE)  # half of them by nobody: those are left for people
    pairs = [{"prompt": f"question {i}", "chosen": f"plain {i}", "rejected": f"long one {i}"} for i in asked]
    for name, rows in (("choices", choices), ("labels", labels), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def _label(item: int, who: str) -> dict[str, Any]:
    return {
        "kind": "comparison",
        "source": "human",
        "prompt": {"messages": [{"role": "user", "content": f"question {item}"}]},
        "responses": [{"text": f"plain {item}", "model": "a"}, {"text": f"long one {item}", "model": "b"}],
        "label": {"choice": "first" if item % 3 else "second"},
        "annotator": who,
        "group": "north" if who == "ann" else "south",
    }


TRAINING = {
    "model": "model", "data": "pairs.jsonl", "output_dir": "trained", "max_length": 256, "max_steps": 1,
    "per_device_train_batch_size": 4, "report_to": "none", "use_cpu": True, "bf16": False,
}  # fmt: skip
JUDGE = "--judge scripted:j.yaml --principles c.yaml"
FIGURES = {
    "generate": f"{JUDGE} --policy scripted:j.yaml --prompts p.txt --limit 2 --revisions 0 --out generated",
    "judge": f"{JUDGE} --pairs pairs.jsonl --out run",
    "compare": f"{JUDGE} --prompt q --response a --response b",
    "critique": f"{JUDGE} --prompt q",
    "export": "run --format trl --out {out}.jsonl",
    "inspect": "labels.jsonl",
    "reweigh": "run --principles c.yaml --weight p0=3 --out {out}",
    "show": "run",
    "certify": f"{JUDGE} --pairs labels.jsonl --out certified",
    "models": "",
    "constitution list": "",
    "constitution show": "c.yaml",
    "constitution lint": "c.yaml",
    "constitution verify": "",
    "constitution diff": "harmlessness@1.0.0 harmlessness@1.1.0",
    "constitution test": "c.yaml --run run",
    "constitution recover": "pairs.jsonl --run run",
    "evaluate judge": f"{JUDGE} --pairs pairs.jsonl",
    "evaluate agreement": "labels.jsonl",
    "evaluate groups": "labels.jsonl",
    "evaluate policy": "scripted:j.yaml scripted:s.yaml --prompts p.txt --judge scripted:j.yaml --out {out}",
    "evaluate choices": "choices.jsonl --judge scripted:s.yaml",
    "evaluate injection": "--judge scripted:j.yaml --limit 2",
    "evaluate powered": "labels.jsonl run",
    "evaluate plan": "labels.jsonl run --width 0.2",
    "evaluate routing": "run labels.jsonl --budget 5 --out {out}",
    "train": "dpo --config t.yaml",
    "align": "--principles c.yaml --prompts p.txt --out aligned --policy hf:model --judge verify:contains=e "
    "generate.max_tokens=60 dpo.use_cpu=true dpo.bf16=false dpo.max_steps=1 dpo.max_length=512",
    "feedback import": "labels.jsonl {server}",
    "feedback export": "{out}.jsonl {server}",
    "jobs list": "{server}",
    "keys list": "--data server",
    "database backup": "{out}.bak --data server",
    "database restore": "database-backup{mode}.bak --database sqlite:///{out}.db",
}
FINISHED = {"align": (0, 3)}  # a random model may write a character that no row can hold
TOLD_BY_OTHERS = ("keys list", "jobs list", "database backup", "database restore", "feedback import", "feedback export")
"""These speak to a server or a database, which stand beside the others' files."""


def test_every_command_that_prints_figures_is_asked_for_them() -> None:
    assert set(FIGURES) == {name for name in COMMANDS if "--json" in long_options(name)}
    assert [name for name in FIGURES if "--quiet" not in long_options(name)] == []


def asked(cai: Cai, name: str, mode: str, **places: str) -> Ended:
    """A command with ``--json`` or ``--quiet``."""
    out = f"{name.replace(' ', '-')}{mode}"
    ended = cai(*name.split(), *FIGURES[name].format(out=out, mode=mode, **places).split(), mode)
    assert ended.code in FINISHED.get(name, (0,)), (name, mode, ended)
    if mode == "--quiet":
        assert (ended.out, ended.err) == ("", ""), (name, ended)
    else:
        json.loads(ended.out, parse_constant=lambda constant: pytest.fail(constant))
    return ended


@pytest.mark.slow
def test_json_is_one_document_and_quiet_says_nothing(cai: Cai, stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stage)
    assert cai(*f"judge {FIGURES['judge']} --quiet".split()) == Ended(0, "", "")
    for name in FIGURES:
        for mode in ("--json", "--quiet") if name not in TOLD_BY_OTHERS else ():
            asked(cai, name, mode)


@pytest.mark.slow
def test_json_of_a_server_and_of_its_database(cai: Cai, stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stage)
    with serving(stage / "server", worker=False) as served:
        server = f"--server http://127.0.0.1:{served.port} --key {served.key}"
        for mode in ("--json", "--quiet"):
            ended_by_name = {name: asked(cai, name, mode, server=server) for name in TOLD_BY_OTHERS}
            if mode == "--json":
                told = {name: json.loads(ended.out) for name, ended in ended_by_name.items()}
    assert told["feedback import"]["stored"] == 2 * PEOPLE and told["jobs list"] == []
    assert [key["scopes"] for key in told["keys list"]] == [["admin"]]
    assert told["database backup"] == told["database restore"]


CODE = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it puts aside ignore it
import service.cli, service.cli.commands.sources.constitution as constitution
def stop(*_):
    os.kill(os.getpid(), signal.SIGINT)
    while True:  # another thread may take the signal, which ends no sleep: Python's own looks between two of them
        time.sleep(0.05)
if "--stop" in sys.argv:
    sys.argv.remove("--stop")
    constitution.load = stop
service.cli.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("words", ["constitution list --json", "train -h"])
def test_a_closed_pipe_and_a_full_disk_end_without_a_traceback(words: str) -> None:
    command = [sys.executable, "-c", CODE, *words.split()]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed, Path("/dev/full").open("wb") as full:
        ended = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
        assert ended.stderr == "" and ended.returncode == 1
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
        assert ended.stderr.splitlines() == ["error: [Errno 28] No space left on device"] and ended.returncode == 1


@pytest.mark.slow
def test_ctrl_c_is_130_without_a_traceback() -> None:
    command = [sys.executable, "-c", CODE, "--stop", "constitution", "show", "honesty"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode in (130, -signal.SIGINT) and "Traceback" not in ended.stderr and ended.stdout == ""
