"""Published figures of agreement, from the public files themselves: to the last digit that was printed."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

from critic.statistics.people.bradley_terry import bradley_terry
from critic.statistics.reliability.alpha import krippendorff
from critic.statistics.reliability.coefficient import OfWeights, coefficient
from critic.statistics.reliability.kappa import cohen, fleiss
from critic.statistics.reliability.ratings import Ratings


def value(disagreement: OfWeights, units: int) -> float:
    figure = coefficient(disagreement, units)
    assert figure is not None
    return figure


def golden(folder: Path, part: str) -> dict[str, Any]:
    listed = json.loads((folder / "GOLDEN.json").read_text())[part]
    return {entry["what"]: entry["value"] for entry in listed}


def test_pandalm(cai_data: Path) -> None:
    given = golden(cai_data, "agreement")
    rows = json.loads((cai_data / "pandalm/testset-v1.json").read_text())
    of_annotators = []
    for k in (1, 2, 3):
        of_annotators.append([row[f"annotator{k}"] for row in rows])
    ratings = Ratings.of_matrix(of_annotators)
    kappas, shares = [], []
    for first, second in ((0, 1), (0, 2), (1, 2)):
        units, mine, theirs = ratings.of_pair(first, second)
        kappas.append(value(cohen(mine, theirs), units.size))
        shares.append(float((mine == theirs).mean()))
    by_what = {
        what.split(",")[0].split(" / ")[0]: numbers for what, numbers in given.items() if what.startswith("PandaLM")
    }
    assert kappas == pytest.approx(by_what["PandaLM testset-v1"], rel=1e-14)
    assert shares == pytest.approx(by_what["PandaLM raw pairwise agreement"], rel=1e-14)
    alpha, kappa, *_ = by_what["PandaLM Krippendorff alpha nominal"]
    assert value(krippendorff(ratings, "nominal"), 999) == pytest.approx(alpha, rel=1e-14)
    assert value(fleiss(ratings), 999) == pytest.approx(kappa, rel=1e-14)
    counts = ratings.counts()
    most = counts.argmax(axis=1)[counts.max(axis=1) > 1]
    majority, unanimous = by_what["PandaLM Krippendorff alpha nominal"][2:]
    assert np.bincount(most, minlength=3).tolist() == majority and int((counts.max(axis=1) == 3).sum()) == unanimous


def test_dices(cai_data: Path) -> None:
    rows = json.loads((cai_data / "dices/dices_990.json").read_text())
    names = {"Yes": 1.0, "No": 0.0, "Unsure": 0.5}
    units, raters, values = [], [], []
    for place, row in enumerate(_instances(rows)):
        for rater, label in enumerate(_labels(row)):
            units.append(place)
            raters.append(rater)
            values.append(names[label])
    assert len(values) == 72_103
    ratings = Ratings.of(units, raters, values)
    assert value(krippendorff(ratings, "nominal"), ratings.number_of_units) == pytest.approx(
        0.14324966231784253, rel=1e-12
    )


def _instances(rows: object) -> list[dict[str, object]]:
    instances = rows["instances"] if isinstance(rows, dict) else rows
    assert isinstance(instances, list)
    return instances


def _labels(row: dict[str, object]) -> list[str]:
    annotations = row["annotations"]
    assert isinstance(annotations, dict)
    (given,) = annotations.values()
    return [str(label) for label in given["individual_human_scores"]]


def test_tulu(cai_data: Path) -> None:
    given = golden(cai_data, "agreement")
    strict, relaxed, kappa, acceptable = next(numbers for what, numbers in given.items() if what.startswith("Tulu"))
    with (cai_data / "tulu/eval_annotations_tulu_1.xlsx").open("rb") as file:
        head, *lines = openpyxl.load_workbook(file, read_only=True)["sheet"].iter_rows(values_only=True)
    rows = [dict(zip(head, line, strict=True)) for line in lines if line[0] is not None]
    items: dict[object, list[dict[Any, Any]]] = {}
    for row in sorted(rows, key=lambda row: str(row["timestamp"])):
        models = tuple(sorted((str(row["model_a"]), str(row["model_b"]))))
        items.setdefault((row["instance_id"], models), []).append(row)
    pairs = [item[:2] for item in items.values() if len(item) > 1]
    assert len(pairs) == 127
    said = np.array([list(map(_leans, pair)) for pair in pairs])
    apart = np.abs(said[:, 0] - said[:, 1])
    assert (apart == 0).mean() == pytest.approx(strict, rel=1e-14)
    assert (1 - apart / 2).mean() == pytest.approx(relaxed, rel=1e-14)
    # The published kappa is of the winners' names.
    winners = [list(map(_winner, pair)) for pair in pairs]
    codes = np.unique(winners, return_inverse=True)[1].reshape(127, 2)
    assert value(cohen(codes[:, 0], codes[:, 1]), 127) == pytest.approx(kappa, rel=1e-12)
    alike = [
        _accepts(first, str(model)) == _accepts(second, str(model))
        for first, second in pairs
        for model in (first["model_a"], first["model_b"])
    ]
    assert np.mean(alike) == pytest.approx(acceptable, rel=1e-14)


def _leans(row: dict[Any, Any]) -> float:
    """1 for the model whose name comes first, -1 for the other, 0 for a tie: raters saw them in different orders."""
    said = str(row["preference"])
    if said == "tie":
        side = 0.0
    elif said.startswith("a-"):
        side = 1.0
    else:
        side = -1.0
    return side if str(row["model_a"]) < str(row["model_b"]) else -side


def _winner(row: dict[Any, Any]) -> str:
    said = str(row["preference"])
    if said == "tie":
        return said
    return str(row["model_a"] if said.startswith("a-") else row["model_b"])


def _accepts(row: dict[Any, Any], model: str) -> object:
    return row["completion_a_is_acceptable" if row["model_a"] == model else "completion_b_is_acceptable"]


def test_xstest(cai_data: Path) -> None:
    given = golden(cai_data, "agreement")
    published = next(numbers for what, numbers in given.items() if what.startswith("XSTest"))
    for name in ("gpt4", "mistralinstruct"):
        with (cai_data / f"xstest/xstest_v2_completions_{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        labels = np.array([[row["annotation_1"], row["annotation_2"]] for row in rows])
        codes = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
        shares, kappa = published[name]
        assert (codes[:, 0] == codes[:, 1]).mean() == pytest.approx(shares, rel=1e-14)
        assert value(cohen(codes[:, 0], codes[:, 1]), len(rows)) == pytest.approx(kappa, rel=1e-14)


def test_choix(cai_data: Path) -> None:
    given = golden(cai_data, "bradley_terry")
    vector = next(numbers for what, numbers in given.items() if what.startswith("choix pairwise-2"))
    assert bradley_terry([0, 0, 1, 2], [1, 1, 2, 0], [1, 1, 1, 1]).strengths == pytest.approx(vector, abs=1e-9)
    assert bradley_terry([0, 1, 2], [1, 2, 0], [1, 1, 1]).strengths == pytest.approx([0, 0, 0], abs=1e-12)
