"""Every shipped config loads, by the loader of whom it is for, and what a run resolves loads again as the same."""

import tomllib
from argparse import Namespace
from pathlib import Path

import pytest
import yaml
from accelerate import DeepSpeedPlugin, FullyShardedDataParallelPlugin
from accelerate.commands import launch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import prepare_multi_gpu_env
from accelerate.utils.launch import prepare_deepspeed_cmd_env
from torch.distributed.fsdp import StateDictType
from transformers import TrainerState

from base.errors import InputError
from service.cli.training.configs import config_file
from service.cli.training.trained import load
from trainers import catalogue, config
from trainers.folder.identity import resolved, settings
from trainers.method import load as method_of
from trainers.methods.sft import SFTConfig

FOLDER = Path(config.__file__).parent / "configs"
LAUNCHING = {"fsdp": 1, "fsdp-multi": 2, "deepspeed": 1, "deepspeed-multi": 2}  # how many machines each is for
TRAINING = sorted({file.stem for file in FOLDER.glob("*.yaml")} - LAUNCHING.keys())


def loaded(name: str, *more: str) -> config.TrainConfig:
    # No GPU is needed to read a setting, so bf16 is not looked for.
    return load(name.rpartition("-")[0], config_file(name), ["use_cpu=true", *more])


def test_each_trainer_has_a_small_and_a_large_one() -> None:
    assert sorted(f"{method}-{size}" for method in catalogue.names() for size in ("smoke", "8gpu")) == TRAINING


@pytest.mark.parametrize("name", TRAINING)
def test_it_loads_and_loads_again_as_what_it_resolved_to(name: str, tmp_path: Path) -> None:
    first = loaded(name)
    again = tmp_path / "config.yaml"
    again.write_text(yaml.safe_dump(resolved(first)))
    method = name.rpartition("-")[0]
    second = load(method, again, [])
    assert type(first) is type(second) is method_of(method).config
    assert settings(first) == settings(second)


def test_what_they_report_to_is_installed_with_the_trainers() -> None:
    with (FOLDER.parents[1] / "pyproject.toml").open("rb") as file:
        installed: list[str] = tomllib.load(file)["project"]["optional-dependencies"]["train"]
    named = {tracker for name in TRAINING for tracker in loaded(name).report_to or []}
    assert named
    assert named <= {package.partition(">")[0] for package in installed}


@pytest.mark.parametrize("name", TRAINING)
def test_small_ones_run_anywhere_and_large_ones_save_memory(name: str) -> None:
    config = loaded(name)
    root = FOLDER.parents[1]
    if name.endswith("smoke"):
        assert config.model == "embedded"
        assert all((root / source).is_file() for source in config.data if isinstance(source, str))
    else:
        assert config.gradient_checkpointing and config.bf16
        assert f'cai)" train {name.rpartition("-")[0]} --config {name}' in (FOLDER / f"{name}.yaml").read_text()


