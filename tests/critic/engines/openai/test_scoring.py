"""Log-probabilities of choices, and servers that offer few of them or none."""

import math
from typing import Any

import pytest

from critic.engine import Choices, Engine, EngineError, Node, OwnTokens, RequestTooLong
from critic.records import Message
from critic.server import survey
from critic.server.chat_opening import open_engine
from critic.server.chat_reply import Likely, Position
from tests.critic.engines.fake_server import NO_WAIT, VLLM, FakeServer, chat, likely

from .asking import assistant, question, user


async def test_choices_are_read_off_the_likeliest_tokens(engine: Engine, server: FakeServer) -> None:
    server.standing = (200, {}, likely(B=-0.5, A=-1.25, C=-4.0))
    (score,) = await engine.score(question("Which?"))
    assert score.values == (-1.25, -0.5)
    (body,) = server.asked
    assert "seed" not in body
    assert {key: body[key] for key in ("max_tokens", "logprobs", "top_logprobs", "temperature", "top_p")} == {
        "max_tokens": 1,
        "logprobs": True,
        "top_logprobs": 20,
        "temperature": 1.0,
        "top_p": 1.0,
    }


async def test_vllm_is_asked_for_the_choices_own_tokens(vllm: Engine, server: FakeServer) -> None:
    server.standing = (200, {}, likely(**{"token_id:17": -0.1, "token_id:365": -11.5, "token_id:330": -9.25}))
    assert (await vllm.score(question("Which?")))[0].values == (-9.25, -11.5)
    await vllm.score(question("Which?"))
    assert server.asked[0]["logprob_token_ids"] == [330, 365]
    assert server.asked[0]["return_tokens_as_token_ids"] is True
    assert server.paths.count("POST /tokenize") == 2  # once a choice


async def test_a_choice_of_several_tokens_is_refused(vllm: Engine, server: FakeServer) -> None:
    server.ids["Yes"] = [365, 366]
    with pytest.raises(EngineError, match="'Yes' is 2 tokens"):
        await vllm.score(question("Which?", choices=("A", "Yes")))


@pytest.mark.parametrize("status", [200, 403, 404])
async def test_a_gateway_that_hides_the_ids_leaves_the_likeliest_tokens(server: FakeServer, status: int) -> None:
    server.models = (200, {}, {"data": [VLLM]})
    server.no_ids = (status, {}, {"message": "welcome"})
    engine = open_engine(f"org/model@{server.url}", {})
    assert engine.capabilities[survey.LOGPROBS] == "top 20"
    server.standing = (200, {}, likely(B=-0.5, A=-1.25))
    (score,) = await engine.score(question("Which?"))
    assert score.values == (-1.25, -0.5)
    assert "logprob_token_ids" not in server.asked[0]
    await engine.close()


async def test_ids_that_are_only_late_are_not_given_up(server: FakeServer) -> None:
    server.models = (200, {}, {"data": [VLLM]})
    server.no_ids = (503, NO_WAIT, {})
    engine = open_engine(f"org/model@{server.url}", {"retries": "1"})
    assert engine.capabilities[survey.LOGPROBS] == "unknown"
    server.standing = (200, {}, likely(**{"token_id:1": -1.0, "token_id:2": -2.0}))
    with pytest.raises(EngineError, match="503"):
        await engine.score(question("Which?"))
    server.ids = {"A": [1], "B": [2]}
    assert (await engine.score(question("Which?")))[0].values == (-1.0, -2.0)
    assert engine.capabilities[survey.LOGPROBS] == "by token id"
    await engine.close()


async def test_a_tree_is_read_path_by_path_in_its_order(server: FakeServer) -> None:
    server.queue.extend((200, {}, likely(A=-float(i), B=-9.0)) for i in range(1, 5))
    tree = Node(
        (Message(role="system", content="s"), user("x")),
        children=(
            Node((user("1"),), Choices(("A", "B")), (Node((user("a"),), Choices(("A",))),)),
            Node((user("2"),), children=(Node((user("b"),), Choices(("B", "A"))), question("c"))),
        ),
    )
    engine = open_engine(f"org/model@{server.url}", {"concurrency": "1"})
    scores = await engine.score(tree)
    assert [body["messages"][1]["content"] for body in server.asked] == ["x1", "x1a", "x2b", "x2c"]
    assert [score.values for score in scores] == [(-1.0, -9.0), (-2.0,), (-9.0, -3.0), (-4.0, -9.0)]
    await engine.close()


