"""Reward sources: what each gives, and that what can't be read is told and never a number."""

import asyncio
import json
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from base.errors import InputError
from constitution import Constitution
from critic.chats.chat import Chat
from critic.engine import Engine, EngineDown, EngineError, Lane, Node, RequestTooLong, Reward, Score, reads
from critic.judging.modes.score import DIGITS
from critic.local.loading import load
from critic.local.rewards import capability
from critic.local.trees import attention
from critic.records import Message
from critic.rewarding.grade import Grade
from critic.rewarding.sources import rewards_of
from tests.factories import FakeEngine, prompt, small_constitution
from trainers.online import scoring
from trainers.online.prompts import Ask
from trainers.online.scoring import EngineReward, RewardSource, ServerReward, open_source
from trainers.online.writing.rollout import RolloutTask, Sample

from .online_tiny import ppo_config
from .tiny import write_model


def sample(text: str, about: str = "Name a river.") -> Sample:
    ask = Ask(prompt(about), "here:1", (1, 2))
    return Sample(RolloutTask(ask, 0, 8, 1.0), (3, 4), (-1.0, -1.0), text)


def rewarded(engine: Engine, constitution: Constitution | None = None) -> EngineReward:
    return EngineReward(engine, rewards_of(engine, constitution), constitution)


def decode(ids: Any) -> str:
    return " ".join(map(str, ids))


def graded(source: RewardSource, *samples: Sample) -> list[Grade]:
    async def all_of() -> list[Grade]:
        try:
            return await source.grade(samples)
        finally:
            await source.close()

    return asyncio.run(all_of())


class Lengths(FakeEngine):
    """Rewards a chat by its last message's length; can't read what says so, or is too long."""

    capabilities = capability(("reward",))

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        scores = []
        for path, read, _ in reads(tree):
            assert isinstance(read, Reward)
            text = path[-1].content
            if text == "too long":
                raise RequestTooLong("the chat holds too many tokens")
            scores.append(Score((math.nan if text == "broken" else float(len(text)),), 1))
        return tuple(scores)


def test_each_answer_gets_its_own_reward_and_one_that_fails_costs_itself() -> None:
    samples = [sample("one"), sample("too long"), sample("three"), sample("broken", "Another?"), sample("", "Another?")]
    grades = graded(rewarded(Lengths()), *samples)
    assert [grade.reward for grade in grades] == [3, None, 5, None, 0]
    assert grades[1].problem == "the chat holds too many tokens" and "nan, which is no number" in grades[3].problem


class Poisoned(Lengths):
    """Fails on what holds poison, alone or among others: on everything where the poison is ''."""

    def __init__(self, poison: str) -> None:
        super().__init__()
        self.poison = poison

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        if any(self.poison in path[-1].content for path, _, _ in reads(tree)):
            raise EngineError("its arithmetic failed")
        return await super().score(tree, lane)


@pytest.mark.parametrize("each", [1, 3])
def test_an_engine_that_fails_every_sample_stops_the_run_in_its_own_words(each: int) -> None:
    samples = [sample(f"answer {i}", f"Question {i}?") for i in range(12) for _ in range(each)]
    with pytest.raises(EngineDown, match="none was answered: its arithmetic failed"):
        graded(rewarded(Poisoned("")), *samples)


def test_samples_that_fail_among_others_that_are_read_stop_nothing() -> None:
    samples = [sample(text, f"Question {i}?") for i in range(50) for text in ("good", "poison")]
    grades = graded(rewarded(Poisoned("poison")), *samples)
    assert [grade.reward for grade in grades] == [4, None] * 50


def test_a_reward_model_s_folder_gives_transformers_own_numbers(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "scorer", ("reward",))
    texts = ["Yes.", "No, never.", ""]
    grades = graded(open_source(f"rm:{folder}?dtype=float32", None, decode), *map(sample, texts))
    loaded = load(str(folder), torch.float32, torch.device("cpu"), attention.NAME, AutoModelForSequenceClassification)
    plain = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    chat = Chat(loaded.tokenizer, "x", plain.config.pad_token_id)
    for text, grade in zip(texts, grades, strict=True):
        messages = [*prompt().messages, Message(role="assistant", content=text)]
        ids = torch.tensor([chat.whole(messages, "closed").ids])
        with torch.no_grad():
            hidden = plain.model(ids).last_hidden_state[0, -1]
            assert grade.reward == pytest.approx(float(plain.score(hidden)), abs=1e-4)


