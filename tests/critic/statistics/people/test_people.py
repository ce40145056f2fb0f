"""People: a published table, second implementations, planted spammers and tired ones, and few false alarms."""

from typing import Any

import choix
import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import DawidSkene, OneCoinDawidSkene
from scipy import stats

from critic.statistics.alarms import OF_REPORT
from critic.statistics.people import dawid_skene
from critic.statistics.people.bradley_terry import bradley_terry, with_reliability
from critic.statistics.people.course import drift, fatigue, gold
from critic.statistics.people.spam import informed
from critic.statistics.reliability.ratings import Floats, Ints, Ratings

# Dawid and Skene (1979), table 1: 45 patients; observer 1 three times, then observers 2 to 5.
PATIENTS = (
    "1111111 3334334 1122122 2223121 2223222 2223322 1222111 3333433 2222223 2322223 4444444 2223343 1111111 2223212 "
    "1211111 1112111 1111111 1111111 2222221 2221322 2222222 2222221 2223222 2212222 1111111 1111111 2322222 1111111 "
    "1111111 1121121 1111111 3333233 1111111 2222222 2223232 4334343 2212232 2323233 3333432 1111111 1111111 1212111 "
    "2322222 1211111 2222222"
)


def crowd(rng: np.random.Generator, units: int = 200) -> tuple[Ints, Ints, Ints]:
    """Five raters of three values, from good to bad."""
    unit, rater = np.repeat(np.arange(units), 5), np.tile(np.arange(5), units)
    truth = rng.integers(3, size=units)
    right = rng.random(unit.size) < np.array([0.9, 0.8, 0.7, 0.6, 0.4])[rater]
    return unit, rater, np.where(right, truth[unit], rng.integers(3, size=unit.size))


def test_dawid_and_skenes_own_table() -> None:
    # Observer 1's three answers are three labels of one rater, which a file never holds.
    values = np.array([list(map(int, patient)) for patient in PATIENTS.split()])
    units = np.repeat(np.arange(45), 7)
    raters = np.tile([0, 0, 0, 1, 2, 3, 4], 45)
    ratings = Ratings(units, raters, values.reshape(-1) - 1, np.array([1.0, 2.0, 3.0, 4.0]))
    model = dawid_skene.full(ratings)
    assert model.converged
    # Table 2 of the paper: the marginal probabilities of the classes.
    assert model.prior.round(2).tolist() == [0.40, 0.42, 0.11, 0.07]


def in_order(table: Any) -> Floats:
    """Return crowd-kit's table with units and values in their order."""
    return np.asarray(table.sort_index().sort_index(axis=1).to_numpy(), np.float64)


@pytest.mark.filterwarnings("ignore:The (inplace|copy) keyword")  # of crowd-kit's use of pandas
def test_both_models_are_those_of_another_implementation() -> None:
    unit, rater, value = crowd(np.random.default_rng(0))
    frame = pd.DataFrame({"task": unit, "worker": rater, "label": value})
    ratings = Ratings.of(unit, rater, value)
    theirs = in_order(DawidSkene(n_iter=1000, tol=1e-10).fit(frame).probas_)
    assert np.abs(theirs - dawid_skene.full(ratings).truth).max() < 5e-3
    # It ends as soon as its bound falls by rounding, after three rounds here.
    coins = OneCoinDawidSkene(n_iter=1000, tol=1e-10).fit(frame)
    own = dawid_skene.one_coin(ratings)
    assert np.abs(in_order(coins.probas_) - own.truth).max() < 5e-2
    assert own.accuracy == pytest.approx(coins.skills_.sort_index().to_numpy(), abs=5e-3)


def test_bradley_terry_is_choix() -> None:
    rng = np.random.default_rng(1)
    i = rng.integers(6, size=900)
    j = (i + rng.integers(1, 6, size=900)) % 6
    y = rng.random(900) < 0.5 + 0.08 * (i - j) / 5
    wins = [(int(a), int(b)) if first else (int(b), int(a)) for a, b, first in zip(i, j, y, strict=True)]
    assert bradley_terry(i, j, y).strengths == pytest.approx(choix.ilsr_pairwise(6, wins), abs=1e-7)


