"""``cai train --push-to-hub``: the hub is asked before the first step, and what is finished stays finished."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from base.errors import InputError
from service.cli import app
from service.cli.commands.training import train
from service.cli.training import trained
from service.exports import hub
from trainers.config import TrainConfig


class Steps(list[str]):
    """What is done, in order: the hub is asked, a model is trained, and it is sent."""

    def asked(self, repo: str) -> None:
        self.append(f"asked for {repo}")

    def trained(self, config: TrainConfig, *, err: bool = False) -> SimpleNamespace:
        self.append("trained")
        return SimpleNamespace(folder="out", new=True, steps=1, figures={}, counts=SimpleNamespace(refused={}))

    def sent(self, folder: Path, repo: str) -> str:
        self.append(f"{folder} sent to {repo}")
        return ""


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps()
    monkeypatch.setattr(train, "expect_model", steps.asked)
    monkeypatch.setattr(train, "push_model", steps.sent)
    monkeypatch.setattr(trained, "start", steps.trained)
    return steps


def cai_train(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["train", "sft", "--config", "sft-smoke", *arguments])


def test_the_hub_is_asked_before_a_model_is_trained_for_it(steps: Steps) -> None:
    assert cai_train("--push-to-hub", "me/rivers").exit_code == 0
    assert steps == ["asked for me/rivers", "trained", "out sent to me/rivers"]


def test_nothing_is_trained_for_a_hub_that_can_not_be_used(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(repo: str) -> None:
        raise InputError("the hub can't be used", where=repo)

    monkeypatch.setattr(train, "expect_model", refuse)
    refused = cai_train("--push-to-hub", "me/rivers").exception
    assert isinstance(refused, InputError) and refused.where == "me/rivers"
    assert steps == []


def test_of_many_processes_one_sends_the_model(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainConfig, "process_index", property(lambda config: 1))
    assert cai_train("--push-to-hub", "me/rivers").exit_code == 0
    assert steps == ["trained"]


def test_a_hub_that_is_not_there_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before the first step, and after the last, where the finished model stays."""

    class AbsentHub:
        def create_repo(self, *_: object, **__: object) -> str:
            raise ConnectionError("nobody is there")

    monkeypatch.setattr("huggingface_hub.HfApi", AbsentHub)
    with pytest.raises(InputError, match=r"no connection: nobody is there") as before:
        hub.expect_model("me/rivers")
    assert "train without --push-to-hub" in before.value.fix and "the same command with it" in before.value.fix
    (tmp_path / hub.FINISHED).write_text("{}")
    with pytest.raises(InputError, match=r"no connection: nobody is there") as after:
        hub.push_model(tmp_path, "me/rivers")
    assert f"The finished model is in {tmp_path}: the same command only sends it" in after.value.fix


def test_a_name_that_the_hub_can_not_have_is_told() -> None:
    with pytest.raises(InputError, match="the hub has no such names") as caught:
        hub.expect_model("me/rivers/of/the/north")
    assert caught.value.fix.startswith("Expected OWNER/NAME.")
