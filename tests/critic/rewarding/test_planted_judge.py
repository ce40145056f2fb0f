"""A judge whose errors are planted: what its comparisons and its scores are worth, for the same number of characters.

It is as noisy on each page of either kind (one log-odds), likes the answer that it is shown first, and is lenient, as
judges are: most of its scores lie at the upper end of the scale, where they are cut off.
"""

import asyncio
import math
import random

import numpy as np
import pytest
from scipy.stats import spearmanr

from base.digest import digest
from constitution import Constitution
from critic.engine import Choices, Lane, Node, Score, reads
from critic.engine_kinds.capabilities import LOGPROBS
from critic.judging.modes.logprob import Logprob
from critic.records import Prompt
from critic.rewarding.comparing import ComparisonRewards
from critic.rewarding.grade import GradeSource
from critic.rewarding.sources import JudgeRewards
from tests.factories import FakeEngine, prompt, small_constitution, text_of

ANSWERS, GROUPS = 8, 12
LENIENT, PLAIN = 8.0, 4.5
PRINCIPLES = Constitution.model_validate(small_constitution(4)).principles


class Judge(FakeEngine):
    """See the module's docstring. An answer's text is its quality, between brackets."""

    capabilities = {LOGPROBS: "yes"}  # noqa: RUF012  # as the class that it is of has it

    def __init__(self, seed: int, level: float) -> None:
        super().__init__()
        self.seed, self.level, self.characters = seed, level, 0

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        return tuple(self._read(text_of(path), read) for path, read, _ in reads(tree))

    def _read(self, text: str, read: object) -> Score:
        self.characters += len(text)
        noise = random.Random(digest([self.seed, text])).gauss(0, 1)
        shown = [float(part.split(">>")[0]) for part in text.split("<<")[1:]]
        assert isinstance(read, Choices)
        if len(read.texts) == 2:
            first = shown[0] - shown[1] + 1.0 + noise
            return Score((-math.log1p(math.exp(-first)), -math.log1p(math.exp(first))), 1)
        digit = min(9.0, max(0.0, self.level + shown[0] + noise))
        weights = np.exp(-((np.arange(10) - digit) ** 2) * 4)
        return Score(tuple(np.log(weights / weights.sum()).tolist()), 1)


def agreement(source: GradeSource, seed: int) -> float:
    """The mean rank correlation of rewards with the planted qualities, over groups of answers."""
    rng = np.random.default_rng(seed)
    correlations = []
    for group in range(GROUPS):
        quality = rng.normal(0, 1.5, ANSWERS)
        asked: Prompt = prompt(f"Question {group}?")
        grades = asyncio.run(source.grades(asked, [f"<<{value:.6f}>>" for value in quality]))
        correlations.append(spearmanr(quality, [grade.reward for grade in grades]).statistic)
    return float(np.mean(correlations))


def both(seed: int, level: float) -> tuple[float, float]:
    """Rank correlations of comparisons under one principle, and of scores under four, which read as much or more."""
    judges = [Judge(seed, level) for _ in range(2)]
    compared = agreement(ComparisonRewards(judges[0], Logprob(), PRINCIPLES[:1], 4), seed)
    scored = agreement(JudgeRewards(judges[1], PRINCIPLES), seed)
    assert judges[0].characters <= judges[1].characters
    return compared, scored


@pytest.mark.slow
def test_a_lenient_judge_s_comparisons_rank_better_than_its_scores_for_as_much_reading() -> None:
    correlations = np.array([both(seed, LENIENT) for seed in range(5)])
    gains = correlations[:, 0] - correlations[:, 1]
    half = 2.776 * gains.std(ddof=1) / math.sqrt(5)  # Student's t for 4 degrees of freedom
    assert gains.mean() - half > 0, (gains, half)


@pytest.mark.slow
def test_without_leniency_scores_are_as_good() -> None:
    """Said in docs/TRAINING.md: comparisons are no better than scores as such; they can't be cut off."""
    correlations = np.array([both(seed, PLAIN) for seed in range(3)])
    assert abs(np.mean(correlations[:, 0] - correlations[:, 1])) < 0.15
