"""``cai align``: the split, every stage in its folder and done once, lineage, and the figures of the report."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from base.errors import InputError
from constitution import load
from critic.records import Line
from critic.statistics.intervals import exact
from service.align.evaluate import Answered, _change, _side, _win_rate
from service.align.prompts import read, split
from service.align.report import report, sentence
from service.align.request import ChainRequest, read_settings
from service.cli.commands.training.align import align
from tests.critic.run.test_report import HOSTILE, Page
from tests.factories import prompt, small_constitution
from tests.trainers.tiny import write_model

RULE = "verify:contains=e"
FINISHED = (0, 3)  # a random model may write a character that no row can hold


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "policy")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(small_constitution(1)))
    (tmp_path / "p.txt").write_text("".join(f"question {i}\n" for i in range(16)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(policy: Path, *more: str, judge: str = RULE) -> Result:
    app = typer.Typer()
    app.command()(align)
    command = ["--principles", "c.yaml", "--prompts", "p.txt", "--out", "out", "--policy", f"hf:{policy}"]
    command += [
        "--judge",
        judge,
        "generate.max_tokens=60",
        "dpo.use_cpu=true",
        "dpo.bf16=false",
        "dpo.max_steps=3",
        "dpo.max_length=512",
    ]
    return CliRunner().invoke(app, [*command, "dpo.learning_rate=1e-3", *more], catch_exceptions=False)


def prompts_in(file: Path) -> set[str]:
    """The first turns of a file's prompts."""
    return {json.loads(line)["prompt"][0]["content"] for line in file.read_text().splitlines()}


@pytest.mark.slow
def test_the_chain_ends_with_a_policy_its_lineage_and_a_report_and_is_done_once(folder: Path, policy: Path) -> None:
    done = run(policy)
    assert done.exit_code in FINISHED, done.output
    out = folder / "out"
    assert "sft:      skipped: there are no revisions" in done.output and "verified after: " in done.output
    kept, held_out = prompts_in(out / "prompts.jsonl"), prompts_in(out / "held-out.jsonl")
    assert len(kept) + len(held_out) == 16 and not kept & held_out
    used = prompts_in(out / "generate/pairs.jsonl")
    assert used and used <= kept
    lineage = json.loads((out / "policy/lineage.json").read_text())
    assert lineage["constitutions"] == [load("c.yaml").digest] and lineage["parent"]["name"] == str(policy)
    told = json.loads((out / "report.json").read_text())
    assert {row["prompt"][0]["content"] for row in told["answers"]} == held_out
    for side in ("before", "after"):
        texts = [text for row in told["answers"] for text in row[side] if text]
        assert told[side]["verified"]["estimate"] == pytest.approx(sum("e" in text for text in texts) / len(texts))
    assert "verified before" in Page((out / "report.html").read_text()).text
    policy_of_chain = told["policy"]
    assert policy_of_chain["policies"] == ["before", "after"] and policy_of_chain["sets"] == {"held-out": len(held_out)}
    assert policy_of_chain["wins"]["held-out"]["after"]["all"]["unread"] == told["unreadable"]
    assert (
        set(policy_of_chain["drift"]["after"]) >= {"KL, nats an answer"}
        or "refusal" in policy_of_chain["drift"]["after"]
    )
    assert "Drift from the base" in (out / "policy.html").read_text()

    before = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file()}
    again = run(policy)
    assert again.exit_code in FINISHED and "dpo:      finished before" in again.output
    changed = {file.name for file, time in before.items() if file.stat().st_mtime_ns != time}
    assert changed <= {"prompts.jsonl", "held-out.jsonl", "refused.jsonl"}, "the split is written again, the same"
    with pytest.raises(InputError, match=r"dpo\.beta was None, is 0\.3"):
        run(policy, "dpo.beta=0.3")


