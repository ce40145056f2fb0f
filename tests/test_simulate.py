"""The simulation of a run: by hand where it is small, then what must hold of any workload."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import simulate as tables
from benchmarks.capacity import H100, SHARD_ROWS, USED_WELL, Setup, Workload, bottleneck, floor, seconds, setups
from benchmarks.run import replace_section
from benchmarks.simulation import Phase, Ran, SimulatedCall, SimulatedEngine, SimulatedProcess, extrapolate, simulate

# Reads 100 tokens a second; a step takes 0.1 s, and 0.1 s more for each answer in it.
SLOW = SimulatedEngine(reads=100, step=0.1, answer=0.1, slots=16)
WORKLOAD = Workload()


def run(engine: SimulatedEngine, *phases: Phase, prompts: int = 1, record: float = 0.0, in_flight: int = 64) -> Ran:
    return simulate(SimulatedProcess(engine, record, in_flight=in_flight), phases, prompts)


def test_one_call_is_read_then_written_then_recorded_then_on_disk() -> None:
    """50 tokens / 100 + 10 steps of 0.2 s + 0.25 s + 0.125 s."""
    phases = [Phase(1, (SimulatedCall(80, 50, 10),))]
    ran = simulate(SimulatedProcess(SLOW, 0.25, 0.125), phases, 1)
    assert ran.seconds == pytest.approx(0.5 + 2.0 + 0.25 + 0.125)
    assert (ran.calls, ran.records, ran.read, ran.computed, ran.written, ran.steps) == (1, 1, 80, 50, 10, 10)


def test_the_calls_of_a_chain_follow_each_other_and_phases_wait() -> None:
    """Two chains: read until 1 and 2, both are written for 5 steps of 0.3 s: 3.5. The tree is read until 5.5."""
    ran = run(SLOW, Phase(2, (SimulatedCall(100, 100, 5),)), Phase(1, (SimulatedCall(200, 200, 0, 4),)))
    assert ran.seconds == pytest.approx(5.5)
    assert (ran.calls, ran.records) == (3, 6)


def test_answers_that_join_go_first_and_trees_share_with_writing() -> None:
    """Two prompts, one at a tree while the other writes.

    Each prompt's tree needs 1 s; its answer is not read, and has 10 steps of 0.2 s, or of 0.3 s with the other's. Both
    are written until 3, both trees read until 5. With one in flight: 2 + 1, twice.
    """
    phases = [Phase(1, (SimulatedCall(0, 0, 10),)), Phase(1, (SimulatedCall(100, 100),))]
    assert simulate(SimulatedProcess(SLOW, 0.0), phases, 2).seconds == pytest.approx(5)
    assert simulate(SimulatedProcess(SLOW, 0.0, in_flight=1), phases, 2).seconds == pytest.approx(6)
    # Side by side in one phase: half of the engine each, so that both are done at 2 x 1 s and 1 s + 2 s.
    (tree,), (answer,) = phases[1].chain, phases[0].chain
    both = simulate(SimulatedProcess(SLOW, 0.0), [Phase(1, (answer, tree))], 2, 0.0)
    assert both.seconds == pytest.approx(5)


def test_answers_share_steps_as_far_as_there_are_slots() -> None:
    """Four answers of 10 tokens: in one batch 10 steps of 0.5 s; with two slots twice 10 steps of 0.3 s."""
    phase = Phase(4, (SimulatedCall(0, 0, 10),))
    assert run(SLOW, phase).seconds == pytest.approx(5.0)
    assert run(replace(SLOW, slots=2), phase).seconds == pytest.approx(6.0)


def test_prompts_in_flight_are_bounded() -> None:
    """Six prompts of 10 tokens, two at a time: three times 10 steps of 0.3 s."""
    ran = run(SLOW, Phase(1, (SimulatedCall(0, 0, 10),)), prompts=6, in_flight=2)
    assert ran.seconds == pytest.approx(9.0)
    assert [at for at, _ in ran.ends] == pytest.approx([3, 3, 6, 6, 9, 9])


def test_the_pipeline_is_one_thread() -> None:
    """Eight calls at once, half a second each, on an engine that takes no time."""
    idle = SimulatedEngine(reads=1, step=0, answer=0, slots=64)
    assert run(idle, Phase(8, (SimulatedCall(0, 0, 0),)), record=0.5).seconds == pytest.approx(4.0)


def test_shards_begin_where_others_have_ended() -> None:
    """Two shards of three prompts at once, two prompts of each; a prompt is ten steps, alone 0.2 s each, n 0.1 n + 0.1.

    Four prompts for 10 steps of 0.5 s, then the third of each for 10 of 0.3 s: 8 s for six. Two more shards: 16 s.
    """
    process = SimulatedProcess(SLOW, 0.0, in_flight=2, shard=3, shards=2)
    assert simulate(process, [Phase(1, (SimulatedCall(0, 0, 10),))], 6).seconds == pytest.approx(8)
    assert simulate(process, [Phase(1, (SimulatedCall(0, 0, 10),))], 12).seconds == pytest.approx(16)


CALLS = st.builds(
    lambda computed, more, written, records: SimulatedCall(computed + more, computed, written, records),
    st.integers(0, 200),
    st.integers(0, 200),
    st.integers(0, 40),
    st.integers(1, 5),
)
PHASES = st.lists(
    st.builds(Phase, st.integers(1, 3), st.lists(CALLS, min_size=1, max_size=3).map(tuple)), min_size=1, max_size=3
)
ENGINES = st.builds(
    SimulatedEngine, st.integers(1, 1000), st.floats(0.001, 1), st.floats(0.001, 1), st.integers(1, 20).map(float)
)
PROCESSES = st.builds(
    SimulatedProcess,
    ENGINES,
    st.floats(0.001, 0.1),
    st.floats(0, 0.1),
    st.integers(1, 20),
    st.one_of(st.integers(1, 30), st.just(math.inf)),
    st.integers(1, 3),
)


@given(PROCESSES, PHASES, st.integers(1, 30), st.floats(0, 0.9))
@settings(deadline=None)
def test_every_call_is_made_once_and_no_time_is_lost(
    process: SimulatedProcess, phases: list[Phase], prompts: int, spread: float
) -> None:
    ran = simulate(process, phases, prompts, spread)
    calls = [(prompts * phase.width, call) for phase in phases for call in phase.chain]
    assert ran.prompts == len(ran.ends) == prompts
    assert ran.ends == sorted(ran.ends)
    assert ran.calls == sum(count for count, _ in calls)
    assert ran.records == sum(count * call.records for count, call in calls)
    assert ran.computed == sum(count * call.computed for count, call in calls)
    assert ran.written == pytest.approx(sum(count * call.written for count, call in calls), rel=spread, abs=1e-9)
    engine = process.engine
    busy = ran.computed / engine.reads + ran.steps * engine.step + ran.written * engine.answer
    # Never faster than its parts, never slower than one after the other.
    recording = ran.records * process.record
    assert max(busy, recording) <= ran.seconds * (1 + 1e-6) + 1e-6
    assert ran.seconds <= (busy + recording + ran.calls * process.commit) * (1 + 1e-6) + 1e-6


@given(PROCESSES, PHASES, st.integers(1, 20))
@settings(deadline=None)
def test_a_faster_engine_in_all_is_that_much_faster(
    process: SimulatedProcess, phases: list[Phase], prompts: int
) -> None:
    twice = replace(process, engine=process.engine.faster(2), record=process.record / 2, commit=process.commit / 2)
    once = simulate(process, phases, prompts).seconds
    assert simulate(twice, phases, prompts).seconds == pytest.approx(once / 2)


@pytest.mark.parametrize("used", range(2))
@pytest.mark.parametrize("prompts", [1500, 4096])
def test_a_window_tells_the_whole(used: int, prompts: int) -> None:
    setup = setups(WORKLOAD, 1)[used]
    process = SimulatedProcess(setup.engine, setup.record, setup.commit)
    phases = WORKLOAD.phases(keeps=True)
    whole = simulate(process, phases, prompts, WORKLOAD.spread)
    guess = extrapolate(simulate(process, phases, 1024, WORKLOAD.spread), process, prompts)
    for name in ("prompts", "seconds", "calls", "records", "read", "computed", "written", "steps"):
        assert getattr(guess, name) == pytest.approx(getattr(whole, name), rel=0.015), name


def test_a_window_needs_a_middle() -> None:
    process = SimulatedProcess(SLOW, 0.0)
    ran = simulate(process, [Phase(1, (SimulatedCall(1, 1),))], 100)
    with pytest.raises(ValueError, match="a window of 100 prompts is too short for 64 in flight"):
        extrapolate(ran, process, 1000)


def test_a_prompt_of_the_workload_by_hand() -> None:
    """Page 10, prompt 20, answers 30, critiques 5, request 3, questions 7; one principle, so two votes."""
    workload = Workload(2, 1, 1, prompt=20, answer=30, critique=5, page=10, request=3, question=7)
    sample, revise, judge = workload.phases(keeps=False)
    assert sample == Phase(2, (SimulatedCall(20, 10, 30),))
    assert revise == Phase(2, (SimulatedCall(60, 60, 5), SimulatedCall(68, 68, 30)))
    assert judge == Phase(1, (SimulatedCall(2 * (10 + 20 + 60 + 7), 10 + 20 + 2 * 60 + 2 * 7, 0, 2),))
    # With a prefix cache, a revision computes its request only.
    assert workload.phases(keeps=True)[1].chain[1] == SimulatedCall(68, 3, 30)
    assert (workload.judgements, workload.votes, workload.records) == (1, 2, 2 + 4 + 2)
    assert workload.rows == 1 + (2 + 4 + 2) + (2 + 2 + 1), "the row, its answers, its labels"
    assert workload.written == 2 * 30 + 2 * 5 + 2 * 30
    assert floor(workload, H100) == pytest.approx(2 * 8.03e9 * (workload.computed + 130) / 989e12)


def test_a_gpu_by_hand() -> None:
    """At half of everything: 989e12 / 2 / 16.06e9 tokens a second, and 16.06e9 / 1.675e12 s to read the weights."""
    engine = H100.engine(0.5, 0.5, 1000)
    assert engine.reads == pytest.approx(30_791, rel=1e-3)
    assert engine.step == pytest.approx(9.588e-3, rel=1e-3)
    # One token's arithmetic, and 1,000 tokens of 131,072 bytes.
    assert engine.answer == pytest.approx(1 / 30_791 + 131.072e6 / 1.675e12, rel=1e-3)


MANY = SHARD_ROWS * 16 * 100


def test_twice_the_gpus_halve_the_time() -> None:
    one, two = (seconds(replace(setups(WORKLOAD, n)[0], start=0, export=0), WORKLOAD, MANY) for n in (8, 16))
    assert two == pytest.approx(one / 2, rel=0.005)


@given(st.integers(1, 10**7), st.integers(1, 10**6), st.integers(2, 500), st.integers(1, 100))
@settings(deadline=None, max_examples=50)
def test_more_work_never_takes_less_time_and_more_gpus_never_more(
    prompts: int, more: int, gpus: int, further: int
) -> None:
    setup = setups(WORKLOAD, gpus)[0]
    once = seconds(setup, WORKLOAD, prompts)
    assert seconds(setup, WORKLOAD, prompts + more) >= once
    assert seconds(replace(setup, gpus=gpus + further), WORKLOAD, prompts) <= once


@pytest.mark.parametrize(
    ("part", "change", "prompts"),
    [
        ("engines", {}, 10**6),
        ("pipeline", {"record": 0.2}, 10**6),
        ("reader", {"read": 0.1}, 10**6),
        ("driver", {"store": 5.0}, 10**6),
        ("export", {"export": 10.0}, 10**6),
        ("start", {"start": 10_000.0}, 1000),
        ("prompts in flight", {"in_flight": 1}, 10**6),
        ("size of shards", {"shard_rows": 10**5, "start": 0.0}, 10**5),
    ],
)
def test_what_bounds_a_run_is_named(part: str, change: dict[str, Any], prompts: int) -> None:
    setup = replace(Setup(H100.engine(*USED_WELL, WORKLOAD.context), gpus=8), **change)
    assert bottleneck(setup, WORKLOAD, prompts) == part


def test_money_is_gpu_hours_times_the_price() -> None:
    """At $1 the column of dollars is that of GPU-hours."""
    rows = [line.split(" | ") for line in tables.times(WORKLOAD, 1, 1.0).splitlines()[2:]]
    assert len(rows) == 12
    for *_, hours, money, _ in rows:
        assert money.replace("$", "") == hours
    assert "$3.00" in tables.times(WORKLOAD, 1, 3.0)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (tables.duration(90), "90.0 s"),
        (tables.duration(7200), "2.00 h"),
        (tables.duration(3 * 365 * 86400), "3.00 years"),
        (tables.short(1.5e9), "1.50 billion"),
        (tables.short(12), "12.0"),
        (tables.size(2.6e13), "26.0 TB"),
        (tables.between([1.0, 1.0], tables.short), "1.00"),
        (tables.between([1.0, 2.0], tables.dollars), "$1.00 to $2.00"),
    ],
)
def test_figures_are_shown_in_units_that_people_read(shown: str, text: str) -> None:
    assert shown == text


def test_the_document_has_what_the_program_prints() -> None:
    text = tables.CAPACITY.read_text()
    assert replace_section(text, "simulate", tables.tables()) == text, "run python -m benchmarks.simulate --write"


def test_no_scale_costs_less_than_its_floor() -> None:
    for setup in setups(WORKLOAD, 8):
        assert seconds(setup, WORKLOAD, 10**6) * 8 > floor(WORKLOAD, H100) * 10**6
    assert math.isfinite(floor(WORKLOAD, H100))