@pytest.mark.parametrize(
    ("tokens", "expected", "mass"),
    [
        # One of them is not among the likeliest: it is at most as likely as the least of those.
        ({"A": -0.1, "C": -3.0}, (-0.1, -3.0), math.exp(-0.1)),
        ({"C": -0.1, "A": -0.5, "d": -7.5}, (-0.5, -7.5), math.exp(-0.5)),
        ({"C": -0.1, " A": -1.0, "a": -2.0}, (-2.0, -2.0), 0.0),  # neither is: nothing is made up
        ({"C": -0.1, "A": -9999.0, "B": -9999.0}, (-0.1, -0.1), 0.0),  # what servers write for -inf
        ({"A": -1.0, "B": -2.0}, (-1.0, -2.0), math.exp(-1.0) + math.exp(-2.0)),
        ({"A": math.nan, "B": -1.0}, (math.nan, -1.0), None),
    ],
)
async def test_what_is_not_offered_is_not_made_up(
    engine: Engine,
    server: FakeServer,
    tokens: dict[str, float],
    expected: tuple[float, float],
    mass: float | None,
) -> None:
    server.standing = (200, {}, likely(**tokens))
    (score,) = await engine.score(question("Which?"))
    assert score.values == pytest.approx(expected, nan_ok=True)
    assert score.mass == (None if mass is None else pytest.approx(mass))


async def test_a_model_that_ends_its_turn_at_once_is_unreadable(engine: Engine, server: FakeServer) -> None:
    server.standing = (200, {}, chat("", logprobs={"content": []}))
    (score,) = await engine.score(question("Which?"))
    assert score.mass == 0 and all(math.isnan(value) for value in score.values)


def test_tokens_with_the_same_text_are_summed() -> None:
    listed = (("A", math.log(0.25)), ("B", -2.0), ("A", math.log(0.125)))
    position = Position(top_logprobs=tuple(Likely(token=token, logprob=value) for token, value in listed))
    values, mass = position.read(["A", "B"])
    assert values == pytest.approx((math.log(0.375), -2.0))
    assert mass == pytest.approx(0.375 + math.exp(-2))


async def test_a_drawn_token_that_is_not_listed_does_not_count(engine: Engine, server: FakeServer) -> None:
    drawn = {"token": "A", "logprob": -7.0, "top_logprobs": [{"token": "B", "logprob": -0.1}]}
    server.standing = (200, {}, chat("A", "length", logprobs={"content": [drawn]}))
    (score,) = await engine.score(question("Which?"))
    assert score.values == (-0.1, -0.1)
    assert score.mass == pytest.approx(math.exp(-0.1))


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"logprobs": None},
        {"logprobs": {"content": None}},
        {"logprobs": {"content": [{"token": "A", "logprob": 0}]}},
    ],
)
async def test_a_server_without_logprobs_is_known_and_told(server: FakeServer, extra: Any) -> None:
    server.survey_answer = (200, {}, chat("A", "length", **extra))
    engine = open_engine(f"org/model@{server.url}", {})
    assert engine.capabilities[survey.LOGPROBS] == "none"
    with pytest.raises(EngineError, match=r"offers no log-probabilities.*--mode verdict"):
        await engine.score(question("Which?"))
    assert server.asked == []
    await engine.close()


async def test_one_answer_without_the_logprobs_of_the_others_is_asked_for_again(
    engine: Engine, server: FakeServer
) -> None:
    server.queue.append((200, {}, chat("A", "length")))
    server.standing = (200, {}, likely(A=-1.0, B=-2.0))
    assert (await engine.score(question("Which?")))[0].values == (-1.0, -2.0)
    assert len(server.asked) == 2


async def test_the_likelihood_of_a_text_is_refused_before_anything_is_asked(engine: Engine, server: FakeServer) -> None:
    tree = Node((user("x"),), children=(Node((assistant("y"),), OwnTokens()),))
    with pytest.raises(EngineError, match="judge mode logprob"):
        await engine.score(tree)
    assert server.asked == []


async def test_one_failed_read_fails_its_tree_with_the_cause(engine: Engine, server: FakeServer) -> None:
    server.queue.append((400, {}, {"error": {"message": "maximum context length is 3"}}))
    server.standing = (200, {}, likely(A=-1.0, B=-1.0))
    with pytest.raises(RequestTooLong):
        await engine.score(Node((user("x"),), children=(question("1"), question("2"))))
    assert len(server.asked) == 2  # the other read's answer is worth having
