"""How often 95 % intervals hold what they are of: simulations of every method, small numbers, extremes and clusters.

``python -m benchmarks.coverage [SIMULATIONS] [WORDS]`` prints a table, of the methods whose names have the words if any
are given. Each row draws data whose truth is known, so many times,
and counts the intervals that hold it. Rates are drawn anew in each simulation, from a narrow band: at one rate alone,
coverage of counts jumps up and down with it (Brown, Cai and DasGupta 2001).
"""

import sys
import time

import numpy as np
from numpy.random import Generator

from benchmarks.simulated_raters import LARGE, Trial, agreement, agreement_in_clusters
from critic.statistics.intervals import Figure, Share, jeffreys
from critic.statistics.judges.calibration_error import brier_score, calibration_error
from critic.statistics.judges.leanings import controlled_accuracy, leaning
from critic.statistics.people.bradley_terry import bradley_terry
from critic.statistics.people.course import drift
from critic.statistics.people.dawid_skene import accuracies
from critic.statistics.people.dawid_skene import full as full_model
from critic.statistics.people.dawid_skene import one_coin as one_coin_model
from critic.statistics.policies.change import mean_change
from critic.statistics.policies.length import length_controlled
from critic.statistics.policies.strengths import ELO
from critic.statistics.policies.strengths import strengths as policy_strengths
from critic.statistics.prediction import ppi
from critic.statistics.prediction.rogan_gladen import prevalence
from critic.statistics.prediction.routing import (
    Round,
    drawn,
    expected_errors,
    probabilities,
    rounds_mean,
    routed_mean,
)
from critic.statistics.reliability.ratings import Floats, Ratings

SIMULATIONS = 1000
LEAST, MOST = 0.93, 0.97


def powered(n: int, more: int, low: float, high: float, accuracy: float, each: int = 1) -> Trial:
    """Return a simulation of PPI++'s mean of a rate drawn between two bounds, in clusters of ``each``."""

    def trial(rng: Generator) -> tuple[float, float, float]:
        rate = rng.uniform(low, high)
        prompts = (n + more) // each
        own = np.full(prompts, rate) if each == 1 else rng.beta(rate * 4, (1 - rate) * 4, prompts)
        of = np.repeat(np.arange(prompts), each)
        human = (rng.random(prompts * each) < own[of]).astype(float)
        judge = np.where(rng.random(human.size) < accuracy, human, 1 - human)
        mean = ppi.mean(human[:n], judge[:n], judge[n:], of[:n], of[n:]).figure
        return mean.low, mean.high, rate

    return trial


def powered_difference(n: int, more: int, first: float, second: float) -> Trial:
    """Return a simulation of PPI++'s paired difference of two rates, with ties."""

    def trial(rng: Generator) -> tuple[float, float, float]:
        a, b = (np.select([rng.random(n + more) < rate], [1.0], 0.0) for rate in (first, second))
        tied = rng.random(n + more) < 0.2
        a, b = np.where(tied, 0.5, a), np.where(tied, 0.5, b)
        f = np.where(rng.random(n + more) < 0.8, a, 1 - a)
        g = np.where(rng.random(n + more) < 0.8, b, 1 - b)
        difference = ppi.difference((a[:n], b[:n]), (f[:n], g[:n]), (f[n:], g[n:])).figure
        return difference.low, difference.high, 0.8 * (first - second)

    return trial


def screened(n: int, more: int, low: float, high: float) -> Trial:
    """Return a simulation of Rogan and Gladen's estimate."""

    def trial(rng: Generator) -> tuple[float, float, float]:
        rate = rng.uniform(low, high)
        human = (rng.random(n + more) < rate).astype(float)
        judge = np.where(rng.random(n + more) < np.where(human == 1, 0.85, 0.9), human, 1 - human)
        try:
            share = prevalence(human[:n], judge[:n], judge[n:])
        except ValueError:
            return -np.inf, np.inf, rate
        return share.low, share.high, rate

    return trial


