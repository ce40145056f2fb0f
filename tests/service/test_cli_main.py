"""``cai`` from its first word: exit codes, what is refused before anything is written, help, completion, quiet."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import service.cli
from base.errors import InputError
from service.cli.given.connected import connected
from tests.factories import small_constitution

CAI = str(Path(sys.executable).with_name("cai"))


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left: its exit code, and what it printed."""

    code: int
    out: str
    err: str


Cai = Callable[..., Ended]


@pytest.fixture
def cai(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cai:
    """``cai`` in this process and in a folder of its own, with a constitution, prompts and a script."""
    monkeypatch.chdir(tmp_path)
    for name in ("CAI_DEBUG", "CAI_KEY", "CAI_SERVER", "CAI_DATABASE", "CAI_CONSTITUTIONS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(small_constitution(2)))
    (tmp_path / "p.txt").write_text("one\ntwo\nthree\n")
    (tmp_path / "s.yaml").write_text("{}")

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


GENERATE = (
    "generate", "--principles", "c.yaml", "--prompts", "p.txt", "--policy", "scripted:s.yaml", "--judge",
    "scripted:s.yaml", "--revisions", "0",
)  # fmt: skip


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("out", ["taken", "taken/below"])
def test_a_file_where_a_directory_is_to_be_is_bad_input(cai: Cai, tmp_path: Path, out: str) -> None:
    (tmp_path / "taken").write_text("mine")
    for command in (
        (*GENERATE, "--out", out),
        ("reweigh", "none", "--out", "new"),
        ("show", out),
        ("constitution", "publish", "c.yaml", "--into", out),
        ("constitution", "import", "statements", "p.txt", "--name", "x", "--out", f"{out}/c.yaml"),
    ):
        ended = cai(*command)
        assert ended.code == 2 and ended.err.startswith("error: "), command
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_full_disk_is_the_machine_s(cai: Cai, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "out/pairs.jsonl")

    monkeypatch.setattr("critic.run.run.write_results", full)
    ended = cai(*GENERATE, "--out", "out")
    assert (ended.code, ended.err) == (1, "error: out/pairs.jsonl: no space left on device\n")


def test_stopped_by_a_person_is_130(cai: Cai, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("service.cli.commands.runs.inspect.read", stopped)
    assert cai("inspect", "p.txt").code == 130


@pytest.mark.parametrize(
    ("arguments", "near"),
    [(("generat",), "generate"), (("generate", "--sampels", "3"), "--samples"), (("evaluate", "jugde"), "judge")],
)
def test_a_misspelt_command_or_option_names_the_nearest(cai: Cai, arguments: tuple[str, ...], near: str) -> None:
    ended = cai(*arguments)
    assert ended.code == 2 and near in ended.err


@pytest.mark.parametrize(
    "command",
    [
        ("worker", "--database", "sqlite:///there/typo.db"),
        ("worker", "--data", "typo"),
        ("database", "backup", "b.gz", "--database", "sqlite:///typo.db"),
        ("database", "backup", "b.gz", "--data", "typo"),
        ("keys", "list", "--database", "sqlite:///typo.db"),
        ("keys", "make", "me", "--scope", "admin", "--data", "typo"),
        ("keys", "revoke", "123", "--database", "sqlite:///there/typo.db"),
    ],
)
def test_a_misspelt_database_is_refused_and_none_is_made(cai: Cai, tmp_path: Path, command: tuple[str, ...]) -> None:
    before = files(tmp_path)
    ended = cai(*command)
    assert ended.code == 2 and "there is no such database" in ended.err
    assert files(tmp_path) == before


def test_a_database_of_something_else_is_refused(cai: Cai, tmp_path: Path) -> None:
    (tmp_path / "other.db").touch()
    for command in (("worker",), ("database", "backup", "b.gz"), ("keys", "list")):
        ended = cai(*command, "--database", "sqlite:///other.db")
        assert ended.code == 2 and "holds no service" in ended.err
    assert (tmp_path / "other.db").read_bytes() == b"" and not (tmp_path / "b.gz").exists()


@pytest.mark.parametrize("command", [("keys", "list"), ("database", "restore", "b.gz"), ("serve", "--port", "0")])
def test_a_database_that_nobody_answers_for_is_bad_input(cai: Cai, tmp_path: Path, command: tuple[str, ...]) -> None:
    ended = cai(*command, "--database", "postgresql://me:secret@127.0.0.1:1/x")
    assert ended.code == 2 and "the database can't be read" in ended.err and "secret" not in ended.err


def test_a_taken_port_is_told_before_anything_is_written(cai: Cai, tmp_path: Path) -> None:
    before = files(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = cai("serve", "--port", str(port), "--data", "service")
    assert ended.code == 2 and ended.out == ""
    assert ended.err.startswith(f"error: 127.0.0.1:{port}: it can't be listened at: Address already in use")
    assert files(tmp_path) == before  # no database, and no key that was told only now


@pytest.mark.parametrize(("host", "said"), [("999.1.2.3", "no such address"), ("192.0.2.1", "can't be listened at")])
def test_an_address_that_is_none_of_this_machine_is_told(cai: Cai, tmp_path: Path, host: str, said: str) -> None:
    before = files(tmp_path)
    ended = cai("serve", "--host", host, "--data", "service")
    assert ended.code == 2 and said in ended.err and files(tmp_path) == before


def test_settings_of_a_service_name_the_nearest_and_give_way_aloud(cai: Cai, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("prot = 8300\n")
    ended = cai("serve", "--config", "s.toml")
    assert ended.code == 2 and "unknown setting 'prot'\n  did you mean 'port'?" in ended.err
    (tmp_path / "s.toml").write_text('data = "file"\n')
    ended = cai("keys", "list", "--config", "s.toml", "--data", "said")
    assert "--data goes before data of s.toml\n" in ended.err and "said/cai.db: there is no such" in ended.err


@pytest.mark.parametrize("key", ["", "  ", "\n"])
@pytest.mark.parametrize(
    "command", [("jobs", "list"), ("jobs", "status", "x"), ("feedback", "import", "p.txt"), ("feedback", "export", "f")]
)
def test_without_a_key_it_says_so(
    cai: Cai, monkeypatch: pytest.MonkeyPatch, key: str, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CAI_KEY", key)
    ended = cai(*command)
    assert (ended.code, ended.err.splitlines()[0]) == (2, "error: CAI_KEY: no key")
    monkeypatch.delenv("CAI_KEY")
    assert cai(*command).err.splitlines()[0] == "error: CAI_KEY: no key"


@pytest.mark.parametrize("key", ["two words", "caf\u00e9", "a\nb"])
def test_what_can_be_no_key_is_not_repeated(key: str) -> None:
    with pytest.raises(InputError, match="holds no API key") as error:
        connected("http://127.0.0.1:1", key)
    assert key not in str(error.value)
    with pytest.raises(InputError, match="no address of a server"):
        connected("127.0.0.1", "cai_x")


def test_h_is_help_everywhere(cai: Cai) -> None:
    for command in ((), ("generate",), ("constitution", "diff"), ("evaluate", "judge"), ("keys", "make")):
        ended = cai(*command, "-h")
        assert ended.code == 0 and "Usage: cai" in ended.out


def test_the_help_of_train_lists_settings_and_shipped_configs(cai: Cai, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    loaded = {name for name in ("torch", "transformers") if name in sys.modules}
    told = cai("train", "-h").out
    assert {name for name in ("torch", "transformers") if name in sys.modules} == loaded
    for shown in ("dpo-smoke", "length_normalised", "kl_coef", "alarm_heldout", "heads", "gradient_checkpointing"):
        assert shown in told
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.slow
def test_every_setting_of_ours_has_a_word_in_the_help_of_train() -> None:
    from service.cli.given.train_settings import classes, settings_of
    from trainers import catalogue, config
    from trainers.method import load as method_of
    from trainers.online.config import OnlineConfig

    known: dict[str, type] = {"TrainConfig": config.TrainConfig, "OnlineConfig": OnlineConfig}
    known |= {listed.config: method_of(name).config for name, listed in catalogue.listed().items()}
    for _, file, name in classes():
        described = {setting.name: setting for setting in settings_of(file.read_text("utf-8"), name)}
        own = {one.name for one in dataclasses.fields(known[name])} & known[name].__annotations__.keys()
        assert described.keys() == own and all(setting.help for setting in described.values())


def test_shipped_configs_work_anywhere(cai: Cai, tmp_path: Path) -> None:
    from service.cli.training.configs import config_file, shipped_names
    from service.cli.training.trained import load

    assert Path.cwd() == tmp_path
    for name in (name for name in shipped_names() if name.endswith("-smoke")):
        loaded = load(name.rpartition("-")[0], config_file(name), ["use_cpu=true", "bf16=false"])
        [data] = loaded.data
        assert isinstance(data, str) and Path(data).is_file() and Path(data).stat().st_size > 1000


def test_a_setting_on_the_command_line_goes_before_the_file_s_aloud(cai: Cai, tmp_path: Path) -> None:
    ended = cai("train", "dpo", "--config", "dpo-smoke", "beta=0.2", "learning_rate=oops")
    assert ended.code == 2 and "beta=0.2 on the command line goes before 0.1 of " in ended.err
    assert "error: command line: learning_rate is 'oops'" in ended.err
    assert "did you mean 'dpo-smoke'" in cai("train", "dpo", "--config", "dpo-smok").err


def test_a_config_of_another_method_is_told(cai: Cai, tmp_path: Path) -> None:
    (tmp_path / "dpo.yaml").write_text("data: x\noutput_dir: out\nbeta: 0.1\nlength_normalised: true\n")
    told = cai("train", "sft", "--config", "dpo.yaml").err
    assert "is a setting of" in told and "dpo" in told and "did you mean" in cai("train", "dpoo", "--config", "x").err


def test_quiet_says_nothing_and_json_says_all(cai: Cai) -> None:
    assert cai(*GENERATE, "--out", "out", "--quiet") == Ended(0, "", "")
    told = cai(*GENERATE, "--out", "out", "--json", "-q")
    counts = json.loads(told.out)
    assert told.err == "" and (counts["rows"], counts["rows_before"], counts["calls"]) == (3, 3, 0)
    assert counts["pairs"] + sum(drop["count"] for drop in counts["drops"]) == 3
    assert cai("constitution", "publish", "c.yaml", "--quiet").out == ""
    assert cai("generate", "--principles", "small", *GENERATE[3:], "--out", "out", "--quiet").code == 0  # by its name


def test_a_plan_is_told_as_json(cai: Cai) -> None:
    plan = json.loads(cai(*GENERATE, "--out", "out", "--dry-run", "--json").out)
    assert (plan["rows"], plan["completions"], plan["reads"], plan["calls"]) == (3, 6, 12, 18)


def test_the_last_lines_of_a_run_give_reasons(cai: Cai, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("{choose: first}")
    (tmp_path / "p.jsonl").write_text('{"prompt": "one"}\n{"prompt": \n{"prompt": "two"}\n{"prompt": "one"}\n')
    ended = cai(*GENERATE, "--prompts", "p.jsonl", "--out", "out")
    assert ended.code == 3
    assert "pairs:   0; 2 drops\n         2 pairs: tie (no side is better by more than the tie band)\n" in ended.out
    assert "quarantined: 1 x broken_line, first at p.jsonl:2: " in ended.out
    shown = cai("show", "out").out
    assert "pair: tie 2 (no side is better by more than the tie band)" in " ".join(shown.split())
    assert "quarantined: 1 x duplicate, first at p.jsonl:4: the same prompt as in row 0" in shown


def test_every_reason_of_a_drop_has_words() -> None:
    from typing import get_args

    from critic.records import Drop
    from service.cli.shown.reasons import MEANING

    assert set(MEANING) == set(get_args(Drop.model_fields["reason"].annotation))


def test_an_extended_run_says_what_changed_side(cai: Cai, tmp_path: Path) -> None:
    assert cai(*GENERATE, "--out", "out").code == 0
    changed = small_constitution(2)
    changed["principles"][0]["weight"] = 900
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(changed))
    refused = cai(*GENERATE, "--out", "out")
    assert refused.code == 2 and "constitution: small@1.0.0 has other content now" in refused.err
    ended = cai(*GENERATE, "--out", "out", "--extend")
    assert "changed: of 3 rows done again: judgements: " in ended.out and " changed side, " in ended.out
    assert "out/before/ has the exports of before" in ended.out and (tmp_path / "out/before/pairs.jsonl").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "environment"),
    [
        ("bash", {"COMP_WORDS": "cai generate --principles hon", "COMP_CWORD": "3"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "cai generate --principles hon"}),
        (
            "fish",
            {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": "cai generate --principles hon"},
        ),
    ],
)
def test_shells_complete_commands_options_and_names(tmp_path: Path, shell: str, environment: dict[str, str]) -> None:
    asked = {**os.environ, **environment, "_CAI_COMPLETE": f"complete_{shell}"}
    done = subprocess.run([CAI], env=asked, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert "honesty@1.0.0" in done.stdout and "hhh" not in done.stdout
