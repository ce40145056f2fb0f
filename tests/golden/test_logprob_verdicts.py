"""Soft preferences of a real judge, from the top-5 log-probabilities that were stored with its answers.

AlpacaEval's weighted judge (GPT-4) was asked with the letters m and M; which output was shown as m is hashed there and
not stored, so a row agrees if either orientation gives the preference that was published. Two rows have no answer.
"""

import json
import math
from pathlib import Path
from typing import Any

from critic.judging.base import log_odds


def preference(row: dict[str, Any]) -> tuple[float, float] | None:
    """The published preference (1 first output .. 2 second) under either orientation, or None if unreadable."""
    completion = row["raw_completion"]
    if completion is None:
        return None
    top = {entry["token"]: entry["logprob"] for entry in completion["logprobs"]["content"][0]["top_logprobs"]}
    odds = log_odds(top.get("m", -math.inf), top.get("M", -math.inf))
    if odds is None:
        return None
    probability = 1 / (1 + math.exp(-odds))
    return 1 + probability, 2 - probability


def test_all_readable_verdicts_give_the_published_preference(cai_data: Path) -> None:
    matched, unreadable, rows = 0, 0, 0
    for model in ("gemma-2b-it", "vicuna-7b"):
        for row in json.loads((cai_data / "alpaca_eval" / model / "annotations.json").read_text()):
            rows += 1
            ours = preference(row)
            if ours is None:
                unreadable += 1
            else:
                matched += min(abs(ours[0] - row["preference"]), abs(ours[1] - row["preference"])) <= 1e-6
    assert (rows, matched, unreadable) == (1610, 1608, 2)
