"""All that a refused dry run proposes is set, and the run planned again: it has to be accepted, and to take less."""

import itertools
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from trainers import catalogue
from trainers.config import TrainConfig, build, read_texts
from trainers.method import load
from trainers.online.config import OnlineConfig
from trainers.planning import dry_run as dry_run_module
from trainers.planning.dry_run import PlannedTraining, dry_run
from trainers.planning.records import Needs
from trainers.planning.settings import Device
from trainers.planning.shapes import CONFIG

GIGA = 10**9
LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 128256, "hidden_size": 4096,
    "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "max_position_embeddings": 131072, "tie_word_embeddings": False, "dtype": "bfloat16",
}  # fmt: skip
MAMBA = {
    "model_type": "mamba", "vocab_size": 50280, "hidden_size": 2560, "num_hidden_layers": 64, "state_size": 16,
    "expand": 2, "conv_kernel": 4, "time_step_rank": 160,
}  # fmt: skip
GPT2 = {"model_type": "gpt2", "vocab_size": 50257, "n_embd": 1600, "n_layer": 48, "n_head": 25, "n_positions": 1024}
EXPERTS = {
    "model_type": "qwen3_moe", "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144,
    "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48,
    "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "tie_word_embeddings": False,
}  # fmt: skip
MODELS = {"llama": LLAMA, "mamba": MAMBA, "gpt2": GPT2, "experts": EXPERTS}
GIVEN: dict[str, dict[str, Any]] = {
    "plain": {},
    "large": {"per_device_train_batch_size": 8, "per_device_eval_batch_size": 64, "gradient_accumulation_steps": 4},
    "narrow": {"bf16": True, "gradient_checkpointing": True},
    "adapted": {"bf16": True, "lora": {"r": 64, "target_modules": "all-linear"}},
    "looked at": {"lora": {"r": 8, "target_modules": "all-linear"}, "eval_share": 0.1, "row_tokens": 1 << 20},
}
DEVICES = {
    "24 GB": Device(24 * GIGA),
    "80 GB": Device(80 * GIGA),
    "two, shared out": Device(80 * GIGA, 2, sharded=True),
    "eight": Device(48 * GIGA, 8, main=200 * GIGA, beside=8),
    "CPU": Device(64 * GIGA, on_cpu=True),
}
DISKS = (10**15, 60 * GIGA)
WALKED = list(itertools.product(MODELS, catalogue.names()))
WALKED.remove(("mamba", "reward"))  # transformers makes no sequence classifier of it


def settings(kind: type[TrainConfig], given: dict[str, Any], folder: Path, model: Path) -> dict[str, Any]:
    online = {"reward": "verify:max-words=3", "max_steps": 4, "rollout_batch": 64, "eval_share": 0.1}
    said = {"model": str(model), "data": "none.jsonl", "output_dir": str(folder / "out"), "use_cpu": True}
    said |= {"max_length": 1024, "bf16": False, "report_to": "none"} | given
    if issubclass(kind, OnlineConfig):
        return online | {name: value for name, value in said.items() if name not in kind.without_effect}
    return said


def planned(name: str, said: dict[str, Any], device: Device, free: int) -> PlannedTraining:
    method = load(name)
    config: TrainConfig = build(method.config, said, "test")
    method.check(config)
    return dry_run(name, config, method.plan, method.work, device, free)


def proposed(fix: str) -> Iterator[tuple[dict[str, Any], int | None]]:
    """Yield what a refusal proposes: settings, and processes that share a model out."""
    told = re.sub(r"; or with an output_dir where there is room$", "", fix)
    told = told.removeprefix("it fits with ")
    for way in told.split("; or with "):
        processes = re.search(r"(\d+) processes of FSDP \(trainers/configs/fsdp.yaml; in a dry run, .*?\)", way)
        texts = [text for text in way.split(" and ") if not processes or processes[0] not in text]
        yield read_texts(" ".join(shlex.split(text)) for text in texts), processes and int(processes[1])


@pytest.fixture(autouse=True)
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are large, and the same ones are planned many times."""
    made = dry_run_module._Subject
    kept: dict[str, Any] = {}

    def subject(config: TrainConfig, needs: Needs) -> Any:
        key = f"{config.model} {config.lora} {config.quantize} {needs}"
        if key not in kept:
            kept[key] = made(config, needs)
        return kept[key]

    monkeypatch.setattr(dry_run_module, "_Subject", subject)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "name"), WALKED)
def test_what_is_proposed_is_accepted_and_takes_less(model: str, name: str, tmp_path: Path) -> None:
    (folder := tmp_path / model).mkdir()
    (folder / CONFIG).write_text(json.dumps(MODELS[model]))
    walked = 0
    for given, on, free in itertools.product(GIVEN.values(), DEVICES.values(), DISKS):
        if (model == "mamba" and "lora" in given) or (on.sharded and load(name).plan.writes):
            continue  # it takes no adapters; it can't be shared out
        said = settings(load(name).config, given, tmp_path, folder)
        try:
            planned(name, said, on, free)
        except InputError as refusal:
            walked += walk(refusal, name, said, on, free)
    is_too_large = model == "experts" and load(name).plan.writes  # the base and the copy that writes alone
    assert walked or is_too_large or (model, name) == ("mamba", "ppo")  # policy and values, both without adapters


def walk(refusal: InputError, name: str, said: dict[str, Any], on: Device, free: int) -> int:
    """Follow each proposal; return how many there were."""
    before = planned_anyway(name, said, on)
    if not refusal.fix.startswith("it fits with"):
        assert "smaller model" in refusal.fix or "an output_dir" in refusal.fix, refusal.fix
        return 0
    ways = list(proposed(refusal.fix))
    for changed, processes in ways:
        assert changed or processes, refusal.fix
        there = on if processes is None else replace(on, processes=processes, sharded=True, main=None)
        after = planned(name, said | changed, there, free)
        pairs = (
            (after.plan.peak, before.plan.peak),
            (after.plan.written, before.plan.written),
            (after.main, before.main),
        )
        assert any(now < then for now, then in pairs), (refusal, changed)
    return len(ways)


def planned_anyway(name: str, said: dict[str, Any], on: Device) -> PlannedTraining:
    return planned(name, said, replace(on, memory=10**15, main=None), 10**18)
