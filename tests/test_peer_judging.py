"""The comparison with distilabel: its texts and its arithmetic, without a server."""

import pytest

from benchmarks import peer_judging
from benchmarks.peer_judging import MeasuredSide, figures, pairs
from benchmarks.peers.vllm_server import ServerPace, spent

PACE = ServerPace(prompt=1000, written=100)


def test_a_round_s_pairs_are_fixed_and_new_to_the_cache() -> None:
    first, second = pairs("round 0"), pairs("round 1")
    assert first == pairs("round 0")
    assert len(first) == 64
    answers = {pair.answers for pair in first}
    assert answers.isdisjoint(pair.answers for pair in second)
    assert all(pair.prompt and pair.answers[0] != pair.answers[1] for pair in first)


def test_the_limit_is_by_tokens_alone() -> None:
    """2,000 prompt tokens in 2 s and 300 written in 3 s: 10 verdicts in 5 s."""
    assert MeasuredSide(10, 10, 8.0, 2000, 300).limit(PACE) == 2


def test_cached_prompt_tokens_cost_nothing() -> None:
    before = {"prompt_tokens": 100.0, "prefix_cache_hits": 10.0, "generation_tokens": 5.0}
    after = {"prompt_tokens": 400.0, "prefix_cache_hits": 110.0, "generation_tokens": 25.0}
    assert spent(before, after) == (200, 20)


def test_ratios_are_those_of_each_round_s_sides() -> None:
    """Rates in verdicts/s: ours 8, 4, 6; UltraFeedback's 1, 2, 1: ratios 8, 2, 6. By tokens, 10 against 2."""
    rounds = [
        dict.fromkeys(("PrometheusEval", "16 principles", "cot"), MeasuredSide(1, 0, 1.0, 100, 10))
        | {
            "ours": MeasuredSide(ours, ours, 1.0, 100 * ours, 0),
            "UltraFeedback": MeasuredSide(theirs, 0, 1.0, 0, 50 * theirs),
        }
        for ours, theirs in ((8, 1), (4, 2), (6, 1))
    ]
    by_name = {figure.name: figure for figure in figures(rounds, PACE)}
    assert by_name["cai judge, logprob"].value == 6
    assert by_name["distilabel UltraFeedback"].value == 1
    assert "0% could be read; 50 tokens written" in by_name["distilabel UltraFeedback"].note
    ratio = by_name["cai judge / UltraFeedback"]
    assert (ratio.value, ratio.target, ratio.reached) == (6, 4, True)
    assert ratio.note == "limit 5.00; runs 2.00 to 8.00"


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_judging, "PEER", peer_judging.ROOT / "nowhere")
    with pytest.raises(SystemExit, match="make peers"):
        peer_judging.measure()
