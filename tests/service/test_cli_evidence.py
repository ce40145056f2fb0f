"""``cai evaluate agreement``, ``cai certify``, gates and ``cai reweigh --certificate``, on files that people have."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from base.errors import InputError
from service.cli import app
from tests.factories import small_constitution

JUDGE = ("--judge", "scripted:judge.yaml", "--principles", "c.yaml")


def cai(*command: str) -> Result:
    return CliRunner().invoke(app, list(command))


def said(number: int, choice: str, annotator: str | None = "ann", **more: Any) -> dict[str, Any]:
    return {
        "kind": "comparison",
        "source": "human",
        "prompt": {"messages": [{"role": "user", "content": f"Question {number}?"}]},
        "responses": [{"text": f"one {number}", "model": "a"}, {"text": f"two {number}", "model": "b"}],
        "label": {"choice": choice},
        "annotator": annotator,
        **more,
    }


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def agreement(file: str, *more: str) -> dict[str, Any]:
    done = cai("evaluate", "agreement", file, "--json", *more)
    assert done.exit_code == 0, (done.output, done.exception)
    read: dict[str, Any] = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(name))
    return read


def crowd(items: int = 50) -> list[dict[str, Any]]:
    """Three who are right on nine of ten, and one who says whatever."""
    rng = random.Random(3)
    rows = []
    for n in range(items):
        truth = rng.choice(("first", "second"))
        other = "second" if truth == "first" else "first"
        rows += [said(n, truth if rng.random() < 0.9 else other, name) for name in ("ann", "bob", "cyd")]
        rows.append(said(n, rng.choice(("first", "second")), "eve"))
    return rows


def test_agreement_names_the_spammer_and_right_answers(tmp_path: Path) -> None:
    rows = crowd()
    known = write(tmp_path / "gold.jsonl", [row for row in rows if row["annotator"] == "ann"])
    page = tmp_path / "page.html"
    told = agreement(write(tmp_path / "l.jsonl", rows), "--gold", known, "--report", str(page))
    alpha = told["coefficients"]["Krippendorff's alpha, nominal"]
    assert 0.1 < alpha["low"] < alpha["estimate"] < alpha["high"] < 0.7
    people = {one["name"]: one for one in told["annotators"]}
    ann, eve = people["ann"]["accuracy"], people["eve"]["accuracy"]
    assert people["ann"]["gold"]["estimate"] == 1 and ann["estimate"] > 0.8 > eve["estimate"]
    assert ann["low"] < ann["estimate"] < ann["high"] and ann["clusters"] == 50
    assert any("eve's labels say next to nothing" in alarm for alarm in told["alarms"])
    assert not any("ann" in alarm for alarm in told["alarms"])
    assert sum(told["verdicts"].values()) == 50 and "Person by person" in page.read_text()


def test_models_have_strengths_and_a_spammer_the_least_reliability(tmp_path: Path) -> None:
    rng = random.Random(4)
    rows = []
    for n in range(60):
        truth = "first" if rng.random() < 0.75 else "second"
        other = "second" if truth == "first" else "first"
        rows += [said(n, truth if rng.random() < 0.9 else other, name) for name in ("ann", "bob", "cyd")]
        rows.append(said(n, rng.choice(("first", "second")), "eve"))
    page = tmp_path / "page.html"
    models = agreement(write(tmp_path / "l.jsonl", rows), "--report", str(page))["models"]
    best, least = models["strengths"]["a"], models["strengths"]["b"]
    assert best["n"] == 240 and best["clusters"] == 60
    assert best["low"] > 0 and best["estimate"] == pytest.approx(-least["estimate"])
    assert models["weighed"]["a"] > best["estimate"], "slips pull strengths together"
    assert min(models["reliability"], key=lambda name: models["reliability"][name]) == "eve"
    assert "Models by these comparisons" in page.read_text()
    few = agreement(write(tmp_path / "few.jsonl", rows[:20]), "--report", str(page))["models"]
    assert "No more than 5 prompts" in few["why_not"] and "No more than 5 prompts" in page.read_text()
    always = agreement(write(tmp_path / "always.jsonl", [said(n, "first") for n in range(24)]))["models"]
    assert "not finite" in always["why_not"] and always["strengths"] == {}


def test_opposed_groups_stay_apart(tmp_path: Path) -> None:
    rows = []
    for n in range(30):
        side = ("first", "second")[n % 2]
        other = ("second", "first")[n % 2]
        rows += [said(n, side, name, group="north") for name in ("ann", "bob")]
        rows += [said(n, other, name, group="south") for name in ("cyd", "dan")]
    page = tmp_path / "page.html"
    file = write(tmp_path / "l.jsonl", rows)
    apart = {one["group"]: one for one in agreement(file, "--report", str(page))["groups"]}
    assert [apart[name]["agreement"]["estimate"] for name in ("north", "south")] == [1, 1]
    assert set(apart["north"]["verdicts"]) == {"collect more"}, "two labels settle nothing"
    shown = page.read_text()
    assert "By north" in shown and "By south" in shown and "Groups stay apart" in shown
    pooled = agreement(file, "--pool-groups")
    assert pooled["agreement"]["estimate"] == pytest.approx(2 / 6)


def all_said(choice: str, count: int = 30, names: Sequence[str | None] = ("ann", "bob")) -> list[dict[str, Any]]:
    """Labels of so many items by each of them; ``choice`` may be "in turns"."""
    turns = ("first", "second") if choice == "in turns" else (choice, choice)
    return [said(n, turns[n % 2], name) for n in range(count) for name in names]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (all_said("first", names=("ann",)), "no unit was labelled by two people"),
        ([said(1, "first", "ann"), said(1, "second", "bob")], "prompt"),
        (all_said("tie"), "one value alone was given"),
        (all_said("first"), "one value alone was given"),
        (all_said("in turns", names=(None,)), "no unit was labelled by two people"),
        (all_said("first", names=("ann",)) + all_said("in turns", names=("bob",)), ""),
        ([said(n, "first", "ann", group=f"g{n}") for n in range(3)], "no unit was labelled by two people"),
    ],
)
def test_poor_labels_give_sentences_and_no_nan(tmp_path: Path, rows: list[dict[str, Any]], told: str) -> None:
    file = write(tmp_path / "l.jsonl", rows)
    agreement(file, "--report", str(tmp_path / "page.html"))
    shown = cai("evaluate", "agreement", file)
    text = (shown.output + (tmp_path / "page.html").read_text()).lower()
    assert shown.exit_code == 0 and told in text and " nan" not in text


def test_what_is_no_label_is_refused_by_name(tmp_path: Path) -> None:
    scale = {"min": 1, "max": 5}
    outside = said(1, "first") | {"kind": "rating", "label": {"value": 9, "scale": scale, "response": 0}}
    done = cai("evaluate", "agreement", write(tmp_path / "l.jsonl", [outside]))
    assert isinstance(done.exception, InputError) and "no row holds a label" in str(done.exception)
    mixed = cai("evaluate", "agreement", write(tmp_path / "m.jsonl", [outside, said(1, "first"), said(1, "first")]))
    assert mixed.exit_code == 3 and "left out: 1 rows" in mixed.output and "given again" in mixed.output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two people's comparisons, a judge that prefers at random, and its run over the same pairs."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(small_constitution(1)))
    (tmp_path / "judge.yaml").write_text("choose: hash")
    rng = random.Random(5)
    rows = []
    for n in range(240):
        choice = rng.choice(("first", "second"))
        rows += [said(n, choice, "ann"), said(n, choice if n % 5 else "tie", "bob")]
    write(tmp_path / "people.jsonl", rows)
    pairs = [{"prompt": f"Question {n}?", "responses": [f"one {n}", f"two {n}"]} for n in range(240)]
    write(tmp_path / "pairs.jsonl", pairs)
    monkeypatch.chdir(tmp_path)
    assert cai("judge", *JUDGE, "--pairs", "pairs.jsonl", "--out", "run").exit_code == 0
    return tmp_path


@pytest.mark.slow
def test_a_certificate_binds_a_run_and_gates_hold(folder: Path) -> None:
    made = cai("certify", *JUDGE, "--pairs", "people.jsonl", "--out", "cert", "--run", "run", "--json")
    assert made.exit_code == 0, (made.output, made.exception)
    certificate = json.loads((folder / "cert/certificate.json").read_text())
    assert json.loads((folder / "run/manifest.json").read_text())["certificate"] == certificate["sha256"]
    assert certificate["data"]["items"] == 240 and certificate["map"] is not None, "a coin's doubts are mended"
    assert "human_agreement" in certificate["figures"] and "not covered" in (folder / "cert/report.html").read_text()

    export = ("export", "run", "--format", "trl", "--out", "out/pairs.jsonl", "--require-certificate")
    (folder / "out").mkdir()
    good = cai(*export, "--bound", "accuracy=0.3")
    assert good.exit_code == 0, (good.output, good.exception)
    assert json.loads((folder / "out/certificate.json").read_text())["sha256"] == certificate["sha256"]
    refused = cai(*export, "--bound", "accuracy=0.7").exception
    assert isinstance(refused, InputError) and "accuracy has to be at least 0.7" in str(refused)
    assert isinstance(cai(*export, "--bound", "accuracy=high").exception, InputError)
    assert isinstance(cai(*export, "--bound", "accuracy=nan").exception, InputError)

    done = cai("reweigh", "run", "--principles", "c.yaml", "--certificate", "cert", "--out", "new", "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    before, after = (_probabilities(folder / name / "feedback.jsonl") for name in ("run", "new"))
    assert before.keys() == after.keys()
    nearer = [abs(after[item] - 0.5) <= abs(before[item] - 0.5) + 1e-9 for item in before]
    assert all(nearer) and any(abs(after[item] - before[item]) > 0.05 for item in before), "a coin is too sure"

    (folder / "run/certificate.json").unlink()
    missing = cai(*export).exception
    assert isinstance(missing, InputError) and "there is no certificate" in str(missing)


def _probabilities(file: Path) -> dict[str, float]:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {json.dumps(row["prompt"]): row["probability"] for row in rows if row.get("probability") is not None}


@pytest.mark.slow
def test_another_judge_s_certificate_is_refused_everywhere(folder: Path) -> None:
    (folder / "other.yaml").write_text("choose: first")
    other = ("--judge", "scripted:other.yaml", "--principles", "c.yaml")
    assert cai("certify", *other, "--pairs", "people.jsonl", "--limit", "30", "--out", "other").exit_code == 0
    for command in (
        ("certify", *other, "--pairs", "people.jsonl", "--limit", "30", "--out", "other", "--run", "run"),
        ("export", "run", "--format", "trl", "--out", "p.jsonl", "--certificate", "other/certificate.json"),
        ("reweigh", "run", "--principles", "c.yaml", "--certificate", "other", "--out", "new"),
    ):
        refused = cai(*command).exception
        assert isinstance(refused, InputError) and "of another judge" in str(refused), command
    (folder / "judge.yaml").write_text("choose: first")
    again = cai("certify", *JUDGE, "--pairs", "people.jsonl", "--limit", "30", "--out", "again", "--run", "run")
    assert isinstance(again.exception, InputError), "the same name, and other weights"
    assert "of another judge: weights: " in str(again.exception)
    changed = json.loads((folder / "other/certificate.json").read_text()) | {"faults": ["none"]}
    (folder / "other/certificate.json").write_text(json.dumps(changed))
    refused = cai("reweigh", "run", "--principles", "c.yaml", "--certificate", "other", "--out", "new").exception
    assert isinstance(refused, InputError) and "not what its hash says" in str(refused)


@pytest.mark.slow
def test_few_labels_beside_a_run(folder: Path) -> None:
    some = [row for row in map(json.loads, (folder / "people.jsonl").read_text().splitlines())][:120]
    write(folder / "some.jsonl", some)
    done = cai("evaluate", "powered", "some.jsonl", "run", "--json", "--report", "powered.html")
    assert done.exit_code == 0, (done.output, done.exception)
    wins, also, accuracy = json.loads(done.stdout)["figures"]
    assert wins["judge"] is not None and wins["powered"]["estimate"] == pytest.approx(1 - also["powered"]["estimate"])
    assert accuracy["what"] == "accuracy" and accuracy["labelled"] == 60 and accuracy["judged"] == 240
    assert accuracy["powered"]["low"] < 0.5 < accuracy["powered"]["high"], "a coin's"
    plan = cai("evaluate", "plan", "some.jsonl", "run", "--width", "0.1", "--json")
    assert json.loads(plan.stdout)["plans"][-1]["plan"]["more"] > 100
    assert isinstance(cai("evaluate", "plan", "some.jsonl", "run", "--width", "nan").exception, InputError)
    for width in ("0", "1.5"):
        assert isinstance(cai("evaluate", "plan", "some.jsonl", "run", "--width", width).exception, InputError)

    routed = cai("evaluate", "routing", "run", "some.jsonl", "--budget", "20", "--out", "drawn", "--json")
    assert routed.exit_code == 0, (routed.output, routed.exception)
    told = json.loads(routed.stdout)
    asked = [json.loads(line) for line in (folder / "drawn/to-label.jsonl").read_text().splitlines()]
    assert len(asked) == len(told["drawn"]) == 20 and told["pilot"] == 60
    rows = [json.loads(line) for line in (folder / "drawn/routing.jsonl").read_text().splitlines()]
    assert sum(row["chance"] for row in rows if not row["labels"]) == pytest.approx(20)
    assert {row["chance"] for row in rows if row["labels"]} == {1.0}
    early = cai("evaluate", "powered", "some.jsonl", "run", "--drawn", "drawn/routing.jsonl", "--json")
    assert "have not labelled 20 of the items drawn" in json.loads(early.stdout)["figures"][-1]["why_not"]["powered"]
    late = cai("evaluate", "powered", "people.jsonl", "run", "--drawn", "drawn/routing.jsonl", "--json")
    figure = json.loads(late.stdout)["figures"][-1]["powered"]
    assert figure["n"] == 80 and figure["low"] < 0.5 < figure["high"], "labels of items that weren't drawn don't count"
    (folder / "broken.jsonl").write_text('{"item": "a", "chance": 2}\n')
    refused = cai("evaluate", "powered", "people.jsonl", "run", "--drawn", "broken.jsonl").exception
    assert isinstance(refused, InputError) and "chance above 0" in str(refused)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rows",
    [
        all_said("tie", 24),
        [said(1, "first")] * 3,
        all_said("first", 24),
        [said(n, "first", "ann", group="x") for n in range(24)] + [said(1, "second", "bob", group="y")],
    ],
    ids=["all ties", "one item three times", "constant raters", "a group of one label"],
)
def test_a_certificate_of_poor_labels_has_no_nan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(small_constitution(1)))
    (tmp_path / "judge.yaml").write_text("choose: first")
    write(tmp_path / "l.jsonl", rows)
    done = cai("certify", *JUDGE, "--pairs", "l.jsonl", "--out", "cert", "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    made = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(name))
    for name, figure in made["figures"].items():
        assert figure["low"] is None or figure["low"] < figure["high"], f"{name} has an interval without width"
    assert " nan" not in ((tmp_path / "cert/report.html").read_text() + done.output).lower()
