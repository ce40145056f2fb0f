"""``cai evaluate groups``: two opposed groups are told, and who loses under each way; groups too small are refused."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from base.errors import InputError
from service.cli import app


def label(item: int, person: int, group: str | None, choice: str) -> dict[str, Any]:
    return {
        "kind": "comparison",
        "source": "human",
        "prompt": {"messages": [{"role": "user", "content": f"question {item}"}]},
        "responses": [{"text": "plain", "model": "m"}, {"text": "wordy", "model": "m"}],
        "label": {"choice": choice},
        "annotator": f"{group}-{person}",
        "group": group,
    }


def write(path: Path, sizes: dict[str, int], items: int = 24) -> Path:
    rows = [
        label(item, person, group, "first" if group == "north" else "second")
        for item in range(items)
        for group, people in sizes.items()
        for person in range(people)
    ]
    rows.append(label(0, 0, None, "tie"))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def cai(*more: str) -> Any:
    return CliRunner().invoke(app, ["evaluate", "groups", *more])


def test_opposed_groups_are_told_and_the_minority_loses_by_majority_only(tmp_path: Path) -> None:
    file = str(write(tmp_path / "labels.jsonl", {"north": 40, "south": 20}))
    done = cai(file, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["people"] == {"north": 40, "south": 20} and told["items"] == 24
    assert told["apart"]["p"] < 0.01 and told["left_out"] == {"without group or annotator": 1}
    ways = told["ways"]
    assert ways["majority"]["loser"] == "south" and ways["majority"]["groups"]["south"]["overruled"]["estimate"] == 1
    assert ways["maximin"]["loser"] is None and ways["soft"]["groups"]["south"]["overruled"][
        "estimate"
    ] == pytest.approx(2 / 3)
    printed = cai(file, "--by", "mean").output
    assert "vote differently" in printed and "south loses" in printed and "maximin" not in printed


def test_small_groups_an_unknown_way_and_labels_of_nobody_are_refused(tmp_path: Path) -> None:
    file = str(write(tmp_path / "labels.jsonl", {"north": 40, "south": 3}))
    told = json.loads(cai(file, "--json").stdout)
    assert "south (3)" in told["apart"]["refusal"]
    assert "3 people" in told["ways"]["mean"]["groups"]["south"]["refusal"]
    assert isinstance(cai(file, "--by", "dictator").exception, InputError)
    (tmp_path / "nobody.jsonl").write_text(json.dumps(label(0, 0, None, "first")) + "\n")
    assert isinstance(cai(str(tmp_path / "nobody.jsonl")).exception, InputError)


@pytest.mark.parametrize("way", ["mean", "majority", "borda", "maximin", "nash", "proportional", "soft"])
def test_each_way_can_be_asked_for_alone(tmp_path: Path, way: str) -> None:
    file = str(write(tmp_path / "labels.jsonl", {"north": 20, "south": 20}, items=20))
    assert list(json.loads(cai(file, "--json", "--by", way).stdout)["ways"]) == [way]


def test_a_name_in_two_groups_is_two_people(tmp_path: Path) -> None:
    """Each group counts its people from 0, and answers by the same names."""
    file = write(tmp_path / "labels.jsonl", {"north": 20, "south": 20})
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        row["annotator"] = row["annotator"].split("-")[1]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = json.loads(cai(str(file), "--json", "--by", "mean").stdout)
    assert told["people"] == {"north": 20, "south": 20} and told["apart"]["p"] < 0.01
    by_group = CliRunner().invoke(app, ["evaluate", "agreement", str(file), "--json"])
    assert [one["labels"] for one in json.loads(by_group.stdout)["groups"] if one["group"]] == [480, 480]


def test_items_of_one_group_alone_say_nothing_of_who_loses(tmp_path: Path) -> None:
    rows = [label(item, item, "north" if item % 2 else "south", "first") for item in range(48)]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = json.loads(cai(str(tmp_path / "labels.jsonl"), "--json", "--by", "mean").stdout)
    assert told["apart"]["p"] is None and "two groups" in told["apart"]["refusal"]
    assert all("0 items" in loss["refusal"] for loss in told["ways"]["mean"]["groups"].values())


def test_a_group_that_prefers_nothing_is_a_sentence(tmp_path: Path) -> None:
    rows = [label(item, person, group, "tie") for item in range(20) for person in range(20) for group in ("n", "s")]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "prefers neither answer of any item" in cai(str(tmp_path / "labels.jsonl"), "--by", "mean").output


def test_groups_that_nobody_named_are_found_in_the_votes_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    rng = random.Random(1)

    def told(leans: Callable[[int, int], float], people: int) -> Any:
        rows = []
        for person in range(people):
            for item in range(24):
                rows.append(label(item, person, None, "first" if rng.random() < leans(item, person) else "second"))
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return cai(str(file), "--json")

    two = json.loads(told(lambda item, person: 0.9 if (item + (person >= 30)) % 2 else 0.1, 60).stdout)
    assert two["people"] == {"group 1": 30, "group 2": 30} and two["apart"]["p"] is None
    assert two["apart"]["refusal"].startswith("2 groups were found in the votes alone (silhouette 0.")
    assert two["ways"]["soft"]["groups"]["group 1"]["overruled"]["estimate"] == pytest.approx(0.5, abs=0.1)
    assert "no more than by chance" in str(told(lambda item, person: 0.5, 60).exception)
    assert "3 people voted enough" in str(told(lambda item, person: 0.5, 3).exception)