def launched(file: Path, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """What `accelerate launch` makes of a file on the second machine, up to where it would start processes.

    The plugins read their settings from the environment, as they do in the processes that it starts.
    """
    machine = ["--machine_rank", "1", "--main_process_ip", "10.0.0.1"]
    given = launch.launch_command_parser().parse_args(["--config_file", str(file), *machine, "cai", "train"])
    arguments, _, _ = launch._validate_launch_command(given)
    arguments.deepspeed_fields_from_accelerate_config = ""
    environment = (
        prepare_deepspeed_cmd_env(arguments)[1] if arguments.use_deepspeed else prepare_multi_gpu_env(arguments)
    )
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert isinstance(arguments, Namespace)
    return arguments


@pytest.mark.parametrize("name", LAUNCHING)
def test_accelerate_starts_eight_processes_a_machine(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file, machines = FOLDER / f"{name}.yaml", LAUNCHING[name]
    config = load_config_from_file(str(file))
    assert config.distributed_type.value == name.removesuffix("-multi").upper()
    assert (config.num_machines, config.num_processes, config.mixed_precision) == (machines, 8 * machines, "bf16")
    assert config.main_process_ip is None and "machine_rank" not in yaml.safe_load(file.read_text())
    assert "t was not run" in file.read_text()  # on the hardware that it is for
    arguments = launched(file, monkeypatch)
    assert arguments.nproc_per_node == "8"
    if machines > 1:
        assert (arguments.nnodes, arguments.node_rank, arguments.rdzv_backend) == (str(machines), 1, "static")
        assert arguments.rdzv_endpoint == "10.0.0.1:29500"
        assert f"--config_file trainers/configs/{name}.yaml --machine_rank RANK --main_process_ip" in file.read_text()


@pytest.mark.parametrize("name", ["fsdp", "fsdp-multi"])
def test_fsdp_shards_everything_and_its_checkpoints(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    launched(FOLDER / f"{name}.yaml", monkeypatch)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert plugin.state_dict_type is StateDictType.SHARDED_STATE_DICT  # checkpoints; the finished model is whole
    assert "transformer_auto_wrap_policy" in repr(plugin.auto_wrap_policy)
    assert (
        load_config_from_file(str(FOLDER / f"{name}.yaml")).fsdp_config
        == yaml.safe_load((FOLDER / "fsdp-multi.yaml").read_text())["fsdp_config"]
    )  # the one that test_distributed.py runs
    assert plugin.cpu_ram_efficient_loading  # one process of a machine reads the model, the others receive their part


@pytest.mark.parametrize("name", ["deepspeed", "deepspeed-multi"])
def test_deepspeed_shards_everything_and_offloads_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as accelerate's part goes: DeepSpeed itself, which would read ``deepspeed_config``, is not installed."""
    launched(FOLDER / f"{name}.yaml", monkeypatch)
    plugin = DeepSpeedPlugin()
    optimization = plugin.deepspeed_config["zero_optimization"]
    assert optimization["stage"] == plugin.zero_stage == 3 and not plugin.zero3_init_flag
    assert optimization["stage3_gather_16bit_weights_on_model_save"] is True
    assert optimization["offload_optimizer"]["device"] == optimization["offload_param"]["device"] == "none"


def unknown(file: Path) -> set[str]:
    """The settings of a file's plugin that `accelerate launch` has no option for: it would ignore them silently."""
    config = load_config_from_file(str(file))
    options = vars(launch.launch_command_parser().parse_args(["cai"]))
    given: set[str] = {*config.fsdp_config, *config.deepspeed_config}
    return given - set(options)


@pytest.mark.parametrize("name", LAUNCHING)
def test_no_setting_is_unknown_to_accelerate(name: str, tmp_path: Path) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    assert unknown(FOLDER / f"{name}.yaml") == set()
    (wrong := tmp_path / "wrong.yaml").write_text(text + "num_procesess: 8\n")
    with pytest.raises(ValueError, match="num_procesess"):
        load_config_from_file(str(wrong))
    wrong.write_text(text + "  zero_stages: 3\n")  # the plugin's settings come last
    assert unknown(wrong) == {"zero_stages"}


@pytest.mark.parametrize(
    ("method", "name", "said"),
    [
        ("dpo", "grpo-smoke", "reward is a setting of grpo, online-dpo, ppo, and dpo has none of that name"),
        ("grpo", "dpo-smoke", "loss is a setting of dpo, and grpo has none of that name"),
        ("grpo", "online-dpo-smoke", "this is a config of online-dpo, and it was given to grpo"),
    ],
)
def test_a_config_of_another_method_is_told_by_its_name(method: str, name: str, said: str) -> None:
    with pytest.raises(InputError) as told:
        load(method, config_file(name), ["use_cpu=true"])
    assert said in str(told.value) and f"cai train {name.removesuffix('-smoke')}" in str(told.value)


def test_settings_on_top_and_mistakes_are_told() -> None:
    assert loaded("dpo-smoke", "beta=0.2", "learning_rate=3e-6").learning_rate == 3e-6
    with pytest.raises(InputError, match="did you mean 'beta'"):
        loaded("dpo-smoke", "betta=0.2")
    with pytest.raises(InputError, match=r"(?s)no such file.*dpo-smoke"):
        config_file("dpo-smoky")


@pytest.mark.parametrize(("steps", "every"), [(3, 1), (200, 1), (1000, 5), (50_000, 250)])
def test_each_step_of_a_short_run_is_logged_and_some_of_a_long_one(steps: int, every: int, tmp_path: Path) -> None:
    chosen = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, eval_strategy="steps")
    state = TrainerState()
    state.compute_steps(chosen, steps)
    assert state.logging_steps == every
    assert state.eval_steps == -(-steps // 10), "evaluations take longer than a line in a file"
