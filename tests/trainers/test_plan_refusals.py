"""What a run would refuse once its model is loaded, a dry run refuses before; and what it counts beside the policy."""

import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from base.errors import InputError
from critic.local import loading
from critic.local.loading import default_dtype
from tests.conftest import unavailable
from trainers import run
from trainers.method import load
from trainers.methods.grpo import GRPOConfig
from trainers.methods.ppo import PPOConfig
from trainers.methods.sft import SFTConfig
from trainers.models import policy as load_policy
from trainers.planning.dry_run import dry_run
from trainers.planning.settings import Device
from trainers.planning.shapes import CONFIG, WeightlessModel

from .test_dry_run import GPU, LLAMA_8B, ROOMY, planned
from .tiny import config_of

SMALL = LLAMA_8B | {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "head_dim": 64}
ONLINE: dict[str, Any] = {"max_length": 64, "max_new_tokens": 16, "num_train_epochs": 3.0, "bf16": True}


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Any]:
    """Folders with configurations, and no weights."""

    def made(name: str, **config: Any) -> Path:
        (folder := tmp_path / name).mkdir()
        (folder / CONFIG).write_text(json.dumps(config))
        return folder

    yield made


@pytest.mark.parametrize("method", ["gptq", "awq", "compressed-tensors", "bitsandbytes", "torchao"])
def test_weights_in_few_bits_are_refused_with_what_can_learn(method: str, folders: Any, tmp_path: Path) -> None:
    """By the dry run, and by the run: before anything is read."""
    folder = folders("packed", **LLAMA_8B, quantization_config={"quant_method": method, "bits": 4})
    config = config_of(SFTConfig, folder, tmp_path / "out")
    with pytest.raises(InputError, match=rf"its weights are quantised \({method}\)") as told:
        planned(SFTConfig, folder, tmp_path / "out")
    assert "quantize=nf4" in told.value.fix
    with pytest.raises(InputError, match="its weights are quantised"):
        load_policy(config)


@pytest.mark.parametrize("method", ["fp8", "mxfp4"])
def test_weights_that_are_made_plain_as_they_are_read_are_planned_as_such(method: str, folders: Any) -> None:
    folder = folders("packed", **SMALL, quantization_config={"quant_method": method})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": 10}}))
    assert WeightlessModel(str(folder)).shape.stored == 2


def test_eight_bits_are_read_as_plain_numbers(policy: Path, tmp_path: Path) -> None:
    """Weights of linear layers in float8, with a scale for each block of them."""
    folder, scale = tmp_path / "eight", 0.001
    shutil.copytree(policy, folder)
    plain, stored = load_file(policy / "model.safetensors"), {}
    for name, weight in plain.items():
        stored[name] = weight.to(torch.bfloat16)
        if name.endswith("proj.weight"):
            stored[name] = (weight / scale).clamp(-400, 400).to(torch.float8_e4m3fn)
            stored[f"{name}_scale_inv"] = torch.full((1, 1), scale)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    bits = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic", "fmt": "e4m3"}
    config = json.loads((folder / CONFIG).read_text()) | {"dtype": "bfloat16", "quantization_config": bits}
    (folder / CONFIG).write_text(json.dumps(config))
    trainee = load_policy(config_of(SFTConfig, folder, tmp_path / "out"))
    weights = trainee.model.state_dict()
    assert all(weight.dtype == torch.float32 for weight in trainee.model.parameters())
    apart = [float((weights[name] - plain[name].clamp(-0.4, 0.4)).abs().max()) for name in plain if "proj" in name]
    assert trainee.dtype == torch.bfloat16 and apart and max(apart) < 0.02
    given = AutoConfig.from_pretrained(folder)
    loading._as_plain_numbers(given)
    assert given.quantization_config["dequantize"] is True


def test_bits_of_bitsandbytes_are_taken_where_they_are_asked_for(folders: Any, tmp_path: Path) -> None:
    folder = folders("packed", **SMALL, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    lora = {"r": 4, "target_modules": "all-linear"}
    assert planned(SFTConfig, folder, tmp_path / "out", lora=lora, quantize="nf4").plan.peak > 0


def test_layers_that_four_bits_would_turn_over_are_refused(folders: Any, tmp_path: Path) -> None:
    """GPT-2's: by the dry run, and by the run, before it has trained what it couldn't save."""
    gpt = {"model_type": "gpt2", "vocab_size": 64, "n_embd": 16, "n_layer": 1, "n_head": 1, "n_positions": 64}
    config = config_of(SFTConfig, folders("gpt", **gpt), tmp_path / "out", lora={"r": 4}, quantize="nf4", max_length=8)
    method = load("sft")
    with pytest.raises(InputError, match="doesn't come back from four bits") as told:
        dry_run("sft", config, method.plan, method.work, GPU, free=ROOMY)
    assert told.value.fix == "quantize=null"
    if find_spec("bitsandbytes") is None:
        unavailable("bitsandbytes is not installed, which keeps a base in four bits")
    with pytest.raises(InputError, match="doesn't come back from four bits"):
        load_policy(config)


def test_chats_longer_than_the_context_are_refused(folders: Any, tmp_path: Path) -> None:
    folder = folders("short", **SMALL, max_position_embeddings=512)
    with pytest.raises(InputError, match="max_length is 513; the model's context is 512"):
        planned(SFTConfig, folder, tmp_path / "out", max_length=513)
    assert planned(SFTConfig, folder, tmp_path / "out", max_length=512)


def test_adapters_on_a_shared_table_are_refused(folders: Any, tmp_path: Path) -> None:
    lora = {"r": 4, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}
    with pytest.raises(InputError, match="input and output share that weight"):
        planned(SFTConfig, folders("tied", **SMALL | {"tie_word_embeddings": True}), tmp_path / "out", lora=lora)
    apart = planned(SFTConfig, folders("apart", **SMALL), tmp_path / "out", lora=lora)
    assert apart.plan.always["optimiser"] > 8 * 128256 * 2048


def test_what_online_methods_have_no_place_for_is_refused(folders: Any, tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"lora": {"r": 4, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}}, "modules_to_save has no pl"),
        ({"max_new_tokens": 64}, "no prompt fits"),
    ]
    for given, said in wrong:
        config = config_of(
            GRPOConfig, tmp_path / "none", tmp_path / "out", reward="verify:max-words=3", **ONLINE | given
        )
        with pytest.raises(InputError, match=said):
            load("grpo").check(config)
        with pytest.raises(InputError, match=said):
            run.train(config)


