"""Coefficients of agreement: published examples, second implementations, invariance, and what has no answer."""

import krippendorff as oracle
import numpy as np
import pytest
from statsmodels.stats import inter_rater

from critic.statistics.reliability.alpha import Level, krippendorff
from critic.statistics.reliability.coefficient import FEWEST, coefficient, figure
from critic.statistics.reliability.gwet import ac1, ac2
from critic.statistics.reliability.kappa import cohen, fleiss
from critic.statistics.reliability.ratings import Floats, Ratings

NAN = np.nan
# Krippendorff (2011), section C: 12 units by 4 observers.
FOUR = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)
# The example of three observers and 15 units in Wikipedia's article on the coefficient.
THREE = np.array(
    [
        [NAN, NAN, NAN, NAN, NAN, 3, 4, 1, 2, 1, 1, 3, 3, NAN, 3],
        [1, NAN, 2, 1, 3, 3, 4, 3, NAN, NAN, NAN, NAN, NAN, NAN, NAN],
        [NAN, NAN, 2, 1, 3, 4, 4, NAN, 2, 1, 1, 3, 3, NAN, 4],
    ]
)
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval", "ratio")


def alpha(matrix: Floats, level: Level) -> float | None:
    ratings = Ratings.of_matrix(matrix)
    return coefficient(krippendorff(ratings, level), ratings.number_of_units)


def table(seed: int, raters: int = 4, units: int = 60, values: int = 5, missing: float = 0.3) -> Floats:
    rng = np.random.default_rng(seed)
    truth = rng.integers(values, size=units)
    said = np.where(rng.random((raters, units)) < 0.6, truth, rng.integers(values, size=(raters, units)))
    return np.where(rng.random((raters, units)) < missing, NAN, said.astype(float))


def test_krippendorffs_own_example() -> None:
    alphas = [alpha(FOUR, level) for level in ("nominal", "ordinal", "ratio")]
    assert alphas == pytest.approx([0.743421052632, 0.815, 0.797], abs=5e-4)
    assert alpha(THREE, "nominal") == pytest.approx(0.691358, abs=5e-7)
    assert alpha(THREE, "interval") == pytest.approx(0.810845, abs=5e-7)


@pytest.mark.parametrize("level", LEVELS)
def test_alpha_is_that_of_another_implementation(level: Level) -> None:
    for seed in range(5):
        matrix = table(seed)
        assert alpha(matrix, level) == pytest.approx(oracle.alpha(matrix, level_of_measurement=level), rel=1e-12)


@pytest.mark.parametrize("level", LEVELS)
def test_alpha_does_not_depend_on_order_of_units_or_raters(level: Level) -> None:
    matrix = table(7)
    rng = np.random.default_rng(0)
    shuffled = matrix[rng.permutation(4)][:, rng.permutation(60)]
    assert alpha(matrix, level) == pytest.approx(alpha(shuffled, level), rel=1e-12)


def test_interval_alpha_takes_any_numbers() -> None:
    matrix = table(3)
    assert alpha(10 * matrix - 7.5, "interval") == pytest.approx(alpha(matrix, "interval"), rel=1e-12)


def test_fleiss_own_example() -> None:
    # Wikipedia's table of 10 subjects by 14 raters, after Fleiss (1971).
    counts = [
        *([0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]),
        *([7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]),
    ]
    matrix = np.array([np.repeat(np.arange(len(row)), row) for row in counts], float).T
    ratings = Ratings.of_matrix(matrix)
    assert coefficient(fleiss(ratings), 10) == pytest.approx(0.20993, abs=1e-5)
    assert coefficient(fleiss(ratings), 10) == pytest.approx(inter_rater.fleiss_kappa(np.array(counts)), rel=1e-12)


def test_cohen_is_that_of_another_implementation() -> None:
    matrix = table(1, raters=2, missing=0.0).astype(np.int64)
    counted = np.zeros((5, 5))
    np.add.at(counted, (matrix[0], matrix[1]), 1)
    expected = inter_rater.cohens_kappa(counted).kappa
    assert coefficient(cohen(matrix[0], matrix[1]), 60) == pytest.approx(expected, rel=1e-12)


def test_gwets_own_example() -> None:
    # The published value of the package irrCAC for the same 12 units.
    ratings = Ratings.of_matrix(FOUR)
    assert coefficient(ac1(ratings), 12) == pytest.approx(0.77544, abs=5e-6)


def test_ac2_is_gwets_formula_written_out() -> None:
    ratings = Ratings.of_matrix(FOUR)
    counts, values = ratings.counts(), ratings.values
    near = 1 - (values[:, None] - values[None, :]) ** 2 / 16
    agreed, shares = [], []
    for row in counts:
        m = row.sum()
        shares.append(row / m)
        if m > 1:
            agreed.append(sum(row[k] * (row @ near[k] - 1) for k in range(5)) / (m * (m - 1)))
    given = np.mean(shares, axis=0)
    chance = near.sum() / 20 * (given * (1 - given)).sum()
    assert coefficient(ac2(ratings), 12) == pytest.approx((np.mean(agreed) - chance) / (1 - chance), rel=1e-12)


