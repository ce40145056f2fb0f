"""Training asks for a certificate where its config does: refused without one, let through with the right one."""

import json
from pathlib import Path

import pytest

from base.errors import InputError
from critic.certificates.certificate import FILE
from tests.critic.certificates.test_certificates import HASH, OTHER, certificate
from trainers.config import TrainConfig
from trainers.gate import certified, named
from trainers.methods.reward import RewardConfig
from trainers.run import train
from trainers.trainer import TreeTrainer

from .tiny import config_of, planted

WANTED = TreeTrainer  # what is wanted plays no part for a file
PROVENANCE = {"source": "ai", "judge": "judge", "mode": "logprob", "constitution_hash": HASH, "templates": HASH}


def rows(folder: Path, **changed: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pairs.jsonl"
    lines = [
        {"prompt": pair.prompt.messages[0].content, "chosen": pair.chosen, "rejected": pair.rejected}
        | PROVENANCE
        | changed
        for pair in planted(8)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def config(tmp_path: Path, file: Path, **settings: object) -> TrainConfig:
    (tmp_path / "model").mkdir(exist_ok=True)
    (tmp_path / "model" / "config.json").write_text("{}")  # there, and never loaded
    return config_of(RewardConfig, tmp_path / "model", tmp_path / "out", data=[str(file)], **settings)


def test_labels_by_a_judge_are_refused_without_its_certificate(tmp_path: Path) -> None:
    file = rows(tmp_path / "data")
    assert certified(config(tmp_path, file), ()) == (), "nobody asks"
    with pytest.raises(InputError, match="there is no certificate of it"):
        train(config(tmp_path, file, require_certificate=True))
    assert not (tmp_path / "out" / "run.json").exists(), "refused before anything is claimed"


def test_a_certificate_beside_the_data_lets_it_through_and_is_named(tmp_path: Path) -> None:
    file = rows(tmp_path / "data")
    (file.parent / FILE).write_text(certificate().text())
    certificates = certified(config(tmp_path, file, require_certificate={"accuracy": 0.75}), ())
    assert named(certificates) == {"certificates": [certificate().sha256]}
    with pytest.raises(InputError, match=r"accuracy has to be at least 0\.8"):
        certified(config(tmp_path, file, require_certificate={"accuracy": 0.8}), ())


def test_another_judges_certificate_is_refused_even_where_none_is_asked_for(tmp_path: Path) -> None:
    file = rows(tmp_path / "data", templates=OTHER)
    (file.parent / FILE).write_text(certificate().text())
    with pytest.raises(InputError, match="of another judge"):
        certified(config(tmp_path, file), ())


def test_labels_by_people_need_none(tmp_path: Path) -> None:
    file = rows(tmp_path / "data", source="human")
    assert certified(config(tmp_path, file, require_certificate=True), ()) == ()


def test_bounds_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected true, false, or bounds"):
        config(tmp_path, rows(tmp_path / "data"), require_certificate="yes")
