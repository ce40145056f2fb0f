"""Soft preferences of a real judge, from the top-5 log-probabilities that were stored with its answers.

AlpacaEval's weighted judge (GPT-4) was asked with the letters m and M; which output was shown as m is hashed there and
not stored, so a row agrees if either orientation gives the preference that was published. Two rows have no answer.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from critic.judging.base import log_odds
from critic.statistics.intervals import Mean


def preference(row: dict[str, Any]) -> tuple[float, float] | None:
    """The published preference (1 first output .. 2 second) under either orientation, or None if unreadable."""
    completion = row["raw_completion"]
    if completion is None:
        return None
    top = listed(completion)
    odds = log_odds(top.get("m", -math.inf), top.get("M", -math.inf))
    if odds is None:
        return None
    probability = 1 / (1 + math.exp(-odds))
    return 1 + probability, 2 - probability


def listed(completion: dict[str, Any]) -> dict[str, float]:
    """The likeliest tokens of an answer, with their log-probabilities."""
    return {entry["token"]: entry["logprob"] for entry in completion["logprobs"]["content"][0]["top_logprobs"]}


def test_all_readable_verdicts_give_the_published_preference(cai_data: Path) -> None:
    matched, unreadable, bounded, rows = 0, 0, 0, 0
    for model in ("gemma-2b-it", "vicuna-7b"):
        for row in json.loads((cai_data / "alpaca_eval" / model / "annotations.json").read_text()):
            rows += 1
            ours = preference(row)
            if ours is None:
                unreadable += 1
            elif len({"m", "M"} & listed(row["raw_completion"]).keys()) < 2:
                bounded += 1
                assert 1 < min(ours) < max(ours) < 2
            else:
                matched += min(abs(ours[0] - row["preference"]), abs(ours[1] - row["preference"])) <= 1e-6
    # Where one of the two letters is not listed, the published preference takes it for impossible, which is the loudest
    # label of the least evidence: here it has at most what the other leaves.
    assert (rows, matched, unreadable, bounded) == (1610, 1605, 2, 3)


def test_win_rates_are_the_published_ones(cai_data: Path) -> None:
    entries = json.loads((cai_data / "GOLDEN.json").read_text())["logprob_judge"]
    published = next(entry["value"] for entry in entries if entry["what"].startswith("mean(pref)"))
    for model, rate in published.items():
        rows = json.loads((cai_data / "alpaca_eval" / model / "annotations.json").read_text())
        mean = Mean()
        for row in rows:
            if row["preference"] is not None:
                mean.count(row["preference"] - 1)
                mean.end_cluster()
        figure = mean.figure()
        assert figure is not None and 100 * figure.estimate == pytest.approx(rate, rel=1e-12)
        assert figure.low < figure.estimate < figure.high
