"""``cai train`` as a person runs it: what is said, exit codes, Ctrl-C, and going on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import warm
from tests.trainers.tiny import planted, write_model

pytestmark = pytest.mark.slow  # a process a command
CAI = str(Path(sys.executable).with_name("cai"))


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "policy")


@pytest.fixture
def folder(tmp_path: Path, policy: Path) -> Path:
    rows = [
        {"prompt": pair.prompt.messages[0].content, "chosen": pair.chosen, "rejected": pair.rejected}
        for pair in planted(16)
    ]
    write_rows(tmp_path, rows)
    settings = {
        "model": str(policy),
        "data": "rows.jsonl",
        "output_dir": "out",
        "max_length": 256,
        "max_steps": 4,
        "save_steps": 1,
        "per_device_train_batch_size": 4,
        "logging_steps": 1,
        "report_to": "none",
        "use_cpu": True,
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def cai(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return warm.run([warm.CAI, *arguments], folder)


def test_it_says_what_it_trains_on_and_where_the_model_lies_and_is_done_once(folder: Path) -> None:
    done = cai(folder, "train", "dpo", "--config", "c.yaml", "eval_share=0.25", "beta=0.2")
    assert done.returncode == 0, done.stderr
    assert "training on 1" in done.stdout and "more held out" in done.stdout
    assert "model:    out/ (4 steps" in done.stdout and "eval_loss: 0." in done.stdout
    assert (folder / "out" / "lineage.json").is_file() and "Traceback" not in done.stderr
    again = cai(folder, "train", "dpo", "--config", "c.yaml", "eval_share=0.25", "beta=0.2")
    assert again.returncode == 0 and "finished before; nothing was done" in again.stdout
    other = cai(folder, "train", "dpo", "--config", "c.yaml", "eval_share=0.25", "beta=0.3")
    assert other.returncode == 2 and "beta was 0.2, is 0.3" in other.stderr and "Traceback" not in other.stderr


def test_refused_rows_are_3_and_named(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    write_rows(folder, [*rows, {"prompt": "Why?", "chosen": "x", "rejected": "x"}])
    done = cai(folder, "train", "reward", "--config", "c.yaml")
    assert done.returncode == 3, done.stderr
    assert "refused: 1 rows (equal_sides)" in done.stdout and "out/refused.jsonl names" in done.stdout
    [refused] = [json.loads(line) for line in (folder / "out" / "refused.jsonl").read_text().splitlines()]
    assert refused["where"] == "rows.jsonl:17"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dpo", "--config", "none.yaml"), "dpo-smoke"),
        (("dpo", "--config", "c.yaml", "betta=1"), "did you mean 'beta'?"),
        (("dpo", "--config", "c.yaml", "beta"), "expected key=value"),
        (("dpo", "--config", "c.yaml", "beta=0"), "beta is 0"),
        (("sft", "--config", "c.yaml"), "this trainer takes demonstrations"),
        (("dpo", "--config", "c.yaml", "data=none.jsonl"), "none.jsonl"),
        (("dpo", "--config", "c.yaml", "output_dir=."), "is not empty"),
        (("dpo", "--config", "c.yaml", "model=no/such-model-anywhere"), "no/such-model-anywhere"),
        (("walk", "--config", "c.yaml"), "training method 'walk'"),
    ],
)
def test_bad_input_is_2_with_one_clear_error(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = cai(folder, "train", *arguments)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not (folder / "out" / "config.yaml").exists()


def test_ctrl_c_is_130_and_the_same_command_goes_on(folder: Path) -> None:
    command = ["train", "dpo", "--config", "c.yaml", "max_steps=2000", "save_steps=2"]
    process = subprocess.Popen(
        [CAI, *command],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        # A shell that runs this suite in the background has it, and its children, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    until = time.monotonic() + 600
    while not list((folder / "out").glob("checkpoint-*")) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=600)[1].decode()
    assert process.returncode == 130, error
    assert "The same command goes on from checkpoint-" in error and "Traceback" not in error
    last = max(int(file.name.rpartition("-")[2]) for file in (folder / "out").glob("checkpoint-*"))
    steps = [json.loads(line)["step"] for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]
    assert last >= 2 and max(steps) >= last


def test_columns_of_other_names(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    write_rows(folder, [{"Ask": row["prompt"], "good": row["chosen"], "bad": row["rejected"]} for row in rows])
    done = cai(folder, "train", "dpo", "--config", "c.yaml", "--column", "prompt=ask,chosen=good,rejected=bad")
    assert done.returncode == 0, done.stderr
    assert "training on 16 examples" in done.stdout