@pytest.mark.slow
def test_revisions_are_learnt_first_and_the_chain_goes_on_where_it_stopped(
    folder: Path, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "s.yaml").write_text(yaml.safe_dump({"replies": [{"reply": "Better {seed}."}]}))
    more = ("sft.use_cpu=true", "sft.bf16=false", "sft.max_steps=2", "sft.max_length=512", "generate.samples=2")

    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("service.align.chain.evaluate", stop)
        stopped = run(policy, *more, judge="scripted:s.yaml")
    assert stopped.exit_code == 130 and "goes on from here" in stopped.output
    done = run(policy, *more, judge="scripted:s.yaml")
    assert done.exit_code in FINISHED, done.output
    assert "sft:      finished before" in done.output and "dpo:      finished before" in done.output
    lineage = json.loads((folder / "out/policy/lineage.json").read_text())
    assert lineage["parent"]["name"] == "out/sft" and lineage["ancestors"][0]["parent"]["name"] == str(policy)
    told = json.loads((folder / "out/report.json").read_text())
    assert "verified" not in told["before"] and told["win_rate"]["n"] + told["unreadable"] > 0


@pytest.mark.slow
def test_by_ppo_the_policy_names_the_reward_model_and_its_constitution(folder: Path, policy: Path) -> None:
    plain = ("use_cpu=true", "bf16=false", "max_steps=2", "max_length=512")
    small = ("ppo.prompts_per_step=4", "ppo.samples_per_prompt=2", "ppo.max_new_tokens=20", "ppo.minibatches=2")
    stages = [f"{stage}.{setting}" for stage in ("reward", "ppo") for setting in plain]
    command = ["--principles", "c.yaml", "--prompts", "p.txt", "--out", "out", "--policy", f"hf:{policy}", *small]
    app = typer.Typer()
    app.command()(align)
    command += ["--method", "ppo", "--judge", RULE, "generate.max_tokens=40", *stages]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code in FINISHED, done.output
    lineage = json.loads((folder / "out/policy/lineage.json").read_text())
    assert lineage["constitutions"] == [load("c.yaml").digest] and lineage["parent"]["name"] == str(policy)
    assert [(a["name"], a["trainer"]) for a in lineage["ancestors"]] == [("out/reward", "reward")]


def test_prompts_never_change_sides() -> None:
    def of(texts: list[str]) -> list[Line]:
        return [
            Line.model_validate({"row": i, "where": "p", "item": {"prompt": prompt(t)}}) for i, t in enumerate(texts)
        ]

    many = [f"question {i}" for i in range(400)]
    kept, held_out = split(of(many), 0.25)
    assert 70 < len(held_out) < 130 and len(kept) + len(held_out) == 400
    fewer = split(of(many[:100][::-1]), 0.25)[1]
    texts = {line.item.prompt.key for line in held_out}
    expected = {line.item.prompt.key for line in of(many[:100])} & texts
    assert {line.item.prompt.key for line in fewer} == expected
    with pytest.raises(InputError, match="0 held out"):
        split(of(["one"]), 0.001)


def test_a_prompt_that_comes_twice_counts_once_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "one"}\n{"prompt": "two"}\n{"prompt": "one"}\n{"x": 1}\n')
    lines, refused = read(str(tmp_path / "p.jsonl"), None)
    assert [line.row for line in lines] == [0, 1]
    assert [(row.row, row.reason) for row in refused] == [(2, "duplicate"), (3, "no_prompt")]


def asked(**more: Any) -> ChainRequest:
    return ChainRequest("c.yaml", "p.txt", (RULE,), **more)


def test_figures_by_hand() -> None:
    rows = [
        Answered(prompt("a"), ("one", "two"), ("see me", "eel")),
        Answered(prompt("b"), ("no", None), ("no", "yes")),
    ]
    before = _side(asked(), [row.before for row in rows])
    after = _side(asked(), [row.after for row in rows])
    assert before["unanswered"] == 1 and before["words"]["estimate"] == 1
    assert before["verified"]["estimate"] == pytest.approx(1 / 3) and after["verified"]["estimate"] == 3 / 4
    low, high = exact(3, 4)
    assert after["verified"]["low"] <= low and after["verified"]["high"] >= high, "a prompt's answers are a cluster"
    change = _change(asked(), rows)
    assert change is not None and change["n"] == 2
    assert change["estimate"] == pytest.approx((1 - 0.5 + 0.5 - 0) / 2), "a prompt's own change: 1 of 2 to 2 of 2 ..."
    key = rows[0].prompt.key
    outcomes: dict[tuple[str, tuple[str, str]], list[float | None]] = {
        (key, ("one", "see me")): [1.0],
        (key, ("two", "eel")): [None],
    }
    win_rate = _win_rate(rows, outcomes)
    assert (win_rate["win_rate"]["estimate"], win_rate["equal_answers"], win_rate["unreadable"]) == (0.75, 1, 1)