def test_a_rule_is_a_reward() -> None:
    grades = graded(open_source("verify:max-words=2", None, decode), sample("a b"), sample("a b c"))
    assert [grade.reward for grade in grades] == [4.0, 0.0]


@pytest.mark.parametrize(
    ("heads", "said"), [((), "gives no rewards by itself"), (("north", "south"), "the rewards are of north, south")]
)
def test_engines_without_one_reward_are_refused(heads: tuple[str, ...], said: str) -> None:
    engine = Lengths()
    engine.capabilities = capability(heads) if heads else {}
    with pytest.raises(InputError, match=said):
        rewarded(engine)


def test_a_trainer_says_what_can_be_done_about_groups(tmp_path: Path) -> None:
    """None of its settings names a group: nothing could be named where that is asked for."""
    content = small_constitution(2)
    for name, principle in zip("ab", content["principles"], strict=True):
        principle["group"] = {"id": name}
    (tmp_path / "groups.yaml").write_text(json.dumps(content))
    heads = write_model(tmp_path / "scorer", heads=("north", "south"))
    config = ppo_config(tmp_path, tmp_path / "out", reward="embedded", principles=str(tmp_path / "groups.yaml"))
    for refused in (lambda: scoring.check_sources(config), lambda: open_source(f"rm:{heads}", None, decode)):
        with pytest.raises(InputError, match="a constitution that holds only these") as told:
            refused()
        assert told.value.where in ("embedded", f"rm:{heads}")


class Digits(FakeEngine):
    """Is sure of the digit 2 under the first principle, and of 6 under others; some answers it can't read."""

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        scores = []
        for path, read, _ in reads(tree):
            assert read == DIGITS
            text = "".join(message.content for message in path)
            if "unread" in text:
                scores.append(Score((math.nan,) * 10, 1))
                continue
            digit = 2 if "statement 0" in text else 6
            scores.append(Score(tuple(0.0 if i == digit else -math.inf for i in range(10)), 1))
        return tuple(scores)


def constitution(weights: tuple[float, ...], **fields: Any) -> Constitution:
    content = small_constitution(len(weights))
    for principle, weight in zip(content["principles"], weights, strict=True):
        principle["weight"] = weight
        principle |= fields
    return Constitution.model_validate(content)


def test_a_judge_s_reward_is_the_weighted_mean_of_its_expected_scores() -> None:
    """Digits 2 and 6 are the scores 3 and 7: with weights 3 and 1 the mean is 4."""
    engine = Digits()
    [grade] = graded(rewarded(engine, constitution((3.0, 1.0))), sample("An answer."))
    assert grade.reward == pytest.approx(4.0)


def test_a_judge_that_can_t_be_read_gives_none() -> None:
    grades = graded(rewarded(Digits(), constitution((1.0, 1.0))), sample("unread"), sample("x", "Another?"))
    assert grades[0].reward is None and "can't be read" in grades[0].problem
    assert grades[1].reward == pytest.approx(5.0)


def test_groups_are_not_averaged() -> None:
    content = small_constitution(2)
    for name, principle in zip("ab", content["principles"], strict=True):
        principle["group"] = {"id": name}
    with pytest.raises(InputError, match=r"the groups of .* are a, b, whose values are not averaged"):
        rewarded(Digits(), Constitution.model_validate(content))


class Server(BaseHTTPRequestHandler):
    """Answers as the test says: the status codes in turn, then rewards by ``reply``."""

    codes: list[int]
    asked: list[dict[str, Any]]
    keys: list[str | None]
    reply: Any

    def do_POST(self) -> None:
        type(self).keys.append(self.headers["Authorization"])
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append(body)
        code = type(self).codes.pop(0) if type(self).codes else 200
        content = json.dumps(type(self).reply(body)).encode() if code == 200 else b"no"
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Server]]]:
    monkeypatch.setattr(scoring, "AGAIN", replace(scoring.AGAIN, first=0.001))
    Server.codes, Server.asked, Server.keys = [], [], []
    Server.reply = staticmethod(lambda body: {"rewards": [float(len(text)) for text in body["query"]]})
    http = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/get_reward", Server
    http.shutdown()
    thread.join()
    http.server_close()


