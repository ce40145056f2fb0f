"""Training asks for a certificate where its config does: refused without one, let through with the right one."""

import json
from pathlib import Path

import pytest

from base.errors import InputError
from critic.certificates.certificate import FILE, CertifiedJudge
from tests.critic.certificates.test_certificates import HASH, OTHER, certificate
from trainers.config import TrainConfig
from trainers.gate import certified, named
from trainers.methods.reward import RewardConfig
from trainers.online.reward_gate import certified_rewards
from trainers.run import train
from trainers.trainer import TreeTrainer

from .online_tiny import ppo_config
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


def reward(**changed: str) -> dict[str, str]:
    """The identity of the judge that the certificate is of, as online methods have it: it compares siblings."""
    return {"name": "judge", "revision": HASH, "constitution": HASH, "mode": 'logprob {"floor":0.1}'} | changed


def test_each_of_several_rewards_is_held_to_its_own_certificate(tmp_path: Path) -> None:
    """That of a reward model lies in its folder, and what stands behind it in a spec is none of its name."""
    (tmp_path / "rm").mkdir()
    judge = CertifiedJudge(name="rm", revision=OTHER, settings=(), mode={"name": "rm"})
    (tmp_path / "rm" / FILE).write_text(certificate(judge=judge).text())
    (tmp_path / FILE).write_text(certificate().text())
    more = [{"reward": f"rm:{tmp_path / 'rm'}?dtype=float32"}, {"reward": "verify:max-words=3"}]
    config = ppo_config(tmp_path, tmp_path / "out", certificate=str(tmp_path / FILE), more_rewards=more)
    taught_by = [reward(), {"name": "rm", "revision": OTHER}, {"name": "verify", "revision": ""}]
    certificates = certified_rewards(config, taught_by)
    assert [one.judge.name for one in certificates] == ["judge", "rm"]
    taught_by[1]["revision"] = HASH
    with pytest.raises(InputError, match=rf"it is of rm \({OTHER}\), and rewards are given by rm \({HASH}\)"):
        certified_rewards(config, taught_by)


def test_the_certificate_of_scores_says_nothing_about_comparisons(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(certificate().text())
    config = ppo_config(tmp_path, tmp_path / "out", certificate=str(tmp_path / FILE))
    assert certified_rewards(config, [reward()])
    with pytest.raises(InputError, match="mode: cot for the labels, logprob in the certificate"):
        certified_rewards(config, [reward(mode="cot {}")])
    scores = reward()
    del scores["mode"]
    with pytest.raises(InputError, match="mode: score for the labels, logprob in the certificate"):
        certified_rewards(config, [scores])
