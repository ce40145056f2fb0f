"""What a run takes of memory: by hand for a model of eight billion weights, and what must hold for every model."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critic.local.trees import normaliser
from trainers.batches import forward
from trainers.planning import memory
from trainers.planning.memory import OVERHEAD, plan
from trainers.planning.records import ComputeSetting, ModelShape, Needs, StepWork

# Llama 3.1 8B: 32 layers of 4096 x 4096 (q, o), 4096 x 1024 (k, v), three of 4096 x 14336, and two norms of 4096.
LAYER = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096
TABLE = 128256 * 4096
WEIGHTS = 32 * LAYER + 2 * TABLE + 4096
EIGHT = ModelShape(
    weights=WEIGHTS, multiplied=32 * (LAYER - 2 * 4096) + TABLE, layer=LAYER, embedding=TABLE, table=TABLE, tied=False,
    layers=32, hidden=4096, queries=4096, keys=1024, inner=14336, vocabulary=128256,
)  # fmt: skip
RANK_16 = 32 * 16 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336))
CHAT = StepWork(examples=1, answers=1, prompt=1000, answer=1000)


def test_the_shape_is_the_published_one() -> None:
    assert WEIGHTS == 8_030_261_248 and RANK_16 == 41_943_040


def test_weights_gradients_and_adam_of_full_training_by_hand() -> None:
    """16 bytes a weight: 32.1 GB each of weights and gradients, 64.2 of Adam. A step's gradient outlives its batch."""
    planned = plan(EIGHT, Needs(), CHAT, ComputeSetting(compute=4, checkpointing=True))
    assert planned.always == {
        "weights": 4 * WEIGHTS,
        "optimiser": 8 * WEIGHTS,
        "references": 0,
        "rollouts: the copy that writes": 0,
        "reward models": 0,
        "libraries": OVERHEAD,
    }
    assert planned.phases["learning"] == {"gradients": 4 * WEIGHTS, "activations": 0}
    assert planned.peak == 16 * WEIGHTS + OVERHEAD and planned.fullest == "learning"
    assert planned.disk == {"checkpoints": 3 * 12 * WEIGHTS, "the finished model": 2 * WEIGHTS}


def test_activations_of_a_layer_by_hand() -> None:
    """2,000 tokens in bfloat16: a prompt's keys are there once on a GPU."""
    kept, forth, back = memory.activations(EIGHT, Needs(scored=True), CHAT, ComputeSetting(adapters=RANK_16))
    token = 4 * 2 * 4096 + 2 * 5 * 4096 + 2 * 3 * 4096 + 2 * 4 * 14336 + 2 * (1024 + 1024)
    assert kept == 32 * 2000 * token and forth == 0
    assert back == 2000 * (4 * 2 * 4096 + 2 * 2 * 14336)
    layered = memory.activations(EIGHT, Needs(scored=True), CHAT, ComputeSetting(adapters=RANK_16, checkpointing=True))
    assert layered == (32 * 2000 * 4 * 4096, 2000 * token, 2000 * token + back)


def test_adapters_share_one_base_and_leave_the_rest_to_rollouts() -> None:
    needs = Needs(reference=True, critic=True, writes=True)
    work = StepWork(examples=1, answers=4, prompt=1536, answer=512, slots=32, rewards=2 * WEIGHTS)
    planned = plan(EIGHT, needs, work, ComputeSetting(adapters=2 * RANK_16 + 4097, checkpointing=True))
    assert planned.always["weights"] == 4 * (WEIGHTS + 2 * RANK_16 + 4097) and planned.always["references"] == 0
    assert planned.always["rollouts: the copy that writes"] == 2 * WEIGHTS
    assert planned.phases["writing"]["rollouts: keys and values"] == 32 * 2048 * 32 * 2 * 1024 * 2
    whole = plan(EIGHT, needs, work, ComputeSetting(checkpointing=True))
    assert whole.always["weights"] == 4 * (WEIGHTS + WEIGHTS - TABLE + 4097)  # the values' head in place of the table
    assert whole.always["references"] == 4 * WEIGHTS


def test_fsdp_divides_what_learns_and_ddp_adds_its_buckets() -> None:
    one, many = (
        ComputeSetting(compute=4, checkpointing=True),
        replace(ComputeSetting(compute=4, checkpointing=True), processes=8),
    )
    alone, ddp = plan(EIGHT, Needs(), CHAT, one), plan(EIGHT, Needs(), CHAT, many)
    assert ddp.peak - alone.peak == 4 * WEIGHTS
    sharded = plan(EIGHT, Needs(), CHAT, replace(many, sharded=True))
    assert sharded.always["weights"] == WEIGHTS / 2 and sharded.always["optimiser"] == WEIGHTS