def test_an_accuracy_s_interval_knows_that_truth_is_estimated() -> None:
    unit, rater, value = crowd(np.random.default_rng(5))
    ratings = Ratings.of(unit, rater, value)
    for fit in (dawid_skene.one_coin, dawid_skene.full):
        model = fit(ratings)
        figures = [one for one in dawid_skene.accuracies(model, ratings) if one is not None]
        for one, right in zip(figures, model.accuracy, strict=True):
            known = 2 * 1.96 * np.sqrt(right * (1 - right) / 200)
            assert one.estimate == right and one.low < right < one.high and one.n == 200
            assert known < one.high - one.low < 2 * known, "wider than where truth is known"
    together = dawid_skene.accuracies(model, ratings, np.arange(200) // 4)
    assert {one.clusters for one in together if one is not None} == {50}
    few = Ratings.of(unit[:50], rater[:50], value[:50])
    assert [(one.low, one.high) for one in dawid_skene.accuracies(dawid_skene.full(few), few) if one] == [(0, 1)] * 5


def test_who_never_loses_has_no_strength() -> None:
    with pytest.raises(ValueError, match="fall into 2 parts"):
        bradley_terry([0, 0, 1, 2], [1, 2, 2, 1], [1, 1, 1, 1])
    assert bradley_terry([0, 1], [1, 0], [0.5, 0.5]).strengths.tolist() == [0, 0], "all ties"


def test_an_annotator_who_answers_at_random_or_the_wrong_way_round_is_told_apart() -> None:
    rng = np.random.default_rng(2)
    strengths = np.array([1.5, 0.5, 0.0, -0.5, -1.5])
    i = rng.integers(5, size=3000)
    j = (i + rng.integers(1, 5, size=3000)) % 5
    y = (rng.random(3000) < 1 / (1 + np.exp(strengths[j] - strengths[i]))).astype(float)
    who = rng.integers(5, size=3000)
    y = np.where(who == 4, 1 - y, np.where(who == 3, rng.integers(2, size=3000), y))
    fitted = with_reliability(i, j, y, who.tolist())
    assert np.abs(fitted.strengths - strengths).max() < 0.5
    assert fitted.reliability[4] < 0.2 < 0.4 < fitted.reliability[3] < 0.65 < fitted.reliability[:3].min()
    plain = bradley_terry(i, j, y).strengths
    assert np.abs(fitted.strengths - strengths).sum() < np.abs(plain - strengths).sum()


def tired(rng: np.random.Generator, sittings: int, each: int, late: float) -> tuple[list[float], list[float]]:
    """Agreement and times of one who agrees less in the second half of each sitting."""
    agrees, times = [], []
    for sitting in range(sittings):
        for place in range(each):
            agrees.append(float(rng.random() < (late if place >= each // 2 else 0.85)))
            times.append(sitting * 86_400.0 + place * 60)
    return agrees, times


def test_fatigue_and_drift_are_found_and_not_taken_for_each_other() -> None:
    rng = np.random.default_rng(3)
    change = fatigue(*tired(rng, 12, 40, 0.55))
    assert change is not None and change.p < 0.01 and change.difference.high < 0
    same = drift(*tired(rng, 12, 40, 0.55))
    assert same is not None and same.p > 0.05
    agrees = [float(rng.random() < (0.9 if n < 150 else 0.6)) for n in range(300)]
    changed = drift(agrees, list(range(300)))
    assert changed is not None and changed.p < 0.01 and changed.difference.estimate < -0.1


def test_the_p_value_of_a_drift_is_the_exact_one() -> None:
    """Of right and wrong labels in two halves it is Fisher's (1935), told by the difference of shares."""
    for right in (19, 15, 12):
        agrees = [1.0] * right + [0.0] * (20 - right) + [1.0] * 10 + [0.0] * 10
        change = drift(agrees, list(range(40)))
        of_first = stats.hypergeom(40, right + 10, 20)
        exact = sum(of_first.pmf(k) for k in range(21) if abs(2 * k - right - 10) >= abs(right - 10) - 1e-9)
        assert change is not None and change.p == pytest.approx(exact, rel=0.35), "as far as 50 permutations tell"


def test_a_change_of_one_among_hundreds_can_stand_out() -> None:
    change = drift([1.0] * 200 + [0.0] * 200, list(range(400)))
    assert change is not None and change.p < OF_REPORT / 1000


def test_false_alarms_of_the_course_are_few() -> None:
    alarms = 0
    for seed in range(200):
        change = fatigue(*tired(np.random.default_rng(seed), 4, 20, 0.85))
        alarms += change is not None and change.p < 0.05
    assert alarms <= 18, "5 % of 200, and what chance adds to it"


def test_few_labels_say_nothing_of_a_course() -> None:
    assert drift([1.0] * 10, list(range(10))) is None
    assert fatigue([1.0] * 30, [n * 86_400.0 for n in range(30)]) is None, "sittings of one label"
    assert gold([]) is None
    few = gold([1.0, 0.0, 1.0])
    assert few is not None and (few.low, few.high) == (0, 1)
    with pytest.raises(ValueError, match="no number"):
        drift([np.nan] * 30, list(range(30)))


def test_spammers_are_found_and_nobody_else() -> None:
    rng = np.random.default_rng(4)
    unit, rater, value = crowd(rng, 300)
    value = np.where(rater == 4, rng.integers(3, size=value.size), value)  # answers at random
    value = np.where(rater == 3, 1, value)  # always the same answer
    says_nothing = [one.says_nothing for one in informed(Ratings.of(unit, rater, value))]
    assert says_nothing == [False, False, False, True, True]


def test_false_alarms_of_spam_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critic.statistics.reliability.coefficient.RESAMPLES", 30)  # enough for a variance here
    alarms = 0
    for seed in range(100):
        unit, rater, value = crowd(np.random.default_rng(seed), 60)
        kept = rater < 4
        alarms += any(one.says_nothing for one in informed(Ratings.of(unit[kept], rater[kept], value[kept])))
    assert alarms <= 5


def test_one_annotator_and_one_item_are_no_error() -> None:
    alone = informed(Ratings.of([0, 1, 2], ["a"] * 3, [0, 1, 0]))
    assert [(one.labels, one.kappa, one.says_nothing) for one in alone] == [(0, None, False)]
    single = informed(Ratings.of([0, 0], ["a", "b"], [0, 1]))
    assert not any(one.says_nothing for one in single)
    with pytest.raises(ValueError, match="no rating"):
        dawid_skene.full(Ratings.of([], [], []))