def routed(items: int, budget: int) -> Trial:
    """Return a simulation of a routed mean over one population of items."""

    def trial(rng: Generator) -> tuple[float, float, float]:
        doubt = rng.random(items)
        judge = (rng.random(items) < 0.5).astype(float)
        human = np.where(rng.random(items) < 0.5 * doubt, 1 - judge, judge)
        chances = probabilities(np.sqrt(0.05 + 0.4 * doubt), budget)
        shown = drawn(chances, int(rng.integers(2**31)))
        mean = routed_mean(human[shown], judge[shown], chances[shown], judge)
        return mean.low, mean.high, float(human.mean())

    return trial


def routed_in_rounds(items: int, budgets: tuple[int, ...]) -> Trial:
    """Return a simulation of a mean over items drawn in rounds, each by what the judge was off at before."""

    def trial(rng: Generator) -> tuple[float, float, float]:
        signals = {"margin": rng.random(items), "orders": rng.random(items)}
        judge = (rng.random(items) < 0.5).astype(float)
        human = np.where(rng.random(items) < 0.02 + 0.4 * signals["orders"] ** 4, 1 - judge, judge)
        is_labelled = np.zeros(items, bool)
        rounds = []
        for budget in budgets:
            left = np.flatnonzero(~is_labelled)
            known = np.flatnonzero(is_labelled)
            chances = np.ones(items)
            likely = expected_errors(signals, known, (human - judge)[known])
            chances[left] = probabilities(likely[left], budget)
            is_labelled[left[drawn(chances[left], int(rng.integers(2**31)))]] = True
            shown = np.flatnonzero(is_labelled)
            rounds.append(Round(human[shown], judge[shown], chances[shown], judge))
        mean = rounds_mean(rounds)
        return mean.low, mean.high, float(human.mean())

    return trial


def told_true(units: int, raters: int, low: float, high: float, *, one_coin: bool) -> Trial:
    """Return a simulation of a rater's accuracy by Dawid and Skene's model."""

    def trial(rng: Generator) -> tuple[float, float, float]:
        right = rng.uniform(low, high, raters)
        is_yes = rng.random(units) < 0.5
        is_right = rng.random((raters, units)) < right[:, None]
        ratings = Ratings.of_matrix(np.where(is_right, is_yes, ~is_yes).astype(float))
        model = one_coin_model(ratings) if one_coin else full_model(ratings)
        first = accuracies(model, ratings)[0]
        return (0.0, 1.0, right[0]) if first is None else (first.low, first.high, float(right[0]))

    return trial


def ranked(prompts: int) -> Trial:
    """Return a simulation of a policy's strength in Elo's points, over prompts on which each meets each twice."""
    true = np.array([80.0, 20.0, -100.0])

    def trial(rng: Generator) -> tuple[float, float, float]:
        first, second = np.tile([0, 0, 1], prompts), np.tile([1, 2, 2], prompts)
        of = np.repeat(np.arange(prompts), 3)
        lead = (true[first] - true[second]) / ELO + np.tile(rng.normal(0, 0.3, prompts), (3, 1)).T.reshape(-1)
        wins = (rng.random((2, lead.size)) < 1 / (1 + np.exp(-lead))).mean(axis=0)
        made = policy_strengths(("a", "b", "c"), first, second, wins, of.tolist()).figures
        return (-np.inf, np.inf, 80.0) if not made else (made[0].low, made[0].high, 80.0)

    return trial


def won(prompts: int, rate: float) -> Trial:
    """Return a simulation of a length-controlled win rate, of two samples a prompt, where length says nothing."""

    def trial(rng: Generator) -> tuple[float, float, float]:
        own = np.repeat(rng.beta(rate * 6, (1 - rate) * 6, prompts), 2)
        wins = (rng.random(own.size) < own).astype(float)
        win_rate = length_controlled(wins, rng.normal(size=own.size), np.repeat(np.arange(prompts), 2).tolist())
        return (0.0, 1.0, rate) if win_rate is None else (win_rate.low, win_rate.high, rate)

    return trial


def changed(prompts: int, low: float, high: float) -> Trial:
    """Return a simulation of a mean change of shares, most prompts of which don't change at all."""

    def trial(rng: Generator) -> tuple[float, float, float]:
        rate = rng.uniform(low, high)
        before, after = rng.random(prompts) < 0.1, rng.random(prompts) < 0.1 + rate
        change = mean_change(after.astype(float) - before, range(prompts))
        return (-1.0, 1.0, rate) if change is None else (change.low, change.high, rate)

    return trial


