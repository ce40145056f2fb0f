"""What a run may use of a machine: its memory within a container's bound, and how processes share a model out."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainers.methods.sft import SFTConfig
from trainers.planning import settings
from trainers.planning.machine import main_memory
from trainers.planning.memory import plan
from trainers.planning.records import ALL_SHARED, ComputeSetting, Needs, Sharing
from trainers.planning.settings import is_bounded, setting_of, sharing, this_machine

from .test_memory import CHAT, EIGHT, TABLE, WEIGHTS
from .tiny import config_of

PHYSICAL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/job/step\n", {"job/memory.max": "1000000\n", "job/step/memory.max": "max\n"}, 1_000_000),
        ("0::/\n", {"memory.max": "2000000\n"}, 2_000_000),
        ("0::/of/the/host\n", {"memory.max": "3000000\n"}, 3_000_000),
        ("5:cpu:/\n4:memory:/job\n0::/\n", {"memory/job/memory.limit_in_bytes": "4000000\n"}, 4_000_000),
        ("4:memory:/job\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, PHYSICAL),
        ("0::/job\n", {"job/memory.max": f"{PHYSICAL * 2}\n"}, PHYSICAL),
        ("", {}, PHYSICAL),
    ],
)
def test_a_containers_bound_counts_not_the_hosts_memory(
    groups: str, files: dict[str, str], expected: int, tmp_path: Path
) -> None:
    (tmp_path / "cgroup").write_text(groups)
    for name, text in files.items():
        (file := tmp_path / "mounted" / name).parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert main_memory(tmp_path / "cgroup", tmp_path / "mounted") == expected
    assert main_memory(tmp_path / "none", tmp_path / "mounted") == PHYSICAL


def test_processes_on_cpus_share_the_bound(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "main_memory", lambda: 8_000_000)
    config = config_of(SFTConfig, policy, tmp_path / "out")
    assert this_machine(config).memory == 8_000_000 and this_machine(config, 4).memory == 2_000_000
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert this_machine(config).memory == 4_000_000


def test_how_a_model_is_shared_out_is_read_off_how_processes_were_started(monkeypatch: pytest.MonkeyPatch) -> None:
    plain: Any = SimpleNamespace(deepspeed_plugin=None, fsdp_plugin_args=None)
    assert sharing(plain) is None
    for name, value in {
        "ACCELERATE_USE_FSDP": "true", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true", "FSDP_RESHARD_AFTER_FORWARD": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert sharing(plain) == ALL_SHARED
    monkeypatch.setenv("FSDP_RESHARD_AFTER_FORWARD", "false")
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "true")
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "false")
    assert sharing(plain) == Sharing(offloads="all", stays_gathered=True, one_reads=False)
    given: Any = SimpleNamespace(deepspeed_plugin=None, fsdp_plugin_args={"cpu_ram_efficient_loading": True})
    assert sharing(given) == ALL_SHARED
    speed = SimpleNamespace(zero_stage=2, offload_optimizer_device="cpu", offload_param_device="none")
    deep: Any = SimpleNamespace(deepspeed_plugin=speed, fsdp_plugin_args=None)
    assert sharing(deep) == Sharing(stage=2, offloads="optimiser", one_reads=False)
    speed.zero_stage = 0
    assert sharing(deep) is None


def test_each_stage_shares_out_what_it_says() -> None:
    """Eight processes; weights are bfloat16 below stage 3, with the float32 ones beside the optimiser's numbers."""
    one, two, three = (shared(Sharing(stage=stage)).always for stage in (1, 2, 3))
    assert one["weights"] == two["weights"] == 2 * WEIGHTS and three["weights"] == 4 * WEIGHTS / 8
    assert one["optimiser"] == two["optimiser"] == 12 * WEIGHTS / 8 and three["optimiser"] == WEIGHTS
    gradients = [shared(Sharing(stage=stage)).phases["learning"]["gradients"] for stage in (1, 2)]
    assert gradients[1] < gradients[0]
    gathered = shared(Sharing(stays_gathered=True)).peak - shared(ALL_SHARED).peak
    assert WEIGHTS < gathered < 2 * WEIGHTS


def test_what_is_kept_off_the_devices_lies_in_main_memory() -> None:
    away = shared(Sharing(offloads="all"))
    assert away.always["weights"] == away.always["optimiser"] == away.phases["learning"]["gradients"] == 0
    assert away.offloaded == 16 * WEIGHTS / 8
    half = shared(Sharing(stage=2, offloads="optimiser", one_reads=False))
    assert half.always["weights"] == 2 * WEIGHTS and half.always["optimiser"] == 0
    assert shared(ALL_SHARED).offloaded == 0 and shared(ALL_SHARED).host == (4 + 2) * WEIGHTS


def shared(how: Sharing) -> Any:
    setting = ComputeSetting(checkpointing=True, processes=8, sharded=True, shared=how)
    return plan(EIGHT, Needs(), CHAT, setting)


OPTIMISERS = {
    "adamw_torch": 8, "adamw_bnb_8bit": 2, "paged_adamw_8bit": 2, "paged_adamw_32bit": 8, "ademamix": 12,
    "paged_ademamix_8bit": 3, "lion_32bit": 4, "paged_lion_8bit": 1, "rmsprop_bnb_8bit": 1, "schedule_free_sgd": 4,
    "sgd": 0, "grokadamw": 12,
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers_keep_what_their_names_say(name: str, policy: Path, tmp_path: Path) -> None:
    config = config_of(SFTConfig, policy, tmp_path / "out", optim=name)
    assert setting_of(config, this_machine(config), None).optimizer == OPTIMISERS[name]


def test_bitsandbytes_keeps_whole_numbers_of_embeddings() -> None:
    """8 bytes of each of an embedding's weights, 2 of each other."""
    narrow = plan(EIGHT, Needs(), CHAT, ComputeSetting(optimizer=2, wide_tables=True))
    assert narrow.always["optimiser"] == 2 * (WEIGHTS - TABLE) + 8 * TABLE


CHECKPOINTS: list[tuple[dict[str, Any], int, bool]] = [
    ({"save_total_limit": 2}, 3, True),
    ({"save_total_limit": 1, "load_best_model_at_end": True, "eval_strategy": "steps", "save_steps": 0.1}, 3, True),
    ({"save_total_limit": None, "max_steps": 100, "save_steps": 10}, 10, True),
    ({"save_total_limit": None, "max_steps": 100, "save_steps": 0.05}, 20, True),
    ({"save_total_limit": None, "save_strategy": "epoch", "num_train_epochs": 7.0}, 7, True),
    ({"save_total_limit": None, "save_steps": 10}, 2, False),
    ({"save_total_limit": 5, "max_steps": 2, "save_steps": 1}, 2, True),
    ({"save_strategy": "no", "save_total_limit": None}, 0, True),
]


@pytest.mark.parametrize(("given", "expected", "bounded"), CHECKPOINTS)
def test_checkpoints_without_a_limit_are_all_kept(
    given: dict[str, Any], expected: int, bounded: bool, policy: Path, tmp_path: Path
) -> None:
    config = config_of(SFTConfig, policy, tmp_path / "out", **{"save_strategy": "steps"} | given)
    assert setting_of(config, this_machine(config), None).checkpoints == expected
    assert is_bounded(config) == bounded
