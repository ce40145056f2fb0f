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

        def whoami(self) -> dict[str, object]:
            raise ConnectionError("nobody is there")

    monkeypatch.setattr("huggingface_hub.HfApi", AbsentHub)
    with pytest.raises(InputError, match=r"no connection: nobody is there") as before:
        hub.expect_model("me/rivers")
    assert "train without --push-to-hub" in before.value.fix and "the same command with it" in before.value.fix
    (tmp_path / hub.FINISHED).write_text("{}")
    with pytest.raises(InputError, match=r"no connection: nobody is there") as after:
        hub.push_model(tmp_path, "me/rivers")
    assert f"The finished model is in {tmp_path}: the same command only sends it" in after.value.fix


class Hub:
    """A hub that knows whose token it is, and keeps what is made."""

    def __init__(self, role: str = "write") -> None:
        self.made: list[str] = []
        self._known: dict[str, object] = {
            "name": "me",
            "orgs": [{"name": "rivers-lab"}],
            "auth": {"accessToken": {"role": role}},
        }

    def whoami(self) -> dict[str, object]:
        return self._known

    def create_repo(self, repo: str, **_: object) -> str:
        self.made.append(repo)
        return f"https://hub/{repo}"

    def upload_folder(self, **_: object) -> None:
        pass


def known_hub(monkeypatch: pytest.MonkeyPatch, role: str = "write") -> Hub:
    hub = Hub(role)
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    return hub


@pytest.mark.parametrize("repo", ["me/rivers", "rivers-lab/rivers", "rivers"])
@pytest.mark.parametrize("role", ["write", "fineGrained"])
def test_nothing_is_made_at_the_hub_before_there_is_a_model(
    repo: str, role: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A training that failed left an empty repository behind."""
    known = known_hub(monkeypatch, role)
    hub.expect_model(repo)
    assert known.made == []
    (tmp_path / hub.FINISHED).write_text("{}")
    assert f"https://hub/{repo}" in hub.push_model(tmp_path, repo)
    assert known.made == [repo]


@pytest.mark.parametrize(
    ("repo", "role", "said"),
    [
        ("me/rivers", "read", "the token may only read"),
        ("others/rivers", "write", "the token is me's, who can't make a model of others"),
        ("me/rivers/of/the/north", "write", "the hub has no such names"),
    ],
)
def test_a_model_that_could_not_be_sent_is_told_before_it_is_trained(
    repo: str, role: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = known_hub(monkeypatch, role)
    with pytest.raises(InputError, match=said) as caught:
        hub.expect_model(repo)
    assert "Or train without --push-to-hub" in caught.value.fix and known.made == []
