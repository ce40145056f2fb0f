"""A setting that isn't one names the one that was meant, and the place where it stood."""

from pathlib import Path

import pytest

from base.errors import InputError
from trainers.config import ALIASES, load
from trainers.methods.dpo import DPOConfig
from trainers.methods.ppo import PPOConfig
from trainers.methods.reward import RewardConfig
from trainers.methods.sft import SFTConfig


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "run.yaml"
    file.write_text("data: rows.jsonl\noutput_dir: out\nuse_cpu: true\nbf16: false\n")
    return file


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("lr", "learning_rate"),
        ("learning_rte", "learning_rate"),
        ("batch_size", "per_device_train_batch_size"),
        ("betta", "beta"),
        ("epochs", "num_train_epochs"),
    ],
)
def test_a_typo_is_placed_where_it_stood(file: Path, typo: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"did you mean '{meant}'") as error:
        load(DPOConfig, file, [f"{typo}=1"])
    assert error.value.where == "command line"
    file.write_text(file.read_text() + f"{typo}: 1\n")
    with pytest.raises(InputError, match=f"did you mean '{meant}'") as error:
        load(DPOConfig, file)
    assert error.value.where == str(file)


def test_a_value_that_does_not_fit_is_placed_where_it_stood(file: Path) -> None:
    with pytest.raises(InputError, match="beta is 'much'") as error:
        load(DPOConfig, file, ["beta=much"])
    assert error.value.where == "command line"


def test_texts_that_can_not_be_read_are_refused(file: Path) -> None:
    for text, said in (("beta", "is no setting"), ("beta=[", "can't be read"), ("beta=1 beta=2", "beta is '1 beta=2'")):
        with pytest.raises(InputError, match=said):
            load(DPOConfig, file, [text])
    with pytest.raises(InputError, match="beta is given twice"):
        load(DPOConfig, file, ["beta=1", "beta=2"])


def test_every_format_of_a_file_is_read(file: Path, tmp_path: Path) -> None:
    toml = tmp_path / "run.toml"
    toml.write_text('data = "rows.jsonl"\noutput_dir = "out"\nuse_cpu = true\nbf16 = false\nbeta = 0.3\n')
    assert load(DPOConfig, toml).beta == load(DPOConfig, file, ["beta=0.3"]).beta == 0.3


def test_aliases_name_settings() -> None:
    configs = (SFTConfig, RewardConfig, DPOConfig, PPOConfig)
    assert set(ALIASES.values()) <= {name for config in configs for name in config.__dataclass_fields__}