def test_gwet_does_not_collapse_where_one_value_is_given_nearly_always() -> None:
    first = np.array([0] * 95 + [0] * 2 + [1] * 3)
    second = np.array([0] * 95 + [1] * 2 + [0] * 3)
    ratings = Ratings.of_matrix(np.stack((first, second)).astype(float))
    kappa, gwet = coefficient(cohen(first, second), 100), coefficient(ac1(ratings), 100)
    assert kappa is not None and kappa < 0
    assert gwet is not None and gwet > 0.94


@pytest.mark.parametrize("matrix", [np.ones((3, 30)), np.full((3, 30), NAN), np.full((0, 0), 1.0)])
def test_constant_and_missing_ratings_have_no_coefficient(matrix: Floats) -> None:
    ratings = Ratings.of_matrix(matrix)
    units = ratings.number_of_units
    for level in LEVELS:
        assert figure(krippendorff(ratings, level), units) is None
    assert figure(ac1(ratings), units) is None


def test_one_annotator_has_no_coefficient() -> None:
    ratings = Ratings.of_matrix(np.arange(30.0)[None, :])
    assert figure(krippendorff(ratings, "interval"), 30) is None
    with pytest.raises(ValueError, match="two or more"):
        fleiss(ratings)


def test_few_units_have_an_estimate_and_no_interval() -> None:
    of_few = figure(krippendorff(Ratings.of_matrix(FOUR), "nominal"), 12)
    assert of_few is not None and (of_few.low, of_few.high) == (-1, 1) and of_few.clusters < FEWEST


def test_perfect_agreement_is_not_certain() -> None:
    matrix = np.tile((np.arange(40) % 2).astype(float), (3, 1))
    perfect = figure(krippendorff(Ratings.of_matrix(matrix), "nominal"), 40)
    assert perfect is not None and perfect.estimate == 1 and perfect.high == 1
    assert 0.7 < perfect.low < 0.95, "40 units that all agree"


def test_clusters_widen_the_interval() -> None:
    matrix = np.repeat(table(5, units=40, missing=0.0), 6, axis=1)
    ratings = Ratings.of_matrix(matrix)
    alone = figure(krippendorff(ratings, "nominal"), 240)
    together = figure(krippendorff(ratings, "nominal"), 240, np.repeat(np.arange(40), 6))
    assert alone is not None and together is not None and together.clusters == 40
    assert together.high - together.low > 1.8 * (alone.high - alone.low)


def test_all_resamples_at_once_are_each_by_itself() -> None:
    ratings = Ratings.of_matrix(table(8, units=50))
    weights = np.random.default_rng(0).integers(3, size=(7, 50)).astype(float)
    made = [krippendorff(ratings, level) for level in LEVELS] + [ac1(ratings), ac2(ratings)]
    for disagreement in made:
        together = disagreement(weights).coefficients
        apart = [disagreement(one[None, :]).coefficients[0] for one in weights]
        assert together == pytest.approx(apart, rel=1e-12)
    # A unit that counts twice is two units.
    twice = np.concatenate((table(8, units=50), table(8, units=50)[:, :5]), axis=1)
    counted = np.where(np.arange(50) < 5, 2.0, 1.0)[None, :]
    for level in LEVELS:
        assert krippendorff(ratings, level)(counted).coefficients[0] == pytest.approx(alpha(twice, level), rel=1e-12)


def test_near_chance_the_interval_reaches_further_up() -> None:
    rng = np.random.default_rng(1)
    said = (rng.random((3, 60)) < 0.15).astype(float)
    near_chance = figure(krippendorff(Ratings.of_matrix(said), "nominal"), 60)
    assert near_chance is not None and near_chance.high - near_chance.estimate > near_chance.estimate - near_chance.low


def test_ratings_are_checked() -> None:
    with pytest.raises(ValueError, match="rated one unit twice"):
        Ratings.of([1, 1], ["a", "a"], [0, 1])
    with pytest.raises(ValueError, match="infinite"):
        Ratings.of([1], ["a"], [np.inf])
    with pytest.raises(ValueError, match="as many units"):
        Ratings.of([1], ["a", "b"], [0, 1])


def test_names_and_large_numbers_are_the_same_units() -> None:
    values = [0, 1, 1, 0.5, 0, 1]
    named = Ratings.of(["x", "x", "y", "y", "z", "z"], ["b", "a"] * 3, values)
    numbered = Ratings.of([10**12, 10**12, 5 * 10**12, 5 * 10**12, 7 * 10**12, 7 * 10**12], [9, 3] * 3, values)
    assert alpha_of(named) == alpha_of(numbered)


def alpha_of(ratings: Ratings) -> float | None:
    return coefficient(krippendorff(ratings, "interval"), ratings.number_of_units)


def test_alpha_is_that_of_values_of_any_size() -> None:
    matrix = table(9)
    for size in (1e-200, 1e200):
        assert alpha(matrix * size, "interval") == pytest.approx(alpha(matrix, "interval"), rel=1e-12)
