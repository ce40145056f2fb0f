"""Checkpoints of a loop of our own: a run goes on with other processes and GPUs than it had."""

import pytest
import torch

from trainers.folder import checkpoint


def test_a_process_that_was_not_there_before_takes_another_ones_chance() -> None:
    torch.manual_seed(3)
    kept = [checkpoint.chance()]
    torch.manual_seed(4)
    kept.append(checkpoint.chance())
    drawn = []
    for process in range(4):
        checkpoint.restore_chance(kept, process)
        drawn.append(float(torch.rand(())))
    assert drawn[0] != drawn[1]
    assert drawn[2:] == drawn[:2]


def test_the_states_of_gpus_that_are_not_there_any_more_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [torch.tensor([number], dtype=torch.uint8) for number in range(3)]
    restored: dict[int, torch.Tensor] = {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: restored.setdefault(device, state))
    checkpoint.restore_chance([{"cpu": torch.get_rng_state(), "cuda": states}], 0)
    assert list(restored) == [0, 1]
    assert restored[1] is states[1]
