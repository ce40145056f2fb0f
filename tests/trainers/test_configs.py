"""Every shipped config loads, by the loader of whom it is for, and what a run resolves loads again as the same."""

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file

from constitution.errors import InputError
from service.cli.train import Method, config_class, config_file, load
from trainers import config
from trainers.identity import resolved, settings

FOLDER = Path(config.__file__).parent / "configs"
TRAINING = sorted(file.stem for file in FOLDER.glob("*-*.yaml"))


def loaded(name: str, *more: str) -> config.TrainConfig:
    # No GPU is needed to read a setting, so bf16 is not looked for.
    return load(Method(name.partition("-")[0]), config_file(name), ["use_cpu=true", *more])


def test_each_trainer_has_a_small_and_a_large_one() -> None:
    assert sorted(f"{method.value}-{size}" for method in Method for size in ("smoke", "8gpu")) == TRAINING


@pytest.mark.parametrize("name", TRAINING)
def test_it_loads_and_loads_again_as_what_it_resolved_to(name: str, tmp_path: Path) -> None:
    first = loaded(name)
    again = tmp_path / "config.yaml"
    again.write_text(yaml.safe_dump(resolved(first)))
    method = Method(name.partition("-")[0])
    second = load(method, again, [])
    assert type(first) is type(second) is config_class(method)
    assert settings(first) == settings(second)


@pytest.mark.parametrize("name", TRAINING)
def test_small_ones_run_anywhere_and_large_ones_save_memory(name: str) -> None:
    found = loaded(name)
    root = FOLDER.parents[1]
    if name.endswith("smoke"):
        assert found.model == "embedded"
        assert all((root / source).is_file() for source in found.data if isinstance(source, str))
    else:
        assert found.gradient_checkpointing and found.bf16
        assert f'cai)" train {name.partition("-")[0]} --config {name}' in (FOLDER / f"{name}.yaml").read_text()


@pytest.mark.parametrize(("name", "kind"), [("fsdp", "FSDP"), ("deepspeed", "DEEPSPEED")])
def test_accelerate_reads_its_own(name: str, kind: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    found = load_config_from_file(str(FOLDER / f"{name}.yaml"))
    assert (found.distributed_type.value, found.num_processes) == (kind, 8)
    assert "It was not run." in " ".join(text.replace("#", "").split())


def test_settings_on_top_and_mistakes_are_told() -> None:
    assert loaded("dpo-smoke", "beta=0.2", "learning_rate=3e-6").learning_rate == 3e-6
    with pytest.raises(InputError, match="did you mean 'beta'"):
        loaded("dpo-smoke", "betta=0.2")
    with pytest.raises(InputError, match=r"(?s)no such file.*dpo-smoke.*sft-8gpu"):
        config_file("dpo-smoky")