def sure(rng: Generator, prompts: int, times: float, each: int, people: int) -> tuple[Floats, Floats]:
    """Draw pairs of which a judge's log-odds are so many times too large, and the shares of so many people."""
    odds = rng.normal(0, 1.5, prompts * each)
    prompt_odds = np.zeros(odds.size) if each == 1 else np.repeat(rng.normal(size=prompts), each)
    shares = (rng.random((people, odds.size)) < 1 / (1 + np.exp(-odds - prompt_odds))).mean(axis=0)
    return 1 / (1 + np.exp(-times * odds)), shares


def miscalibrated(prompts: int, times: float, each: int = 1, people: int = 1) -> Trial:
    """Return a simulation of the calibration error of such a judge."""
    p, y = sure(np.random.default_rng(99), 5 * LARGE // each, times, each, people)
    off = np.bincount(np.ceil(np.maximum(p, 1 - p) * 10).astype(int), np.where(p > 0.5, p - y, y - p))
    true = float(np.abs(off).sum() / p.size)

    def trial(rng: Generator) -> tuple[float, float, float]:
        error = calibration_error(*sure(rng, prompts, times, each, people), np.repeat(np.arange(prompts), each))
        return (0.0, 1.0, true) if error is None else (error.low, error.high, true)

    return trial


def squared(pairs: int, times: float) -> Trial:
    """Return a simulation of the Brier score of such a judge."""
    p, y = sure(np.random.default_rng(99), 5 * LARGE, times, 1, 1)
    true = float(((p - y) ** 2).mean())

    def trial(rng: Generator) -> tuple[float, float, float]:
        score = brier_score(*sure(rng, pairs, times, 1, 1))
        return (0.0, 1.0, true) if score is None else (score.low, score.high, true)

    return trial


def shared(prompts: int, each: int, low: float, high: float) -> Trial:
    """Return a simulation of a share in clusters, as accuracies and agreement with others are."""

    def trial(rng: Generator) -> tuple[float, float, float]:
        rate = rng.uniform(low, high)
        own = rng.beta(rate * 4, (1 - rate) * 4, prompts)
        share = Share()
        for hits in rng.binomial(each, own):
            for place in range(each):
                share.count(float(place < hits))
            share.end_cluster()
        figure = share.figure()
        return (0.0, 1.0, rate) if figure is None else (figure.low, figure.high, rate)

    return trial


def strengths(comparisons: int) -> Trial:
    """Return a simulation of a Bradley-Terry strength, with ties as halves."""
    true = np.array([0.8, 0.2, 0.0, -0.3, -0.7])

    def trial(rng: Generator) -> tuple[float, float, float]:
        i = rng.integers(5, size=comparisons)
        j = (i + rng.integers(1, 5, size=comparisons)) % 5
        y = (rng.random(comparisons) < 1 / (1 + np.exp(true[j] - true[i]))).astype(float)
        strengths = bradley_terry(i, j, y)
        return float(strengths.low[0]), float(strengths.high[0]), 0.8

    return trial


def leaned(pairs: int) -> Trial:
    """Return a simulation of a judge's excess leaning to a trait."""

    def trial(rng: Generator) -> tuple[float, float, float]:
        trait = rng.normal(size=pairs)
        people = (rng.random(pairs) < np.where(trait > 0, 0.55, 0.45)).astype(float)
        judge = (rng.random(pairs) < np.where(trait > 0, 0.7, 0.3)).astype(float)
        lean = leaning(judge, people, trait)
        excess = Figure(0, -1, 1, 0, 0) if lean is None else lean.excess
        return excess.low, excess.high, 0.15

    return trial


def controlled(pairs: int) -> Trial:
    """Return a simulation of length-controlled accuracy."""

    def trial(rng: Generator) -> tuple[float, float, float]:
        longer = rng.normal(size=pairs)
        people = (rng.random(pairs) < np.where(longer > 0, 0.7, 0.3)).astype(float)
        more = (people > 0.5) == (longer > 0)
        right = (rng.random(pairs) < np.where(more, 0.9, 0.6)).astype(float)
        accuracy = controlled_accuracy(right, people, longer)
        return (0.0, 1.0, 0.75) if accuracy is None else (accuracy.low, accuracy.high, 0.75)

    return trial


def drifted(labels: int) -> Trial:
    """Return a simulation of the change from the first half of an annotator's labels to the second."""

    def trial(rng: Generator) -> tuple[float, float, float]:
        late = np.arange(labels) >= labels // 2
        agrees = (rng.random(labels) < np.where(late, 0.6, 0.85)).astype(float)
        change = drift(agrees, np.arange(labels))
        return (-1.0, 1.0, -0.25) if change is None else (change.difference.low, change.difference.high, -0.25)

    return trial


def counted(n: int, low: float, high: float) -> Trial:
    """Return a simulation of Jeffreys' interval of a rate drawn between two bounds."""

    def trial(rng: Generator) -> tuple[float, float, float]:
        rate = rng.uniform(low, high)
        return *jeffreys(float(rng.binomial(n, rate)), n), rate

    return trial


TRIALS: dict[str, Trial] = {
    "Cohen, 40 units, hardly agreeing": agreement("cohen", 40, 0.5),
    "Cohen, 40 units, agreement .7": agreement("cohen", 40, 0.7),
    "Cohen, 40 units, nearly always agreeing": agreement("cohen", 40, 0.9),
    "Cohen, 60 units, yes in 1 of 10": agreement("cohen", 60, 0.9, 0.1),
    "Cohen, 200 units, yes in 1 of 10": agreement("cohen", 200, 0.8, 0.1),
    "Fleiss, 40 units": agreement("fleiss", 40, 0.6),
    "Fleiss, 60 units, yes in 1 of 10": agreement("fleiss", 60, 0.8, 0.1),
    "Fleiss, 100 units, nearly always agreeing": agreement("fleiss", 100, 0.95),
    "alpha nominal, 40 units, by chance alone": agreement("nominal", 40, 0.1),
    "alpha nominal, 50 units, a fifth missing": agreement("nominal", 50, 0.7, missing=0.2),
    "alpha nominal, 40 units, yes in 1 of 10": agreement("nominal", 40, 0.8, 0.1),
    "alpha nominal, 60 units, near 1": agreement("nominal", 60, 0.95),
    "alpha ordinal, 40 units, 5 values": agreement("ordinal", 40, 0.7, values=5),
    "alpha ordinal, 60 units, 5 values": agreement("ordinal", 60, 0.6, values=5),
    "alpha interval, 60 units, 5 values, missing": agreement("interval", 60, 0.6, values=5, missing=0.2),
    "alpha ratio, 60 units, 5 values": agreement("ratio", 60, 0.6, values=5),
    "alpha nominal, 40 prompts of 5 units": agreement_in_clusters("nominal", 40, 5, 0.7),
    "AC1, 40 units, yes in 1 of 10": agreement("ac1", 40, 0.8, 0.1),
    "AC1, 100 units, near 1": agreement("ac1", 100, 0.95, 0.1),
    "AC2, 40 units, 5 values": agreement("ac2", 40, 0.7, values=5),
    "AC2, 60 units, 5 values": agreement("ac2", 60, 0.6, values=5),
    "Dawid and Skene, one coin, 60 units, 5 people": told_true(60, 5, 0.7, 0.9, one_coin=True),
    "Dawid and Skene, one coin, 100 units, 3 people near 1": told_true(100, 3, 0.85, 0.97, one_coin=True),
    "Dawid and Skene, full, 100 units, 6 people": told_true(100, 6, 0.65, 0.9, one_coin=False),
    "strengths of 3 policies, 40 prompts": ranked(40),
    "length-controlled win rate, 40 prompts of 2": won(40, 0.6),
    "length-controlled win rate, 60 prompts of 2, near 1": won(60, 0.92),
    "change of a share, 40 prompts, near 0": changed(40, 0.0, 0.1),
    "change of a share, 200 prompts": changed(200, 0.1, 0.3),
    "calibration error, 50 pairs, nearly right": miscalibrated(50, 1.3),
    "calibration error, 50 pairs, middling": miscalibrated(50, 2.0),
    "calibration error, 50 pairs, far too sure": miscalibrated(50, 3.0),
    "calibration error, 200 pairs, nearly right": miscalibrated(200, 1.3),
    "calibration error, 200 pairs, middling": miscalibrated(200, 2.0),
    "calibration error, 200 pairs, far too sure": miscalibrated(200, 3.0),
    "calibration error, 1,000 pairs, nearly right": miscalibrated(1000, 1.3),
    "calibration error, 1,000 pairs, middling": miscalibrated(1000, 2.0),
    "calibration error, 1,000 pairs, far too sure": miscalibrated(1000, 3.0),
    "calibration error, 100 pairs, too timid": miscalibrated(100, 0.5),
    "calibration error, 50 prompts of 4, nearly right": miscalibrated(50, 1.3, 4),
    "calibration error, 100 pairs, shares of 3 people": miscalibrated(100, 2.0, 1, 3),
    "Brier score, 50 pairs, nearly right": squared(50, 1.3),
    "Brier score, 200 pairs, far too sure": squared(200, 3.0),
    "share, 30 prompts of 4": shared(30, 4, 0.3, 0.7),
    "share, 60 prompts of 3, near 1": shared(60, 3, 0.9, 0.98),
    "PPI++ mean, 40 of 1,000": powered(40, 960, 0.3, 0.7, 0.8),
    "PPI++ mean, 200 of 2,000, rate near 0": powered(200, 1800, 0.02, 0.08, 0.9),
    "PPI++ mean, 100 of 1,000, rate near 1": powered(100, 900, 0.92, 0.98, 0.8),
    "PPI++ mean, 50 prompts of 4 of 500": powered(200, 1800, 0.4, 0.6, 0.8, 4),
    "PPI++ mean, 20 prompts of 4 of 200": powered(80, 720, 0.4, 0.6, 0.8, 4),
    "PPI++ mean, 30 prompts of 10 of 300, rate near 0": powered(300, 2700, 0.05, 0.15, 0.8, 10),
    "PPI++ difference with ties, 60 of 1,000": powered_difference(60, 940, 0.6, 0.4),
    "Rogan and Gladen, 200 of 1,000": screened(200, 800, 0.2, 0.6),
    "Rogan and Gladen, 400 of 2,000, near 0": screened(400, 1600, 0.03, 0.1),
    "routed mean, 100 of 1,000": routed(1000, 100),
    "routed mean in rounds of 40, 30 and 30 of 1,000": routed_in_rounds(1000, (40, 30, 30)),
    "Bradley-Terry, 5 things, 100 comparisons": strengths(100),
    "leaning, 100 pairs": leaned(100),
    "length-controlled accuracy, 80 pairs": controlled(80),
    "drift, 60 labels": drifted(60),
    "rate of 30, near 0": counted(30, 0.02, 0.15),
    "rate of 100, anywhere": counted(100, 0.05, 0.95),
}


def covered(trial: Trial, simulations: int) -> tuple[float, float]:
    """Return how often the interval held the truth, and its mean width."""
    rng = np.random.default_rng(7)
    held, width = 0, 0.0
    for _ in range(simulations):
        low, high, true = trial(rng)
        held += low - 1e-12 <= true <= high + 1e-12
        width += min(high - low, 2.0)
    return held / simulations, width / simulations


def main() -> None:
    """Print the table."""
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else SIMULATIONS
    began = time.process_time()
    print(f"| method ({simulations:,} simulations) | covers | mean width |\n|---|---:|---:|")
    words = " ".join(sys.argv[2:])
    for name, trial in TRIALS.items():
        if words not in name:
            continue
        share, width = covered(trial, simulations)
        note = "" if LEAST <= share <= MOST else " (!)"
        print(f"| {name} | {share:.3f}{note} | {width:.3f} |", flush=True)
    print(f"\n{time.process_time() - began:.0f} seconds of one core")


if __name__ == "__main__":
    main()