USUAL = default_dtype(torch.device("cpu")).itemsize


@pytest.mark.parametrize(
    ("spec", "each", "beside"),
    [
        ("hf:{}", USUAL, 0),
        ("vllm:{}?kv_gib=2", USUAL, 2 << 30),
        ("hf:{}?dtype=float32", 4, 0),
        ("hf:{}?device=cuda", 0, 0),
    ],
)
def test_a_judge_in_this_process_counts(spec: str, each: int, beside: int, folders: Any, tmp_path: Path) -> None:
    judge, small = folders("judge", **SMALL), folders("small", **SMALL | {"num_hidden_layers": 1})
    given: dict[str, Any] = ONLINE | {"reward": spec.format(judge), "principles": "hhh", "eval_share": 0.5}
    given |= {"heldout_reward": "openai:m@http://127.0.0.1:9/v1", "heldout_principles": "hhh"}
    config = config_of(GRPOConfig, small, tmp_path / "out", **given)
    assert load("grpo").work(config, 1).rewards == each * WeightlessModel(str(judge)).shape.weights + beside


def test_values_have_the_size_of_the_reward_model_that_they_begin_as(folders: Any, tmp_path: Path) -> None:
    """A policy of one layer, and a reward model of 16."""
    policy, reward = folders("policy", **SMALL | {"num_hidden_layers": 1}), folders("reward", **SMALL)
    other = folders("other", **SMALL | {"vocab_size": 32000})
    learnt = [
        planned(PPOConfig, policy, tmp_path / "out", Device(10**13), reward=f"rm:{of}", **ONLINE).plan.always[
            "optimiser"
        ]
        for of in (reward, other)
    ]
    weights = {
        name: WeightlessModel(str(folder)).shape for name, folder in {"policy": policy, "reward": reward}.items()
    }
    rewards = WeightlessModel(str(reward), heads=1).shape.weights
    assert learnt[0] == 8 * (weights["policy"].weights + rewards)
    table = weights["policy"].table
    assert learnt[1] == 8 * (2 * weights["policy"].weights - table + 2048 + 1)


def test_main_memory_counts_where_it_is_known(folders: Any, tmp_path: Path) -> None:
    """Eight processes that each read a model of 32 GB into a main memory of 200."""
    given: dict[str, Any] = {
        "bf16": True,
        "gradient_checkpointing": True,
        "lora": {"r": 4, "target_modules": "all-linear"},
    }
    folder = folders("eight", **LLAMA_8B)
    eight = Device(80 * 10**9, 8, main=200 * 10**9, beside=8)
    with pytest.raises(InputError, match=r"takes 257\.0 GB of main memory, of all processes") as told:
        planned(SFTConfig, folder, tmp_path / "out", eight, **given)
    assert "processes of FSDP" in told.value.fix
    shared = planned(
        SFTConfig, folder, tmp_path / "out", Device(80 * 10**9, 8, True, main=200 * 10**9, beside=8), **given
    )
    assert any("in the first process of a machine" in line for line in shared.lines())


def test_the_disk_of_another_machine_is_said_and_not_refused(folders: Any, tmp_path: Path) -> None:
    folder, method = folders("small", **SMALL), load("sft")
    config = config_of(SFTConfig, folder, tmp_path / "out", save_strategy="steps", save_total_limit=None)
    elsewhere = dry_run("sft", config, method.plan, method.work, Device(80 * 10**9, elsewhere=True), free=1000)
    said = "\n".join(elsewhere.lines())
    assert "are free" not in said and "each checkpoint after the first two takes 17.98 GB more" in said
    with pytest.raises(InputError, match="GB of disk") as told:
        dry_run("sft", config, method.plan, method.work, GPU, free=30 * 10**9)
    assert "save_total_limit=1" not in told.value.fix and "save_strategy=no" in told.value.fix
    assert dry_run("sft", config, method.plan, method.work, GPU, free=ROOMY)
