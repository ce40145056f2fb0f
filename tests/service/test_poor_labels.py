"""Labels that say little, or nothing: each measuring command, and each route, gives figures, a sentence or a refusal.

Never a traceback, and never NaN or infinity, in print, in JSON or on a page.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from base.errors import InputError
from service.cli import app
from tests.factories import small_constitution
from tests.service.calls import Api

NO_NUMBER = re.compile(r"(?<![\w-])-?(?:nan|inf|infinity)(?![\w-])", re.IGNORECASE)
JUDGE = ("--judge", "scripted:judge.yaml")
RULED = (*JUDGE, "--principles", "c.yaml")

Row = dict[str, Any]


def said(number: int, choice: str, annotator: str = "ann", group: str | None = None, **more: Any) -> Row:
    return {
        "kind": "comparison",
        "source": "human",
        "prompt": {"messages": [{"role": "user", "content": f"Question {number}?"}]},
        "responses": [{"text": f"one {number}", "model": "a"}, {"text": f"two {number}", "model": "b"}],
        "label": {"choice": choice},
        "annotator": annotator,
        "group": group,
        **more,
    }


def rated(number: int, value: float) -> Row:
    label = {"value": value, "scale": {"min": 1, "max": 5}, "response": 0}
    return said(number, "first") | {"kind": "rating", "label": label}


def turned(row: Row) -> Row:
    """The same comparison with its answers the other way round."""
    other = {"first": "second", "second": "first"}.get(row["label"]["choice"], row["label"]["choice"])
    return row | {"responses": row["responses"][::-1], "label": {"choice": other}}


def alternating(number: int) -> str:
    return ("first", "second")[number % 2]


def timed(row: Row, at: object) -> str:
    """A row with a time that Python's JSON reads, and no clock has shown."""
    return json.dumps(row | {"created_at": at})


ONE_ANNOTATOR = [said(n, alternating(n)) for n in range(24)]
ALL_TIES = [said(n, "tie", name) for n in range(24) for name in ("ann", "bob")]
ALL_MISSING = [said(n, "first") | {"label": {"choice": None}} for n in range(24)]
CONSTANT_RATERS = [said(n, "first", name) for n in range(32) for name in ("ann", "bob")]
ONE_CONSTANT_RATER = [said(n, c, name) for n in range(32) for name, c in (("ann", "first"), ("b", alternating(n)))]
GROUPS_OF_ONE = [said(n, alternating(n), f"p{n}", group=f"g{n}") for n in range(24)]
DUPLICATED_ROWS = [said(n, alternating(n)) for n in range(6) for _ in range(5)]
OUTSIDE_THE_SCALE = [rated(n, 9) for n in range(24)]
OUTSIDE_THE_SCALE += [said(n, "third") for n in range(3)]
UNBALANCED_ORDERS = [said(n, "first", "ann") for n in range(24)]
UNBALANCED_ORDERS += [turned(said(n, "first", "b")) for n in range(3)]
CASES: dict[str, list[Row]] = {
    "one annotator": ONE_ANNOTATOR,
    "one item": [said(1, "first", "ann"), said(1, "second", "bob")],
    "all ties": ALL_TIES,
    "all missing": ALL_MISSING,
    "no row": [],
    "constant raters": CONSTANT_RATERS,
    "one constant rater": ONE_CONSTANT_RATER,
    "outside the scale": OUTSIDE_THE_SCALE,
    "groups of one": GROUPS_OF_ONE,
    "unbalanced orders": UNBALANCED_ORDERS,
    "duplicated rows": DUPLICATED_ROWS,
}