def found_of(prompts: int, **more: Any) -> dict[str, Any]:
    figure = {"estimate": 0.5, "low": 0.2, "high": 0.8, "n": 9, "clusters": 5}
    side = {"unanswered": 0, "words": figure | {"low": None, "high": None}, "verified": figure}
    answers = [{"prompt": [{"role": "user", "content": "Q"}], "before": [HOSTILE], "after": [None]}] * prompts
    about = {"constitution": "c@1", "constitution_hash": "h" * 64, "title": "Short answers", "samples": 1}
    change = {"estimate": 0.73, "low": 0.6, "high": 0.85, "n": 30, "clusters": 30}
    facts = about | {"stages": {"sft": {"skipped": "none"}}, "answers": answers, "win_rate": figure, "change": change}
    facts |= {"policy": {"leaks": ["One family sits in three seats."], "hacking": {}, "answers": {}, "tax": {}}}
    return facts | {"before": side | {"verified": figure | {"estimate": 0.1}}, "after": side} | more


def test_the_page_shows_both_answers_as_text_only() -> None:
    page = Page(report(asked(), found_of(1)))
    assert not any(name in ("src", "href") or name.startswith("on") for _, a in page.tags for name in a)
    for said in (
        "One family sits in three seats",
        "document.title='owned'",
        "no answer",
        "verified after",
        "skipped: none",
        "The judge is a program",
    ):
        assert said in page.text


def test_the_report_begins_with_one_sentence() -> None:
    change = "a change of +73 points (95 % interval: +60 to +85)"
    said = f"Short answers (contains=e): from 10 % to 50 % of the answers to 30 held-out prompts, {change}."
    assert sentence(asked(), found_of(30)) == said
    page = Page(report(asked(), found_of(30)))
    assert page.text.index(said) < page.text.index("policy embedded") < page.text.index("win rate")
    assert sentence(asked(), found_of(3)).endswith("No more than 3 prompts: nothing can be said of fewer than 20.")
    by_a_judge = ChainRequest("c.yaml", "p.txt", ("embedded",))
    assert sentence(by_a_judge, found_of(30)) == (
        "The judge prefers the trained policy's answer in 50 % of 9 comparisons on 30 held-out prompts "
        "(95 % interval: 20 to 80 %)."
    )
    assert "Nothing could be read" in sentence(by_a_judge, found_of(30, win_rate=None))


def test_shares_and_a_win_rate_stand_in_pictures_of_their_own() -> None:
    text = report(asked(), found_of(30))
    assert [name in text for name in ("picture-verified", "picture-wins", "picture-words")] == [True] * 3


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"held_out": 0}, "is no share"),
        ({"policy": "openai:m@http://127.0.0.1:9/v1"}, "not here to be trained"),
        ({"settings": {"ppo": {}}}, "no stage 'ppo' when the method is dpo"),
        ({"settings": {"reward": {}}}, "no stage 'reward'"),
        ({"policy": "gpt"}, "there is no engine"),
    ],
)
def test_what_does_not_fit_is_told(more: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        asked(**more)


def test_settings_are_of_a_stage() -> None:
    assert read_settings(["dpo.beta=0.2", "generate.samples=3"]) == {"dpo": {"beta": 0.2}, "generate": {"samples": 3}}
    for bad in ("beta=0.2", "dpo.beta", "walk.fast=1"):
        with pytest.raises(InputError, match=r"expected STAGE\.KEY=VALUE"):
            read_settings([bad])


def test_bad_settings_of_a_stage_are_told_before_anything_is_made(folder: Path, policy: Path) -> None:
    for setting, problem in {
        "dpo.betta=1": "settings of dpo: unknown setting 'betta'",
        "evaluate.betta=1": "settings of evaluate: there is no setting 'betta'",
        "evaluate.samples=0": "samples is a number above 0",
        "evaluate.safe=none.txt": "none.txt",
        "evaluate.choices=none": "this is no folder",
    }.items():
        with pytest.raises(InputError, match=problem):
            run(policy, setting)
    assert not (folder / "out").exists()


def test_nothing_is_warned_of_as_the_chain_is_imported() -> None:
    """bitsandbytes, where it is installed, told in each run of a faster kernel that isn't."""
    done = subprocess.run([sys.executable, "-c", "import service.align.chain"], capture_output=True, check=True)
    assert done.stderr == b""