def test_slices_of_logits_are_as_large_as_they_are_computed() -> None:
    assert memory.LOGITS_AT_ONCE == forward._LOGITS_AT_ONCE
    assert memory.WIDENED_AT_ONCE == normaliser._NUMBERS_AT_ONCE


def test_logits_of_a_loss_are_kept_once_with_their_gradient() -> None:
    """100 tokens of 128,256: in bfloat16 twice, in float32 once while they are read; a padded row has its own, too."""
    work, setting = StepWork(examples=1, answers=1, prompt=0, answer=100), ComputeSetting()
    numbers = 100 * 128256
    assert memory._head(EIGHT, work, setting, 0) == numbers * (2 * 2 + 4)
    assert memory._head(EIGHT, work, replace(setting, on_cpu=True), 0) == numbers * 2 * 2 + 4 * (1 << 20)
    assert memory._head(EIGHT, replace(work, packed=False), setting, 0) == numbers * (4 * 2 + 4)
    assert memory._head(EIGHT, work, setting, 3) == numbers * (4 * 3 + 2)


SIZES = st.integers(1, 1 << 20)
SHAPES = st.builds(
    ModelShape, weights=st.integers(1 << 10, 1 << 36), multiplied=SIZES, layer=SIZES, embedding=SIZES,
    tied=st.booleans(), table=st.integers(0, 99), layers=st.integers(1, 99), hidden=SIZES,
    queries=SIZES, keys=SIZES, inner=SIZES, vocabulary=SIZES, stored=st.sampled_from([2, 4]),
)  # fmt: skip
NEEDS = st.builds(
    Needs, scored=st.booleans(), reference=st.booleans(), critic=st.booleans(), writes=st.booleans()
)  # fmt: skip
WORK = st.builds(
    StepWork, examples=st.integers(1, 64), answers=st.integers(1, 16), prompt=st.integers(1, 9999),
    answer=st.integers(1, 9999), packed=st.booleans(), accumulates=st.booleans(), slots=st.integers(0, 99),
    rewards=SIZES, evaluated=SIZES,
)  # fmt: skip
SETTINGS = st.builds(
    ComputeSetting, adapters=st.none() | SIZES, compute=st.sampled_from([2, 4]),
    optimizer=st.sampled_from([0.0, 2.0, 8.0]), checkpointing=st.booleans(),
    processes=st.sampled_from([1, 2, 8]), sharded=st.booleans(), on_cpu=st.booleans(), checkpoints=st.integers(0, 5),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(SHAPES, NEEDS, WORK, SETTINGS, st.data())
def test_nothing_that_grows_makes_a_run_smaller(
    shape: ModelShape, needs: Needs, work: StepWork, setting: ComputeSetting, data: st.DataObject
) -> None:
    before = plan(shape, needs, work, setting)
    record: Any = data.draw(st.sampled_from([shape, work]))
    name = data.draw(st.sampled_from([f.name for f in fields(record) if type(getattr(record, f.name)) is int]))
    grown = getattr(record, name) + 1
    larger = replace(record, **{name: getattr(record, name) + grown})
    if name in ("layer", "embedding", "table"):  # parts of all weights
        larger = replace(larger, weights=shape.weights + grown)
    after = plan(larger if record is shape else shape, needs, larger if record is work else work, setting)
    assert after.peak >= before.peak and after.written >= before.written


@settings(max_examples=40, deadline=None)
@given(SHAPES, NEEDS, WORK, SETTINGS)
def test_more_processes_that_share_out_need_no_more_each(
    shape: ModelShape, needs: Needs, work: StepWork, setting: ComputeSetting
) -> None:
    few = replace(setting, sharded=True, processes=2)
    assert plan(shape, needs, work, replace(few, processes=16)).peak <= plan(shape, needs, work, few).peak


@pytest.mark.parametrize("sharded", [False, True])
def test_a_plan_has_no_negative_part(sharded: bool) -> None:
    planned = plan(EIGHT, Needs(answers=2), CHAT, ComputeSetting(processes=8, sharded=sharded, on_cpu=True))
    parts = [*planned.always.values(), *(size for phase in planned.phases.values() for size in phase.values())]
    assert all(size >= 0 for size in parts) and planned.host == 0
