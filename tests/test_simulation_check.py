"""The check of the simulation: what it learns from a run, by hand, and what it lets pass."""

import pytest

from benchmarks.simulation import Phase, SimulatedCall, SimulatedProcess, simulate
from benchmarks.simulation_check import (
    CALLS_A_PROMPT,
    SCRIPTED_PHASES,
    average,
    compared,
    waiting,
)
from critic.engine import Completion


def test_the_average_call_counts_a_prompt_once_for_all_who_share_it() -> None:
    done = [Completion("a", "stop", 10, 4), Completion("b", "stop", 20, 8)]
    assert average(done) == SimulatedCall(15, 15, 6)
    assert average(done, alike=2) == SimulatedCall(15, 7.5, 6)


def test_a_scripted_prompt_waits_seven_times() -> None:
    """A sample, a critique, a revision, and four reads one after the other, 0.1 s each."""
    ran = simulate(SimulatedProcess(waiting(0.1), 0.0), SCRIPTED_PHASES, 1)
    assert ran.seconds == pytest.approx(0.7)
    assert ran.records == CALLS_A_PROMPT
    assert SCRIPTED_PHASES[2] == Phase(1, (SimulatedCall(0, 0, 4, 4),))


@pytest.mark.parametrize(("predicted", "passes"), [(8.4, False), (8.6, True), (11.4, True), (11.6, False)])
def test_a_prediction_passes_within_fifteen_percent(predicted: float, passes: bool) -> None:
    assert all(figure.reached for figure in compared("a run", predicted, 10.0)) is passes
