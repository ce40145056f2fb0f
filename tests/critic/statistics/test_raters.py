"""Kappa and alpha: by hand, against published numbers, and under invariances."""

import json
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic.statistics.raters import Coincidences, Kappa, Level

KRIPPENDORFF = """
1 2 3 3 2 1 4 1 2 * * *
1 2 3 3 2 2 4 1 2 5 * 3
* 3 3 3 2 3 4 2 2 5 1 *
1 2 3 3 2 4 4 1 2 5 1 *
"""  # Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: four observers, twelve units


def coincidences(rows: list[list[float]]) -> Coincidences:
    counted = Coincidences()
    for row in rows:
        counted.add(row)
    return counted


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_own_example(level: Level, alpha: float) -> None:
    observers = [line.split() for line in KRIPPENDORFF.split("\n") if line]
    units = []
    for unit in zip(*observers, strict=True):
        units.append([float(value) for value in unit if value != "*"])
    assert coincidences(units).alpha(level) == pytest.approx(alpha, abs=5e-4)


def test_alpha_by_hand() -> None:
    # Units (0, 0) and (0, 1): coincidences 00: 2, 01: 1, 10: 1; totals 3 and 1, four labels.
    # Observed disagreement 2, expected 2 * 3 * 1 / 3 = 2: exactly chance.
    assert coincidences([[0, 0], [0, 1]]).alpha("nominal") == pytest.approx(0)
    assert coincidences([[0, 0], [1, 1]]).alpha("nominal") == 1
    assert coincidences([[0, 1], [1, 0]]).alpha("nominal") == pytest.approx(1 - 3 * 4 / 8)


def test_kappa_by_hand() -> None:
    # 20 twice yes, 5 yes/no, 10 no/yes, 15 twice no: agreement .7, chance .5 * .6 + .5 * .4 = .5.
    kappa = Kappa()
    for first, second, count in ((1, 1, 20), (1, 0, 5), (0, 1, 10), (0, 0, 15)):
        for _ in range(count):
            kappa.add(first, second)
    assert (kappa.units, kappa.agreement) == (50, 0.7)
    assert kappa.kappa == pytest.approx(0.4)


def test_what_says_nothing_is_no_number() -> None:
    assert Kappa().kappa is None and Kappa().agreement is None
    same = Kappa()
    same.add(1, 1)
    assert same.agreement == 1 and same.kappa is None
    assert coincidences([]).alpha("nominal") is None
    assert coincidences([[1, 1], [1, 1]]).alpha("nominal") is None
    lonely = coincidences([[1], [2], []])
    assert (lonely.units, lonely.labels, lonely.alpha("nominal")) == (0, 0, None)


UNITS = st.lists(st.lists(st.integers(0, 3), max_size=5), min_size=1, max_size=12)


@given(UNITS)
def test_neither_the_order_of_raters_nor_that_of_units_matters(units: list[list[float]]) -> None:
    turned = [unit[::-1] for unit in units[::-1]]
    for level in ("nominal", "ordinal", "interval"):
        before, after = coincidences(units).alpha(level), coincidences(turned).alpha(level)
        assert before == after or before == pytest.approx(after)


@given(UNITS)
def test_interval_alpha_keeps_under_shift_and_scale_and_two_values_have_no_level(units: list[list[float]]) -> None:
    before = coincidences(units).alpha("interval")
    moved = []
    for unit in units:
        moved.append([3 * value + 7 for value in unit])
    after = coincidences(moved).alpha("interval")
    assert before == after or before == pytest.approx(after)
    halved = []
    for unit in units:
        halved.append([min(value, 1) for value in unit])
    two = coincidences(halved)
    assert two.alpha("nominal") == two.alpha("interval") or two.alpha("nominal") == pytest.approx(two.alpha("interval"))


def test_pandalm_by_three_annotators(cai_data: Path) -> None:
    golden = {
        entry["what"]: entry["value"] for entry in json.loads((cai_data / "GOLDEN.json").read_text())["agreement"]
    }
    rows = json.loads((cai_data / "pandalm" / "testset-v1.json").read_text())
    labels = []
    for row in rows:
        labels.append([float(row[f"annotator{i}"]) for i in (1, 2, 3)])
    pairs = []
    for first, second in ((0, 1), (0, 2), (1, 2)):
        pair = Kappa()
        for unit in labels:
            pair.add(unit[first], unit[second])
        pairs.append(pair)
    kappas = next(value for what, value in golden.items() if what.startswith("PandaLM testset-v1, Cohen kappa"))
    assert [pair.kappa for pair in pairs] == pytest.approx(kappas, abs=1e-12)
    assert [pair.agreement for pair in pairs] == pytest.approx(golden["PandaLM raw pairwise agreement"], abs=1e-12)
    alpha = next(value for what, value in golden.items() if what.startswith("PandaLM Krippendorff alpha"))[0]
    assert coincidences(labels).alpha("nominal") == pytest.approx(alpha, abs=1e-12)


def test_dices_by_seventy_raters(cai_data: Path) -> None:
    golden = json.loads((cai_data / "GOLDEN.json").read_text())["agreement"]
    alpha = next(entry["value"] for entry in golden if entry["what"].startswith("DICES-990"))
    rows = json.loads((cai_data / "dices" / "dices_990.json").read_text())["instances"]
    values = {"No": 0.0, "Yes": 1.0, "Unsure": 2.0}
    ratings = []
    for row in rows:
        ratings.append([values[label] for label in row["annotations"]["safety"]["individual_human_scores"]])
    counted = coincidences(ratings)
    assert counted.labels == 72103
    assert counted.alpha("nominal") == pytest.approx(alpha, abs=1e-12)


def by_the_matrix(units: list[list[float]], level: Level) -> float | None:
    """Krippendorff's alpha as he writes it: coincidences of each two values, and the metric of each two."""
    kept = [unit for unit in units if len(unit) > 1]
    values = sorted({value for unit in kept for value in unit})
    total = {}
    for value in values:
        total[value] = sum(unit.count(value) for unit in kept)
    labels = sum(total.values())

    def distance(a: float, b: float) -> float:
        if level == "nominal":
            return float(a != b)
        if level == "interval":
            return (a - b) ** 2
        low, high = sorted((a, b))
        between = sum(total[value] for value in values if low <= value <= high)
        return (between - (total[a] + total[b]) / 2) ** 2

    expected = sum(total[a] * total[b] * distance(a, b) for a in values for b in values)
    observed = 0.0
    for unit in kept:
        observed += sum(distance(a, b) for a, b in permutations(unit, 2)) / (len(unit) - 1)
    return None if expected == 0 else 1 - (labels - 1) * observed / expected


@given(UNITS, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_is_that_of_the_coincidence_matrix(units: list[list[float]], level: Level) -> None:
    here, there = coincidences(units).alpha(level), by_the_matrix(units, level)
    assert here == there or here == pytest.approx(there)


def test_many_different_values_have_alphas_without_a_number_for_each_two() -> None:
    units = [[float(number), number + 0.5] for number in range(20_000)]
    counted = coincidences(units)
    assert counted.alpha("nominal") == pytest.approx(1 - 39_999 * 40_000 / (40_000**2 - 40_000))
    assert counted.alpha("interval") == pytest.approx(1, abs=1e-6)
    assert counted.alpha("ordinal") is None  # which needs that number
    few = units[:100]
    assert coincidences(few).alpha("ordinal") == pytest.approx(by_the_matrix(few, "ordinal"))
