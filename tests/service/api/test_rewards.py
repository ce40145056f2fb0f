"""Rewards through the API: in our form, OpenRLHF's and verl's; never 0 for want of one."""

import asyncio
import base64
import math
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import uvicorn

from critic.engine import EngineError, Lane, Node, RequestTooLong, Score, Unavailable, reads
from critic.local.rewards import capability
from service import engines as part
from service.rewards import verl_reward
from service.settings import EngineSettings, Settings
from tests.factories import FakeEngine
from tests.service.calls import Api, one_database, problem
from tests.service.judges import constitution, in_groups, judged_by, scripted

SHORT, LONG = "The Po.", "The Po, which flows through the north of Italy."
CHATML = "<|im_start|>user\nName a river.<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    return judged_by(
        migrated_url,
        tmp_path,
        short=EngineSettings(spec="verify:max-words=3"),
        judge=scripted(tmp_path, "hash"),
        broken=scripted(tmp_path, "broken", fail={"every": 1, "how": "nan"}),
        half=scripted(tmp_path, "half", fail={"every": 2, "how": "nan"}),
    )


BOTH = {"prompts": ["Name a river."] * 2, "responses": [SHORT, LONG]}


async def ask(api: Api, status: int = 200, body: Any = BOTH, query: dict[str, str] | None = None) -> dict[str, Any]:
    answer = await api.admin.post("/v1/rewards", params=query or {}, json=body)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def publish(api: Api, data: dict[str, Any]) -> None:
    assert (await api.admin.post("/v1/constitutions", json=data)).status_code == 201


async def test_a_rule_rewards_by_its_worth(api: Api) -> None:
    told = await ask(api)
    assert told["rewards"] == told["scores"] == [4.0, 0.0] and told["problems"] == [None, None]


async def test_openrlhf_sends_whole_texts_and_reads_rewards_scores_and_logs(api: Api) -> None:
    queries = [f"{CHATML}{text}<|im_end|>" for text in (LONG, SHORT)]
    answer = await api.admin.post("/v1/rewards", json={"query": queries, "prompts": [CHATML] * 2, "labels": [None, ""]})
    told = answer.json()
    assert told["rewards"] == [0.0, 4.0] and told["scores"] == [0.0, 4.0] and told["extra_logs"] == {}
    alone = await api.admin.post("/v1/rewards", json={"query": queries})
    assert alone.json()["rewards"] == [0.0, 4.0]


async def test_the_visible_answer_is_rewarded(api: Api) -> None:
    thoughts = "Which river shall it be, of all those that there are?"
    opened = CHATML + "<think>\n"
    queries = [f"{opened}{thoughts}\n</think>\n\n{SHORT}<|im_end|>", f"{opened}{thoughts}"]
    told = await ask(api, body={"query": queries, "prompts": [opened] * 2})
    assert told["rewards"] == [4.0, None] and "no answer to reward" in told["problems"][1]
    assert (await ask(api, body={"query": queries}))["rewards"] == [4.0, None]
    written = [f"<think>{thoughts}</think>{SHORT}", f"<think>{thoughts}</think>{LONG}"]
    assert (await ask(api, body=BOTH | {"responses": written}))["rewards"] == [4.0, 0.0]


