"""A dry run: from a folder with a configuration to what is said, what is refused, and what is left alone."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from base.errors import InputError
from service.cli import app
from service.cli.training.trained import plan
from tests import zoo
from trainers import catalogue, run
from trainers.method import load
from trainers.methods.dpo import DPOConfig
from trainers.methods.grpo import GRPOConfig
from trainers.methods.online_dpo import OnlineDPOConfig
from trainers.methods.ppo import PPOConfig
from trainers.methods.sft import SFTConfig
from trainers.models import policy as load_policy
from trainers.online.config import OnlineConfig
from trainers.planning import settings
from trainers.planning.dry_run import case_of, dry_run
from trainers.planning.settings import Device
from trainers.planning.shapes import CONFIG, INDEX, WeightlessModel

from .tiny import config_of

LORA = {"r": 4, "target_modules": "all-linear"}
GPU = Device(80 * 10**9)
ROOMY = 10**12  # bytes of disk: how full the one is that tests run on says nothing
LLAMA_8B = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 128256, "hidden_size": 4096,
    "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "tie_word_embeddings": False, "dtype": "bfloat16",
}  # fmt: skip


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A folder that has a configuration of eight billion weights, and none of them."""
    (folder := tmp_path / "eight").mkdir()
    (folder / CONFIG).write_text(json.dumps(LLAMA_8B))
    return folder


def planned(kind: Any, model: Path, out: Path, device: Device = GPU, **given: Any) -> Any:
    config = config_of(kind, model, out, **given)
    name = kind.__module__.rpartition(".")[2]
    method = load(name)
    return dry_run(name, config, method.plan, method.work, device, free=ROOMY)


@pytest.mark.parametrize("name", ["mamba", "rwkv", "falcon_h1", "gemma3n_text", "gemma4_text", "opt"])
def test_models_of_every_kind_are_planned(name: str, tmp_path: Path) -> None:
    """Without attention heads, with sizes that differ by layer, and those that adapters can't be put on."""
    zoo.config(name).save_pretrained(tmp_path / name)
    assert planned(SFTConfig, tmp_path / name, tmp_path / "out").plan.peak > 0


def test_the_shape_is_that_of_the_loaded_model(policy: Path, tmp_path: Path) -> None:
    config = config_of(SFTConfig, policy, tmp_path / "out", lora=LORA)
    loaded = load_policy(config).model
    case = case_of(config, load("sft").plan, load("sft").work(config, 1), GPU)
    counts = [weight.numel() for weight in loaded.parameters() if weight.requires_grad]
    assert case.setting.adapters == sum(counts)
    assert case.shape.weights + sum(counts) == sum(weight.numel() for weight in loaded.parameters())
    assert (case.shape.layers, case.shape.queries, case.shape.keys, case.shape.tied) == (2, 64, 32, True)
    assert case.shape.stored == 4


def test_a_configuration_is_enough_and_an_index_says_the_type(empty: Path) -> None:
    shape = WeightlessModel(str(empty)).shape
    assert (shape.weights, shape.stored, shape.tied) == (8_030_261_248, 2, False)
    (empty / INDEX).write_text(json.dumps({"metadata": {"total_size": 4 * shape.weights}, "weight_map": {}}))
    assert WeightlessModel(str(empty / CONFIG)).shape.stored == 4
    assert WeightlessModel(str(empty), heads=1).shape.weights == shape.weights - 128256 * 4096 + 4096


@pytest.mark.parametrize("model", ["nobody/has-this-model", "no/such/folder/at-all", "gone"])
def test_a_model_that_is_not_here_is_told_in_one_sentence(model: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"this model isn't here: .*fetches nothing") as caught:
        planned(SFTConfig, Path(model), tmp_path / "out")
    assert "config.json" in caught.value.fix