NO_TIMES = (math.inf, -math.inf, math.nan, 10**400, True, "yesterday", "9999-12-31T23:59:59-12:00")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(small_constitution(2)))
    (tmp_path / "judge.yaml").write_text("choose: first\nlikelihood: short\n")
    (tmp_path / "a.yaml").write_text("replies: [{reply: 'Yes.'}]\n")
    (tmp_path / "b.yaml").write_text("replies: [{reply: 'No, thanks.'}]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, rows: Sequence[Row]) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def plain_pairs(rows: Sequence[Row]) -> list[Row]:
    """The same as pairs, prompts and choices: what commands without people's labels read."""
    texts = []
    for row in rows:
        texts.append((row["prompt"]["messages"][0]["content"], [one["text"] for one in row["responses"]]))
    return [{"prompt": prompt, "chosen": answers[0], "rejected": answers[1]} for prompt, answers in texts]


def commands(page: str) -> dict[str, tuple[str, ...]]:
    """Every command that measures, as it is called on the files of a case."""
    return {
        "agreement": ("evaluate", "agreement", "labels.jsonl", "--report", page),
        "groups": ("evaluate", "groups", "labels.jsonl"),
        "judge": ("evaluate", "judge", *RULED, "--pairs", "labels.jsonl", "--report", page),
        "powered": ("evaluate", "powered", "labels.jsonl", "run", "--report", page),
        "plan": ("evaluate", "plan", "labels.jsonl", "run", "--width", "0.1"),
        "routing": ("evaluate", "routing", "run", "labels.jsonl", "--budget", "5", "--out", "drawn"),
        "choices": ("evaluate", "choices", "choices.jsonl", *JUDGE),
        "injection": ("evaluate", "injection", *RULED, "--limit", "1"),
        "policy": (
            *("evaluate", "policy", "scripted:a.yaml", "scripted:b.yaml", "--prompts", "pairs.jsonl"),
            *("--safe", "pairs.jsonl", "--harmless", "c.yaml", *RULED, "--out", "policy"),
        ),
        "certify": ("certify", *RULED, "--pairs", "labels.jsonl", "--out", "certificate"),
        "test": ("constitution", "test", "c.yaml", "--run", "run", "--out", "tested"),
        "recover": ("constitution", "recover", "pairs.jsonl"),
    }


def cai(*command: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, list(command))


def is_told(name: str, done: Result) -> bool:
    """Whether the command gave figures; False where it refused in words. Anything else fails."""
    if isinstance(done.exception, InputError):
        assert str(done.exception) and not NO_NUMBER.search(str(done.exception)), name
        return False
    assert done.exception is None or isinstance(done.exception, SystemExit), (name, done.exc_info)
    assert done.exit_code in (0, 2, 3, 4), (name, done.exit_code, done.output)
    assert not NO_NUMBER.search(done.output), (name, done.output)
    return done.exit_code in (0, 3, 4)


def refuse(constant: str) -> float:
    raise AssertionError(f"JSON has no {constant}")


@pytest.mark.slow
@pytest.mark.parametrize("rows", CASES.values(), ids=CASES.keys())
def test_every_command_gives_figures_a_sentence_or_a_refusal(folder: Path, rows: list[Row]) -> None:
    write("labels.jsonl", rows)
    write("pairs.jsonl", plain_pairs(rows))
    asked = [
        {"prompt": row["prompt"], "corrects": [row["chosen"]], "incorrects": [row["rejected"]]}
        for row in plain_pairs(rows)
    ]
    write("choices.jsonl", asked)
    is_judged = is_told("run", cai("judge", *RULED, "--pairs", "pairs.jsonl", "--out", "run", "--quiet"))
    told = {name: is_told(name, cai(*command)) for name, command in commands("page.html").items()}
    for name, command in commands("page.html").items():
        if told[name]:
            again = (*command, "--extend") if name in ("certify",) else command
            done = cai(*again, "--json")
            assert is_told(name, done), name
            json.loads(done.stdout, parse_constant=refuse)
    for page in folder.rglob("*.html"):
        text = re.sub(r"<(style|script)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL)
        assert not NO_NUMBER.search(text), page
    assert told["injection"], "which needs no labels"
    assert is_judged or not rows


@pytest.mark.filterwarnings("error")
def test_times_that_are_none_say_nothing_of_a_course(folder: Path) -> None:
    rows = [said(n, alternating(n), name) for n in range(42) for name in ("ann", "bob")]
    lines = [timed(row, NO_TIMES[place % len(NO_TIMES)]) for place, row in enumerate(rows)]
    Path("labels.jsonl").write_text("\n".join(lines))
    done = cai("evaluate", "agreement", "labels.jsonl", "--json")
    assert is_told("agreement", done)
    people = json.loads(done.stdout)["annotators"]
    assert [(one["drift"], one["fatigue"]) for one in people] == [(None, None)] * 2


def test_labels_as_the_service_gives_them_are_read_by_every_command(folder: Path) -> None:
    about: Row = {
        "id": "0f",
        "item": "x",
        "created_at": "2026-11-29T10:00:00Z",
        "project": "p",
        "task": "t",
        "job": None,
    }
    about |= {"shown": [1, 0], "seconds": 3.5, "replaces": None, "retracted": None}
    rows = [said(n, alternating(n), name) | about for n in range(24) for name in ("ann", "bob")]
    rows[0]["retracted"] = {"reason": "a slip", "at": "2026-11-29T11:00:00Z", "replaced_by": None}
    write("labels.jsonl", rows)
    for command in (
        ("evaluate", "agreement", "labels.jsonl"),
        ("evaluate", "judge", *RULED, "--pairs", "labels.jsonl"),
        ("certify", *RULED, "--pairs", "labels.jsonl", "--out", "certificate"),
    ):
        done = cai(*command)
        assert done.exit_code == 3, (done.output, done.exception)
        assert "retracted: this label was withdrawn" in done.output, "which alone is left out"
    agreed = json.loads(cai("evaluate", "agreement", "labels.jsonl", "--json").stdout)
    assert agreed["labels"] == 47
    assert "left out: 1 rows" in cai("constitution", "recover", "labels.jsonl").output


def always(choice: str) -> Callable[[int, int], str]:
    return lambda item, person: choice


# People as they are in groups, items, and what a person says of an item.
PROJECTS: dict[str, tuple[list[str | None], int, Callable[[int, int], str]]] = {
    "nobody": ([None], 2, always("")),
    "one annotator": ([None], 3, lambda item, person: alternating(item)),
    "one item": ([None, None], 1, lambda item, person: alternating(person)),
    "all ties": ([None, None], 3, always("tie")),
    "constant raters": (["x", "x"], 3, always("first")),
    "groups of one": (["x", "y"], 3, lambda item, person: alternating(item + person)),
}


@pytest.mark.parametrize("case", PROJECTS.values(), ids=PROJECTS.keys())
async def test_every_route_gives_figures_a_sentence_or_a_refusal(
    api: Api, case: tuple[list[str | None], int, Callable[[int, int], str]]
) -> None:
    groups, items, says = case
    people = [await api.labeller(f"P{place}", group) for place, group in enumerate(groups)]
    given = [{"prompt": f"Question {n}?", "responses": ["one", "two"]} for n in range(items)]
    asked = {"name": "p", "kind": "comparison", "items": given, "labels_per_item": max(1, len(groups))}
    project = (await api.admin.post("/v1/projects", json=asked)).json()["id"]
    for place, person in enumerate(people):
        for item in range(items):
            if choice := says(item, place):
                task = (await person.post(f"/v1/projects/{project}/tasks/next")).json()["task"]
                done = await person.post(f"/v1/tasks/{task['id']}/answer", json={"label": choice})
                assert done.status_code in (200, 201), done.text
    for route in (
        "agreement",
        "agreement?pooled=true",
        "judges",
        "disagreement",
        "pace",
        "gold",
        "progress",
        "routings",
    ):
        answer = await api.admin.get(f"/v1/projects/{project}/{route}")
        assert answer.status_code == 200, (route, answer.text)
        json.loads(answer.text, parse_constant=refuse)
    routing = await api.admin.post(f"/v1/projects/{project}/routings", json={"budget": 5})
    assert routing.status_code == 422 and routing.json()["detail"], "no judge has compared anything"


def test_a_pair_that_is_repeated_is_one_observation(folder: Path) -> None:
    write("pairs.jsonl", [{"prompt": "Why?", "chosen": "A good long answer.", "rejected": "Bad."}] * 40)
    told = json.loads(cai("constitution", "recover", "pairs.jsonl", "--json").stdout)
    assert told["pairs"] == 1 and told["repeated"] == 39 and not told["rules"]
    assert "39 rows that repeat a pair" in cai("constitution", "recover", "pairs.jsonl").output


def test_items_of_one_label_lift_no_coefficient_over_its_floor(folder: Path) -> None:
    """60 items, 5 of which two people labelled: those five are what a coefficient rests on."""
    rows = [said(n, alternating(n)) for n in range(60)]
    rows += [said(n, "first", "bob") for n in range(5)]
    write("labels.jsonl", rows)
    done = cai("evaluate", "agreement", "labels.jsonl", "--json")
    for figure in json.loads(done.stdout)["coefficients"].values():
        assert (figure["n"], figure["clusters"], figure["low"], figure["high"]) == (5, 5, -1, 1)


def test_labels_of_other_kinds_and_gold_of_other_items_are_said(folder: Path) -> None:
    rows = [said(n, "first") for n in range(30)]
    rows += [rated(n, 3) for n in range(20)]
    write("labels.jsonl", rows)
    write("gold.jsonl", [said(n, "first") for n in range(100, 110)])
    output = cai("evaluate", "agreement", "labels.jsonl", "--gold", "gold.jsonl").output
    assert "left out: 20 rating" in output and "none of the items with known answers" in output