async def test_a_judge_without_log_probabilities_gives_no_rewards(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(FakeEngine):
        capabilities = MappingProxyType({"log-probabilities": "none"})

    monkeypatch.setattr(part, "open_engine", lambda spec: Silent())
    await publish(api, constitution())
    problem = await ask(api, 422, query={"engine": "judge", "constitution": constitution()["name"]})
    assert "log-probabilities" in str(problem)


async def test_an_address_can_hold_the_key(api: Api) -> None:
    key = api.admin.headers["authorization"].removeprefix("Bearer ")
    for scheme in ("Basic", "basic"):
        basic = {"Authorization": f"{scheme} " + base64.b64encode(f"cai:{key}".encode()).decode()}
        answer = await api.with_key(None).post("/v1/rewards", json=BOTH, headers=basic)
        assert answer.json()["rewards"] == [4.0, 0.0]
    for wrong in ("Basic !!!", "Basic " + base64.b64encode(b"cai:cai_a_b").decode(), "Basic"):
        answer = await api.with_key(None).post("/v1/rewards", json={}, headers={"Authorization": wrong})
        problem(answer, 401, "unauthorized")


def certain(digit: int) -> Score:
    """The score of a judge that is sure of a digit."""
    return Score(tuple(0.0 if i == digit else -math.inf for i in range(10)), 1)


async def test_a_judge_gives_the_mean_expected_score_by_weight(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    class Digits(FakeEngine):
        """Says 2 for the first principle and 5 for the second, for sure."""

        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            digits = [2 if "statement 0" in path[-1].content else 5 for path, _, _ in reads(tree)]
            return tuple(map(certain, digits))

    monkeypatch.setattr(part, "open_engine", lambda spec: Digits())
    data = constitution()
    data["principles"][1]["weight"] = "3"
    await publish(api, data)
    told = await ask(api, query={"engine": "judge", "constitution": "small"})
    assert told["rewards"] == [pytest.approx((3 * 1 + 6 * 3) / 4)] * 2  # a digit d is the score d + 1


async def test_no_answers_reward_depends_on_the_others(api: Api) -> None:
    query = {"engine": "judge", "constitution": "helpfulness"}
    both = (await ask(api, query=query))["rewards"]
    bodies = [{"prompts": ["Name a river."], "responses": [text]} for text in (SHORT, LONG)]
    alone = [(await ask(api, body=body, query=query))["rewards"][0] for body in bodies]
    assert both == alone and both[0] != both[1]


async def test_what_can_not_be_read_is_null_and_where_nothing_can_it_is_an_error(api: Api) -> None:
    await publish(api, constitution(principles=1))
    told = await ask(api, query={"engine": "half", "constitution": "small"})
    assert sorted(reward is None for reward in told["rewards"]) == [False, True]
    assert sorted(problem is None for problem in told["problems"]) == [False, True]
    document = await ask(api, 502, query={"engine": "broken", "constitution": "small"})
    assert "can't be read" in document["detail"]


class Heads(FakeEngine):
    """A reward model with two heads; too long texts fail a tree as a whole."""

    capabilities = capability(("cooks", "gardeners"))

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        texts = [path[-1].content for path, _, _ in reads(tree)]
        if any(len(text) > 20 for text in texts):
            raise RequestTooLong("the chat is too long")
        return tuple(Score((float(len(text)), -1.0), 1) for text in texts)


async def test_heads_are_chosen_by_group_and_a_long_answer_costs_itself_only(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part, "open_engine", lambda spec: Heads())
    told = await ask(api, query={"group": "cooks"})
    assert told["rewards"] == [7.0, None] and told["problems"] == [None, "the chat is too long"]
    document = await ask(api, 422)
    assert "cooks, gardeners" in document["detail"]
    document = await ask(api, 422, body={"prompts": ["?"], "responses": [LONG]}, query={"group": "cooks"})
    assert document["type"] == "too_long"


@pytest.mark.parametrize(("error", "status"), [(Unavailable("busy", 3), 503), (EngineError("no"), 502)])
async def test_engine_errors(api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int) -> None:
    class Failing(FakeEngine):
        capabilities = capability(("reward",))

        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            raise error

    monkeypatch.setattr(part, "open_engine", lambda spec: Failing())
    assert (await ask(api, status))["detail"] == str(error)


async def test_groups_of_a_constitution_are_never_averaged(api: Api) -> None:
    await publish(api, in_groups("shared", "cooks", "gardeners"))
    query = {"engine": "judge", "constitution": "shared"}
    assert "cooks, gardeners" in (await ask(api, 422, query=query))["detail"]
    rewards = [(await ask(api, query=query | {"group": group}))["rewards"] for group in ("cooks", "gardeners")]
    assert rewards[0] != rewards[1]


@one_database
@pytest.mark.parametrize(
    ("query", "body", "where"),
    [
        ({}, {"prompts": ["?"]}, "/"),
        ({}, {"responses": ["!"]}, "/"),
        ({}, {"query": ["?!"], "responses": ["!"], "prompts": ["?"]}, "/"),
        ({}, {"prompts": ["?", "?"], "responses": ["!"]}, "/"),
        ({}, {"query": ["The Po."], "prompts": ["Name a river."]}, "/query/0"),
        ({}, {"prompts": ["[INST] ? [/INST]"], "responses": ["!"]}, "/prompts/0"),
        ({}, {"prompts": [[{"role": "assistant", "content": "!"}]], "responses": ["!"]}, "/prompts/0"),
        ({}, {"prompts": [[]], "query": ["!"]}, "/prompts/0"),
        ({}, {"prompts": ["?"], "responses": ["!"], "url": "http://169.254.169.254"}, "/url"),
        ({"engine": "http://169.254.169.254"}, {}, "engine"),
        ({"engine": "judge"}, {}, "constitution"),
        ({"engine": "short", "constitution": "honesty"}, {}, "constitution"),
        ({"engine": "judge", "constitution": "../../etc/passwd"}, {}, "constitution"),
    ],
)
async def test_what_can_not_be_asked_is_refused_with_its_place(
    api: Api, query: dict[str, str], body: dict[str, Any], where: str
) -> None:
    document = await ask(api, 422, body or BOTH, query)
    assert any(fault["where"].startswith(where) for fault in document["faults"]), document


async def test_it_needs_the_scope_read(api: Api) -> None:
    body = {"prompts": ["?"], "responses": [SHORT]}
    problem(await (await api.client("label")).post("/v1/rewards", json=body), 403, "forbidden")
    assert (await (await api.client("read")).post("/v1/rewards", json=body)).status_code == 200


@asynccontextmanager
async def listening(api: Api) -> AsyncIterator[str]:
    """The application at a port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(api.app, lifespan="off", log_level="error"))
        task = asyncio.create_task(server.serve([listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


async def test_verls_reward_function_asks_the_service(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAI_KEY", api.admin.headers["authorization"].removeprefix("Bearer "))
    messages = [{"role": "user", "content": "Name a river.", "weight": 1}]
    async with listening(api) as url:
        one = await asyncio.to_thread(
            verl_reward.compute_score, "rivers", SHORT, "Po", {"prompt": messages, "index": 3}, url=url, num_turns=2
        )
        infos: list[dict[str, Any]] = [{"question": "Name a river."}, {"prompt": "Name a river."}]
        both = await asyncio.to_thread(
            verl_reward.compute_scores, ["r", "r"], [SHORT, LONG], [None, None], infos, url=url, engine="short"
        )
        assert (one, both) == (4.0, [4.0, 0.0])
        for wrong in ({"engine": "nobody"}, {"key": "cai_a_b"}):
            with pytest.raises(verl_reward.RewardError, match=r"engine|key"):
                await asyncio.to_thread(verl_reward.compute_score, "r", SHORT, "", infos[0], url=url, **wrong)


def test_verls_reward_function_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAI_URL", raising=False)
    with pytest.raises(verl_reward.RewardError, match="CAI_URL"):
        verl_reward.compute_score("r", SHORT, "", {"question": "?"})
    with pytest.raises(verl_reward.RewardError, match="neither"):
        verl_reward.compute_score("r", SHORT, "", {"answer": "!"}, url="http://127.0.0.1:1", key="k")


def test_verls_reward_function_asks_again_and_then_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(verl_reward.RewardError, match="can't be reached"):
            verl_reward.compute_score("r", SHORT, "", {"question": "?"}, url=url, key="k")
    assert waited == [1.0, 2.0, 4.0, 8.0]


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A server that answers each connection with the next of ``answers``, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection, connection.makefile("rb") as asked:
                    # All of it: closing a connection with something unread in it resets it.
                    headers = list(iter(asked.readline, b"\r\n"))
                    [length] = [line for line in headers if line.lower().startswith(b"content-length:")]
                    asked.read(int(length.partition(b":")[2]))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(timeout=10)


GOOD = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"rewards": [2.5], "problems": [null]}'


def test_verls_reward_function_outlives_a_proxy_and_an_answer_that_broke_off(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    broken = b'HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"rewards": [1'
    with answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", broken, GOOD) as url:
        assert verl_reward.compute_score("r", SHORT, "", {"question": "?"}, url=url, key="k") == 2.5
    assert waited == [1.0, 2.0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>", "is not the service"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[1]", "it sends no rewards"),
        (b"HTTP/1.1 502 X\r\nContent-Type: application/problem+json\r\nConnection: close\r\n\r\n{}", "{}"),
    ],
)
def test_verls_reward_function_asks_once_where_the_answer_is_final(answer: bytes, said: str) -> None:
    with answering(answer) as url, pytest.raises(verl_reward.RewardError, match=said):
        verl_reward.compute_score("r", SHORT, "", {"question": "?"}, url=url, key="k")


def _said(text: str) -> dict[str, Any]:
    return {"output": [{"type": "reasoning"}, {"type": "message", "content": [{"type": "output_text", "text": text}]}]}


GROUP: dict[str, Any] = {
    "conversation_history": [{"role": "user", "content": "Name a river."}],
    "response_objs": [_said(SHORT), _said(LONG), _said("I don't know.")],
    "principle": "Answer the question.",
}


async def compared(api: Api, status: int = 200, query: dict[str, str] | None = None, **change: Any) -> dict[str, Any]:
    answer = await api.admin.post("/v1/rewards/compare", params=query or {"engine": "judge"}, json=GROUP | change)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_siblings_are_compared_in_nemo_gym_s_shape(api: Api) -> None:
    told = await compared(api)
    assert sum(told["rewards"]) == pytest.approx(0, abs=1e-6) and len(set(told["rewards"])) == 3
    assert all(error > 0 for error in told["errors"]) and told["problems"] == [None] * 3
    assert told["metrics"]["comparisons"] == 3 == len(told["comparison_results"])
    for result in told["comparison_results"]:
        assert 0 < result["probability"] < 1 and result["response_i"] < result["response_j"]
    again = await compared(api, query={"engine": "judge", "constitution": "helpfulness@1.0.0"}, principle=None)
    assert again["rewards"] != told["rewards"]


@pytest.mark.parametrize("content", [3, {"text": "Po"}, None, [None, {"type": "output_text", "text": None}]])
async def test_a_response_that_says_nothing_costs_itself_alone(content: Any, api: Api) -> None:
    said = {"output": [{"type": "message", "content": content}]}
    told = await compared(api, response_objs=[_said(SHORT), said, _said(LONG)])
    assert told["rewards"][1] is None and "no output_text" in told["problems"][1]
    assert [result["response_j"] for result in told["comparison_results"]] == [2]
    assert all(type(told["comparison_results"][0][place]) is int for place in ("response_i", "response_j"))


async def test_what_a_judge_can_t_compare_is_null_and_never_a_neutral_number(api: Api) -> None:
    told = await compared(api, query={"engine": "broken"})
    assert told["rewards"] == [None] * 3 and told["metrics"]["unread"] == 3
    assert all("no comparison that could be read" in problem for problem in told["problems"])
    alone = await compared(api, response_objs=["The Po."])
    assert alone["rewards"] == [None] and "no other answer" in alone["problems"][0]


async def test_thoughts_in_an_answer_s_text_are_not_compared(api: Api) -> None:
    """As a server without a parser of thoughts sends them, in a text or an object."""
    told = await compared(api)
    thinking = [_said(f"<think>Hm.</think>\n\n{SHORT}"), f"<think>Hm.</think>\n\n{LONG}", "I don't know.", "<think>Hm"]
    again = await compared(api, response_objs=thinking)
    assert again["rewards"] == [*told["rewards"], None] and "no answer" in again["problems"][3]


async def test_a_group_that_can_t_be_compared_is_refused(api: Api) -> None:
    assert "nothing to compare by" in str(await compared(api, 422, principle=None))
    assert "no list of output items" in str(await compared(api, 422, response_objs=[{"outputs": []}, "x"]))


def _response(items: list[dict[str, Any]]) -> dict[str, Any]:
    """An object of OpenAI's Responses API with all that NeMo Gym's policies put into one."""
    return {
        "id": "resp_1", "created_at": 1.0, "model": "policy", "object": "response", "output": items, "tools": [],
        "parallel_tool_calls": True, "tool_choice": "auto", "usage": None, "metadata": None, "error": None,
        "incomplete_details": None, "instructions": None, "temperature": 1.0, "top_p": 1.0,
    }  # fmt: skip


async def test_a_policy_s_response_that_came_to_no_answer_costs_itself_alone(api: Api) -> None:
    """By the documented shape of NeMo Gym 0.4.0, whose code wants Python 3.12: it thought until its tokens ended."""
    thought = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Rivers..."}]}
    said = [
        {"id": "m", "type": "message", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": text, "annotations": []}]}
        for text in (SHORT, LONG)
    ]  # fmt: skip
    told = await compared(api, response_objs=[_response([thought]), *(_response([thought, m]) for m in said)])
    assert told["rewards"][0] is None and "holds no answer" in told["problems"][0]
    both = await compared(api, response_objs=[SHORT, LONG])
    assert told["rewards"][1:] == both["rewards"] and told["errors"][1:] == both["errors"]
    [result] = told["comparison_results"]
    assert (result["response_i"], result["response_j"]) == (1, 2)
