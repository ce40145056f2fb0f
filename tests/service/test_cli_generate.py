"""``cai generate``, ``judge``, ``critique`` and ``compare`` as a person runs them: exit codes, output, errors."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import warm
from tests.factories import small_constitution

pytestmark = pytest.mark.slow  # a process a command
CAI = str(Path(sys.executable).with_name("cai"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(small_constitution(2)))
    (tmp_path / "p.txt").write_text("".join(f"question {i}\n" for i in range(6)))
    (tmp_path / "bad.yaml").write_text("replies: [{match: '(', reply: x}]")
    script(tmp_path)
    return tmp_path


def script(folder: Path, **settings: Any) -> None:
    (folder / "s.yaml").write_text(yaml.safe_dump(settings))


def cai(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return warm.run([warm.CAI, *arguments], folder)


GENERATE = ("generate", "--principles", "c.yaml", "--policy", "scripted:s.yaml", "--judge", "scripted:s.yaml")


def generate(folder: Path, *more: str, prompts: str = "p.txt", out: str = "out") -> "subprocess.CompletedProcess[str]":
    return cai(folder, *GENERATE, "--prompts", prompts, "--out", out, *more)


def test_done_is_0_and_says_where_the_results_are(folder: Path) -> None:
    done = generate(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 done; 0 quarantined" in done.stdout and "out/" in done.stdout
    assert {p.name for p in (folder / "out").iterdir()} >= {
        "pairs.jsonl",
        "sft.jsonl",
        "feedback.jsonl",
        "quarantine.jsonl",
        "manifest.json",
        "README.md",
        "report.html",
        "run.db",
    }
    row = json.loads((folder / "out" / "pairs.jsonl").read_text().splitlines()[0])
    assert row["constitution"] == "small@1.0.0" and row["probability"] > 0.5 and "margin" not in row


def test_quarantined_rows_are_3_and_named(folder: Path) -> None:
    (folder / "p.jsonl").write_text('{"prompt": "one"}\n{"prompt": \n{"prompt": "three"}\n')
    done = generate(folder, prompts="p.jsonl")
    assert done.returncode == 3 and "quarantine.jsonl" in done.stdout
    [refused] = [json.loads(line) for line in (folder / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert (refused["row"], refused["where"]) == (1, "p.jsonl:2") and "2 done; 1 quarantined" in done.stdout


def test_a_prompt_of_a_megabyte_is_quarantined_unless_it_may_be_cut(folder: Path) -> None:
    (folder / "p.jsonl").write_text(json.dumps({"prompt": "word " * 200_000}) + '\n{"prompt": "short"}\n')
    assert generate(folder, prompts="p.jsonl").returncode == 3
    refused = json.loads((folder / "out" / "quarantine.jsonl").read_text())
    assert refused["reason"] == "too_long" and "1,000,000" in refused["detail"].replace("1000000", "1,000,000")
    cut = generate(folder, "--truncate", prompts="p.jsonl", out="cut")
    assert cut.returncode == 0
    counts = json.loads((folder / "cut" / "manifest.json").read_text())
    assert "truncated" in json.dumps(counts["statistics"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--prompts", "missing.txt"), "missing.txt"),
        (("--principles", "missing.yaml"), "missing.yaml"),
        (("--judge", "gpt"), "embedded, hf:PATH_OR_ID"),
        (("--judge", "scripted:none.yaml"), "none.yaml"),
        (("--judge", "scripted:bad.yaml"), "bad.yaml"),
        (("--judge-principles", "some"), "--judge-principles"),
        (("--samples", "1"), "--samples 2"),
        (("--strategy", "revision", "--revisions", "0"), "--revisions 1"),
        (("--judge", "hf:no/such-model-anywhere"), "no/such-model-anywhere"),
        (("--out", "."), "not empty"),
    ],
)
def test_bad_input_is_2_with_one_clear_error(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    before = {p.name for p in folder.iterdir()}
    done = cai(folder, *GENERATE, "--prompts", "p.txt", "--out", "out", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    told = [line for line in done.stderr.splitlines() if not line.startswith("opening the engines")]
    assert told[0].startswith("error: ") and said in done.stderr and "Traceback" not in done.stderr
    assert {p.name for p in folder.iterdir()} - before <= {".lock"}


def test_the_traceback_is_there_if_asked_for(folder: Path) -> None:
    done = cai(folder, "--debug", *GENERATE, "--prompts", "missing.txt", "--out", "out")
    assert "Traceback" in done.stderr


def generate_without_ray(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    """Run the command in this process, where Ray can't be imported. Return its exit code."""
    from service.cli import main

    for module in ("critic.cluster.cluster", "critic.cluster.shard_worker"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["cai", *GENERATE, "--prompts", "p.txt", "--out", "out", *more])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not (folder / "out").exists() and not (folder / "calls.log").exists()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--on", "ray"),
            "--on: this needs the package ray, which is not installed\n  pip install 'cai-feedback[ray]'",
        ),
        (("--on", "spark"), "--on spark: this is no cluster\n  Write ray, or ray://HOST:PORT"),
        (("--on", "ray?actor=2"), "--on ray?actor=2: there is no option 'actor'\n  Known: actors"),
        (("--on", "ray?actors=0", "--dry-run"), "actors=0 is neither a number nor a range"),
        (("--on", "ray", "--max-calls", "9"), "--max-calls: engines on many machines can't hold a hard limit"),
        (("--on", "ray", "--max-cost", "0.5"), "--max-cost: engines on many machines can't hold a hard limit"),
    ],
)
def test_what_a_cluster_cannot_do_is_2_before_anything_is_loaded_or_written(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    script(folder, log="calls.log")
    assert generate_without_ray(folder, monkeypatch, *arguments) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("error: ") and said in error


def test_a_run_on_a_cluster_is_planned_without_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script(folder, log="calls.log")
    assert generate_without_ray(folder, monkeypatch, "--on", "ray://head:10001?actors=2-8", "--dry-run") == 0
    assert "60 calls at most: 36 completions, 24 reads" in capsys.readouterr().out


def test_a_budget_is_130_and_a_larger_one_goes_on(folder: Path) -> None:
    stopped = generate(folder, "--max-calls", "20")
    assert stopped.returncode == 130 and "--max-calls" in stopped.stdout
    assert generate(folder, "--max-calls", "1000").returncode == 0


def test_ctrl_c_is_130_and_says_how_to_go_on(folder: Path) -> None:
    script(folder, latency=0.2, log="calls.log")
    process = subprocess.Popen(
        [CAI, *GENERATE, "--prompts", "p.txt", "--out", "out"],
        cwd=folder,
        stderr=subprocess.PIPE,
        # A shell that runs this suite in the background has it, and its children, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not (folder / "calls.log").exists() or not (folder / "calls.log").read_text():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=600)[1].decode()
    assert process.returncode == 130 and "the same command goes on" in error and "Traceback" not in error
    script(folder, log="calls.log")
    assert generate(folder).returncode == 0


def test_a_dry_run_asks_nothing_and_writes_nothing(folder: Path) -> None:
    script(folder, log="calls.log")
    planned = generate(folder, "--dry-run")
    assert planned.returncode == 0 and "60 calls at most: 36 completions, 24 reads" in planned.stdout
    assert not (folder / "out").exists() and not (folder / "calls.log").exists()
    generate(folder, "--limit", "2")
    again = generate(folder, "--dry-run")
    assert "holds 20 committed calls" in again.stdout and "s a row so far" in again.stdout


def test_an_always_first_judge_makes_no_pair_and_says_so_loudly(folder: Path) -> None:
    script(folder, choose="first")
    done = generate(folder)
    assert done.returncode == 0 and (folder / "out" / "pairs.jsonl").read_text() == ""
    feedback = [json.loads(line) for line in (folder / "out" / "feedback.jsonl").read_text().splitlines()]
    assert {row["probability"] for row in feedback if row["kind"] == "comparison"} == {0.5}
    warning = "the judge always prefers the first position (same-position rate 100 %)"
    report = (folder / "out" / "report.html").read_text()
    for place in (done.stdout, report, (folder / "out" / "README.md").read_text()):
        assert warning in place and "No pairs" in place


def test_standard_input_and_parquet(folder: Path) -> None:
    command = [CAI, *GENERATE, "--prompts", "-", "--out", "out", "--format", "parquet"]
    done = subprocess.run(command, cwd=folder, input="one\ntwo\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0 and (folder / "out" / "pairs.parquet").exists()
    assert not (folder / "out" / "pairs.jsonl").exists()


def test_judge_labels_answers_that_exist(folder: Path) -> None:
    rows = [{"prompt": "Why?", "responses": ["a", "b", "c"]}, {"prompt": "How?", "chosen": "x", "rejected": "y"}]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = ("judge", "--principles", "c.yaml", "--pairs", "pairs.jsonl", "--judge", "scripted:s.yaml", "--out", "out")
    done = cai(folder, *judge)
    assert done.returncode == 0, done.stderr
    feedback = [json.loads(line) for line in (folder / "out" / "feedback.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in feedback] == ["comparison"] * 4
    assert {row["policy"] for row in feedback} == {"given"}


def test_critique_prints_every_record(folder: Path) -> None:
    ask = ("critique", "--principles", "c.yaml", "--prompt", "Why?", "--judge", "scripted:s.yaml")
    shown = cai(folder, *ask, "--response", "Because.", "--principle", "p1", "--rounds", "2")
    assert shown.returncode == 0 and "Because." in shown.stdout and "p1" in shown.stdout
    chain = json.loads(cai(folder, *ask, "--response", "Because.", "--json").stdout)
    assert chain["original"]["text"] == "Because." and chain["revisions"][0]["outcome"] == "revised"
    assert chain["constitution"] == "small@1.0.0" and len(chain["constitution_hash"]) == 64
    written = json.loads(cai(folder, *ask, "--json").stdout)
    assert written["original"]["model"] == "scripted:s.yaml"
    unknown = cai(folder, *ask, "--principle", "p9")
    assert unknown.returncode == 2 and "It has p0, p1" in unknown.stderr


def test_compare_prints_every_vote(folder: Path) -> None:
    ask = ("compare", "--principles", "c.yaml", "--prompt", "Why?", "--judge", "scripted:s.yaml")
    assert "p0" in cai(folder, *ask, "--response", "a", "--response", "b").stdout
    row = json.loads(cai(folder, *ask, "--response", "a", "--response", "b", "--json").stdout)
    assert len(row["judgements"][0]["votes"]) == 4
    alone = cai(folder, *ask, "--response", "a")
    assert alone.returncode == 2 and "twice or more" in alone.stderr


def test_terminal_controls_in_model_text_are_defused(folder: Path) -> None:
    script(folder, replies=[{"reply": "\x1b[2J[red]gone[/red] {seed}"}])
    generate(folder)
    shown = cai(folder, "show", "out", "--pair", "0").stdout
    assert "\x1b" not in shown and "[red]gone[/red]" in shown


def test_columns_of_other_names_and_the_run_goes_on_under_them_only(folder: Path) -> None:
    (folder / "p.csv").write_text("Frage;Thema\none;a\ntwo;b\n")
    refused = generate(folder, prompts="p.csv")
    assert refused.returncode == 2 and "Frage, Thema" in refused.stderr and "--column" in refused.stderr
    named = generate(folder, "--column", "prompt=frage,tags=thema", prompts="p.csv")
    assert (named.returncode, named.stderr) == (0, "") and "2 done" in named.stdout
    other = generate(folder, "--column", "prompt=thema", prompts="p.csv")
    assert other.returncode == 2 and "columns: " in other.stderr


def test_a_table_of_two_answers_to_pairs_in_one_command(folder: Path) -> None:
    (folder / "ab.csv").write_text(
        "prompt;response_a;response_b\n" + "".join(f"q{i};yes {i};no {i}\n" for i in range(4))
    )
    done = cai(
        folder, "judge", "--principles", "c.yaml", "--judge", "scripted:s.yaml", "--pairs", "ab.csv", "--out", "out"
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (folder / "out" / "pairs.jsonl").read_text().splitlines()]
    assert {row["chosen"][0]["content"][:3].strip() for row in rows} <= {"yes", "no"} and "4 done" in done.stdout


def test_a_pipe_is_an_input(folder: Path) -> None:
    command = f"{CAI} {' '.join(GENERATE)} --prompts <(cat p.txt) --out out"
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stderr) == (0, "") and "6 done" in done.stdout
    again = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False, timeout=600
    )
    assert again.returncode == 0, again.stderr


def test_a_dry_run_names_what_it_refuses_and_fails_as_the_run_would(folder: Path) -> None:
    (folder / "p.jsonl").write_text('{"prompt": "one"}\n{"prompt": \n{"prompt": "one"}\n')
    planned = generate(folder, "--dry-run", prompts="p.jsonl")
    assert planned.returncode == 3
    assert "1 rows to run, 2 quarantined" in planned.stdout
    assert "broken_line: 1, as p.jsonl:2:" in planned.stdout and "duplicate: 1, as p.jsonl:3:" in planned.stdout
    assert generate(folder, "--dry-run", "--max-cost", "1").returncode == 2  # no engine has prices