def test_a_server_gets_whole_texts_and_prompts(server: tuple[str, type[Server]]) -> None:
    url, seen = server
    grades = graded(open_source(url, None, decode), sample("a"), sample("b"))
    assert seen.asked == [{"query": ["1 2 3 4", "1 2 3 4"], "prompts": ["1 2", "1 2"]}]
    assert [grade.reward for grade in grades] == [7.0, 7.0]


def test_the_key_of_a_server_is_named_and_never_written(
    server: tuple[str, type[Server]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is a setting: it stands in the model's folder, in its lineage and in checkpoints."""
    url, seen = server
    monkeypatch.setenv("REWARD_KEY", "a-secret")
    source = open_source(f"{url}?engine=models%2Fone&key_env=REWARD_KEY", None, decode)
    assert [grade.reward for grade in graded(source, sample("a"))] == [7.0] and seen.keys == ["Bearer a-secret"]
    assert source.identity["name"] == f"{url}?engine=models%2Fone"
    monkeypatch.delenv("REWARD_KEY")
    with pytest.raises(InputError, match="REWARD_KEY is not set"):
        open_source(f"{url}?key_env=REWARD_KEY", None, decode)
    with pytest.raises(InputError, match="would end up in logs") as told:
        open_source(url.replace("//", "//cai:a-secret@"), None, decode)
    assert "a-secret" not in str(told.value) and "key_env=NAME" in str(told.value)


def test_why_a_service_has_no_reward_is_told(server: tuple[str, type[Server]]) -> None:
    url, seen = server
    seen.reply = staticmethod(
        lambda body: {"rewards": [None, 2], "problems": ["the judge's score can't be read", None]}
    )
    grades = graded(open_source(url, None, decode), sample("a"), sample("b"))
    assert [(grade.reward, grade.problem) for grade in grades] == [(None, "the judge's score can't be read"), (2.0, "")]


def test_what_passes_is_asked_again(server: tuple[str, type[Server]]) -> None:
    url, seen = server
    seen.codes = [503, 429]
    assert graded(ServerReward(url, decode), sample("a"))[0].reward == 7.0
    assert len(seen.asked) == 3


def test_a_server_that_stays_down_gives_no_reward(server: tuple[str, type[Server]]) -> None:
    url, seen = server
    seen.codes = [500] * 9
    [grade] = graded(ServerReward(url, decode), sample("a"))
    assert grade.reward is None and "HTTP Error 500" in grade.problem and len(seen.asked) == 4


def test_a_refusal_is_not_asked_again(server: tuple[str, type[Server]]) -> None:
    url, seen = server
    seen.codes = [401]
    [grade] = graded(ServerReward(url, decode), sample("a"))
    assert grade.reward is None and "HTTP 401" in grade.problem and len(seen.asked) == 1


@pytest.mark.parametrize("reply", [{"rewards": [1.0]}, {"rewards": 3}, {"scores": [1, 2]}, [1.0, 2.0]])
def test_an_answer_of_another_shape_gives_no_reward(server: tuple[str, type[Server]], reply: Any) -> None:
    url, seen = server
    seen.reply = staticmethod(lambda body: reply)
    grades = graded(ServerReward(url, decode), sample("a"), sample("b"))
    assert all(grade.reward is None and "not a list of 2 rewards" in grade.problem for grade in grades)


def test_what_is_no_number_is_no_reward(server: tuple[str, type[Server]]) -> None:
    url, seen = server
    seen.reply = staticmethod(lambda body: {"rewards": [None, math.nan, "3", True, 2]})
    grades = graded(ServerReward(url, decode), *[sample("a")] * 5)
    assert [grade.reward for grade in grades] == [None, None, None, None, 2.0]


def test_where_nobody_is_there_the_run_stops_once_it_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a step whose first answers were rewarded before the server went away, half would be learnt from."""
    waits = list[float]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(EngineDown, match="can't be read"):
        graded(ServerReward("http://127.0.0.1:9/", decode), sample("a"))
    assert waits[:4] == [1, 2, 4, 8]


def test_an_engine_s_error_for_one_is_told() -> None:
    class Never(Lengths):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            raise EngineError("the model is out")

    grades = graded(rewarded(Never()), sample("a"), sample("b"))
    assert [(grade.reward, grade.problem) for grade in grades] == [(None, "the model is out")] * 2