def test_folders_and_configurations_that_say_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it has no config\.json"):
        WeightlessModel(str(tmp_path))
    (tmp_path / CONFIG).write_text(json.dumps({"model_type": "no-such-type"}))
    with pytest.raises(InputError, match="no model can be made of it"):
        WeightlessModel(str(tmp_path))


def test_what_does_not_fit_is_refused_with_what_would(empty: Path, tmp_path: Path) -> None:
    full: dict[str, Any] = {"max_length": 2048, "bf16": True, "gradient_checkpointing": True}
    with pytest.raises(InputError, match=r"dpo takes 1\d\d\.\d GB while learning, and there are 80\.0 GB") as caught:
        planned(DPOConfig, empty, tmp_path / "out", **full)
    assert "lora='{r: 16, target_modules: all-linear}'" in caught.value.fix and "processes of FSDP" in caught.value.fix
    assert planned(DPOConfig, empty, tmp_path / "out", **full, lora={"r": 16, "target_modules": "all-linear"})
    assert not (tmp_path / "out").exists()


def test_adapters_that_the_model_has_no_place_for_are_refused(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lora: "):
        planned(SFTConfig, policy, tmp_path / "out", lora={"r": 4, "target_modules": ["nothing"]})


def test_the_disk_counts_as_well(policy: Path, tmp_path: Path) -> None:
    config = config_of(SFTConfig, policy, tmp_path / "out", save_strategy="steps")
    method = load("sft")
    with pytest.raises(InputError, match="GB of disk"):
        dry_run("sft", config, method.plan, method.work, GPU, free=1000)


@pytest.mark.parametrize("name", catalogue.names())
def test_every_method_says_what_it_needs(name: str, policy: Path, tmp_path: Path) -> None:
    """What each of its parts is for, and that adapters take less."""
    method = load(name)
    online = issubclass(method.config, OnlineConfig)
    given = {"reward": "verify:max-words=3", "num_train_epochs": 3.0, "max_new_tokens": 16} if online else {}
    config = config_of(method.config, policy, tmp_path / "out", **given)
    work = method.work(config, 1)
    whole = case_of(config, method.plan, work, GPU).plan
    assert whole.peak > 0 and method.plan.writes == online == ("writing" in whole.phases)
    assert bool(whole.always["references"]) == online
    assert work.answers == (config.samples_per_prompt if isinstance(config, OnlineConfig) else method.plan.answers)
    config.lora = LORA
    assert case_of(config, method.plan, work, GPU).plan.peak < whole.peak


@pytest.mark.parametrize("variable", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"])
def test_online_methods_refuse_to_be_sharded_and_say_what_can(
    variable: str, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"reward": "verify:max-words=3", "num_train_epochs": 3.0}
    with pytest.raises(InputError, match="can't share a model out"):
        planned(GRPOConfig, policy, tmp_path / "out", Device(10**9, 8, sharded=True), **given)
    config = config_of(GRPOConfig, policy, tmp_path / "out", **given)
    monkeypatch.setenv(variable, "true")
    assert settings.is_sharded()
    with pytest.raises(InputError, match="can't share a model out") as caught:
        load("grpo").train(config, (), lambda counts: None)
    assert "OpenRLHF or verl" in caught.value.fix and not (tmp_path / "out").exists()


WRONG_REWARDS: list[tuple[dict[str, Any], str]] = [
    ({"reward": "foo:bar"}, "there is no engine 'foo'"),
    ({"reward": "veryfy:max-words=3"}, "there is no engine 'veryfy'"),
    ({"reward": "verify:no-such-rule"}, "'no-such-rule' is no rule"),
    ({"reward": "embedded?bach=4", "principles": "hhh"}, "unknown option 'bach'"),
    ({"reward": "embedded"}, "gives no rewards by itself"),
    ({"reward": "embedded", "principles": "no-such-principles"}, "no-such-principles"),
    ({"reward": "http://127.0.0.1:9/", "principles": "hhh"}, "reads no principles"),
    ({"more_rewards": [{"reward": "foo:bar"}]}, "there is no engine 'foo'"),
    ({"more_rewards": [{"reward": "verify:max-words=2", "principles": "hhh"}]}, "reads no principles"),
    ({"heldout_reward": "verify:no-such-rule", "eval_share": 0.5}, "'no-such-rule' is no rule"),
    (
        {"reward": "embedded", "principles": "hhh", "judge_by": "comparison", "judge_mode": "vardict"},
        "did you mean 'verdict'",
    ),
    ({"reward": "decisions:m@http://127.0.0.1:9/v1", "principles": "hhh"}, "gives decisions"),
    ({"reward": "rm:/nowhere/reward"}, "/nowhere/reward: there is no such folder"),
    ({"more_rewards": [{"reward": "rm:./nowhere"}]}, r"\./nowhere: there is no such folder"),
    ({"heldout_reward": "rm:/nowhere/reward", "eval_share": 0.5}, "/nowhere/reward: there is no such folder"),
    ({"reward": "hf:/nowhere/judge", "principles": "hhh"}, "/nowhere/judge: there is no such folder"),
    ({"reward": "scripted:/nowhere.yaml", "principles": "hhh"}, r"/nowhere\.yaml: the script can't be read"),
]


@pytest.mark.parametrize("kind", [GRPOConfig, PPOConfig, OnlineDPOConfig])
@pytest.mark.parametrize(("given", "said"), WRONG_REWARDS)
def test_rewards_that_can_not_be_given_are_refused_before_a_model_is_loaded(
    kind: type[OnlineConfig], given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    """By a dry run, and by the run: neither the model nor the prompts are there."""
    known = {"reward": "verify:max-words=3", "num_train_epochs": 3.0}
    config = config_of(kind, tmp_path / "none", tmp_path / "out", **known | given)
    with pytest.raises(InputError, match=said) as planned:
        plan(config, None, sharded=False, device_memory=None)
    with pytest.raises(InputError) as started:
        run.train(config)
    assert str(started.value) == str(planned.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "given",
    [
        {"reward": "verify:max-words=3+min-words=1"},
        {"reward": "http://127.0.0.1:9/", "more_rewards": [{"reward": "embedded?batch=4", "principles": "hhh"}]},
        {"reward": "openai:m@http://127.0.0.1:9/v1", "principles": "hhh", "judge_by": "comparison"},
    ],
)
def test_rewards_of_servers_and_models_are_planned_without_them(
    given: dict[str, Any], policy: Path, tmp_path: Path
) -> None:
    config = config_of(GRPOConfig, policy, tmp_path / "out", num_train_epochs=3.0, **given)
    assert plan(config, None, sharded=False, device_memory=80).plan.peak > 0


def test_the_command_says_it_and_writes_nothing(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.planning.dry_run.shutil.disk_usage", lambda place: SimpleNamespace(free=ROOMY))
    (tmp_path / "c.yaml").write_text(
        f"model: {empty}\ndata: none.jsonl\noutput_dir: {tmp_path / 'out'}\nuse_cpu: true\n"
    )
    given = ["train", "sft", "--config", str(tmp_path / "c.yaml"), "gradient_checkpointing=true", "save_total_limit=1"]
    machine = ["--dry-run", "--device-memory", "80", "lora={r: 16, target_modules: all-linear}"]
    said = CliRunner().invoke(app, [*given, *machine])
    assert said.exit_code == 0, said.output
    assert "weights                                32.29 GB" in said.output and "of 80.00, while" in said.output
    facts = json.loads(CliRunner().invoke(app, [*given, *machine, "--json"]).output)
    assert facts["always"]["weights"] == 4 * (8_030_261_248 + 41_943_040) and facts["memory"] == 80 * 10**9
    assert not (tmp_path / "out").exists()
    wrong = CliRunner().invoke(app, [*given, "--processes", "8"])
    assert wrong.exit_code == 2 and "--dry-run" in wrong.output
