"""What a processor can do is asked in one place, and both answers are tried on every machine."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments
from transformers.training_args import ParallelMode

from benchmarks import reward_model
from critic.local import processor
from critic.local.loading import default_device, default_dtype
from trainers.config import TrainConfig
from trainers.methods.dpo import DPOConfig
from trainers.methods.ppo import PPOConfig
from trainers.methods.reward import RewardConfig
from trainers.methods.sft import SFTConfig

ROOT = Path(__file__).parents[3]
ASKING = re.compile(r"get_capabilities|cpu_count\(|sched_getaffinity|_is_amx|_is_avx|/proc/cpuinfo")
BOTH = pytest.mark.parametrize("fast", [True, False])


def force(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    """A machine without a GPU, whose CPU multiplies bfloat16 fast, or does not."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(processor, "multiplies_bfloat16", lambda: fast)


def test_only_one_place_asks() -> None:
    folders = [ROOT / name for name in ("critic", "trainers", "service", "benchmarks")]
    asking = [
        str(file.relative_to(ROOT))
        for folder in folders
        for file in sorted(folder.rglob("*.py"))
        if ASKING.search(file.read_text(encoding="utf-8"))
    ]
    # The benchmarks' table prints the processor's name, which decides nothing.
    assert asking == ["critic/local/processor.py", "benchmarks/run.py"]


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [
        ({"amx_bf16": True, "cpu_name": "Intel(R) Xeon(R) Processor"}, True),
        ({"amx_bf16": False, "avx512_bf16": True, "cpu_name": "Intel(R) Xeon(R) Processor"}, False),
        ({"amx_bf16": False, "avx512_bf16": True, "cpu_name": "AMD EPYC"}, True),
        ({"avx512_bf16": False, "cpu_name": "AMD EPYC"}, False),
        ({"avx512_bf16": True}, False),
        ({}, False),
    ],
)
def test_which_processors_multiply_bfloat16_fast(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, object], fast: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert processor.multiplies_bfloat16() is fast


def test_cpus_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {6, 2}, raising=False)
    assert (processor.cpus(), processor.cores()) == ([2, 6], 2)


def test_cpus_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert processor.cpus() == [0, 1, 2]


@BOTH
def test_the_default_type_follows_it(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    force(monkeypatch, fast)
    assert default_device() == torch.device("cpu")
    assert default_dtype(default_device()) == (torch.bfloat16 if fast else torch.float32)


@pytest.mark.parametrize(
    ("capability", "hip", "expected"),
    [
        ((7, 5), None, torch.float32),  # T4
        ((7, 0), None, torch.float32),  # V100
        ((8, 0), None, torch.bfloat16),  # A100
        ((9, 0), None, torch.bfloat16),  # H100
        ((9, 4), "6.4", torch.bfloat16),  # MI300X
    ],
)
def test_a_gpu_without_bfloat16_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], hip: str | None, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert default_dtype(torch.device("cuda", 1)) == expected


def test_a_machine_with_eight_gpus_trains_on_one_a_process(tmp_path: Path) -> None:
    """transformers' trainer puts `torch.nn.DataParallel` around a model where ``n_gpu`` is above 1."""
    config = SFTConfig(output_dir=str(tmp_path), data=["x.jsonl"], report_to="none", per_device_train_batch_size=3)
    config._n_gpu = 8
    assert config.n_gpu == 1
    assert config.train_batch_size == 3
    assert config.parallel_mode == ParallelMode.NOT_PARALLEL


@BOTH
@pytest.mark.parametrize("given", [{}, {"use_cpu": True}, {"use_cpu": False}])
@pytest.mark.parametrize("kind", [SFTConfig, RewardConfig, DPOConfig, PPOConfig])
def test_every_trainer_has_settings_that_hold_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type[TrainConfig], given: dict[str, Any], fast: bool
) -> None:
    force(monkeypatch, fast)
    reward: dict[str, Any] = {"reward": "verify:equal"} if kind is PPOConfig else {}
    config = kind(output_dir=str(tmp_path), data=["x.jsonl"], report_to="none", **reward, **given)
    assert (config.bf16, config.use_cpu) == (fast, True)


def test_a_cpu_that_was_asked_for_decides_although_there_is_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(processor, "multiplies_bfloat16", lambda: False)
    config = SFTConfig(output_dir=str(tmp_path), data=["x.jsonl"], use_cpu=True, report_to="none")
    assert config.bf16 is False


@BOTH
def test_peers_of_the_benchmarks_have_settings_that_hold_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fast: bool
) -> None:
    force(monkeypatch, fast)
    config = reward_model.settings(tmp_path)
    assert isinstance(config, TrainingArguments)
    assert (config.bf16, config.use_cpu) == (fast, True)


def test_every_config_of_a_peer_says_where_it_computes() -> None:
    """transformers refuses bfloat16 on a CPU that it was not told of; a benchmark names both or neither."""
    for file in sorted((ROOT / "benchmarks").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if re.search(r"\bbf16\b(?!=False)", text):
            assert "use_cpu" in text, file
