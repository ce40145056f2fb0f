"""What is read of a server's reply: probabilities, mass and confidence, or why there are none."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from critic.engine import Decision, DecisionOption, EngineError, Score
from critic.server.typed.decision_engine import LEAST, REFUSED, UNANSWERED
from tests.critic.engines.fake_server import NO_WAIT
from tests.critic.engines.typed.asking import HOW, KIND, WHICH, about
from tests.critic.engines.typed.conftest import Opener
from tests.critic.engines.typed.pretended import DecisionServer, Reply

SHARES = {"Which is kinder?": [0.25, 0.75], "It is kind.": [0.9, 0.1], "How kind is it?": [0.5, 0.3, 0.2]}


def known(text: str, instructions: str, options: list[str]) -> list[float]:
    return SHARES[instructions]


def logs(*shares: float) -> Any:
    return pytest.approx([math.log(share) for share in shares])


def change(**more: object) -> Callable[[Reply], Reply]:
    """Change the reply's first answer, in either shape."""

    def spoil(reply: Reply) -> Reply:
        answers = reply["answers"]
        first = answers[0] if isinstance(answers, list) else next(iter(answers.values()))
        first.update(more)
        return reply

    return spoil


async def test_log_probabilities_stand_in_the_order_of_the_question(server: DecisionServer, opened: Opener) -> None:
    server.weigh = known
    which, kind, how = await opened().score(about("TEXT", WHICH, KIND, HOW))
    assert which.values == logs(0.25, 0.75)
    assert kind.values == logs(0.9, 0.1)
    assert how.values == logs(0.5, 0.3, 0.2)
    assert {score.note for score in (which, kind, how)} == {None}


async def test_mass_and_confidence_are_kept_where_they_are_told(server: DecisionServer, open_as: Opener) -> None:
    told = await open_as("systemone").score(about("TEXT", WHICH, KIND, HOW))
    assert [(score.mass, score.confidence) for score in told] == [(0.97, 0.6)] * 3
    server.mass = None
    [untold] = await open_as("systemone").score(about("TEXT", WHICH))
    assert (untold.mass, untold.confidence) == (None, 0.6)
    which, kind, how = await open_as("decisions").score(about("TEXT", WHICH, KIND, HOW))
    assert [score.mass for score in (which, kind, how)] == [None] * 3
    assert [score.confidence for score in (which, kind, how)] == [0.6, None, 0.6]  # a predicate's is not told


async def test_a_predicate_s_probability_alone_is_enough(server: DecisionServer, open_as: Opener) -> None:
    server.weigh = known
    server.spoil = change(probabilities={})
    [score] = await open_as("systemone").score(about("TEXT", KIND))
    assert score.values == logs(0.9, 0.1)


@pytest.mark.parametrize("shares", [[1.0, 0.0], [0.0, 1.0]])
async def test_a_rounded_zero_is_no_certainty(server: DecisionServer, opened: Opener, shares: list[float]) -> None:
    server.weigh = lambda text, instructions, options: shares
    for score in await opened().score(about("TEXT", WHICH, KIND)):
        assert score.values == logs(*(share or LEAST for share in shares))


async def test_probabilities_may_be_rounded_to_hundredths(server: DecisionServer, opened: Opener) -> None:
    server.weigh = lambda text, instructions, options: [0.33, 0.33, 0.33]
    [score] = await opened().score(about("TEXT", HOW))
    assert score.values == logs(0.33, 0.33, 0.33)


async def test_one_refusal_is_that_question_s_outcome(server: DecisionServer, open_as: Opener) -> None:
    server.weigh = lambda *asked: None if asked[1] == KIND.instructions else known(*asked)
    which, refused, how = await open_as("decisions").score(about("TEXT", WHICH, KIND, HOW))
    assert which.values == logs(0.25, 0.75) and how.values == logs(0.5, 0.3, 0.2)
    assert refused.note == REFUSED
    assert len(refused.values) == 2 and all(map(math.isnan, refused.values))
    assert len(server.asked) == 1  # it is not asked again


async def test_the_order_of_answers_and_options_does_not_matter(server: DecisionServer, open_as: Opener) -> None:
    def turned(reply: Reply) -> Reply:
        for answer in reply["answers"]:
            answer["probabilities"] = answer.get("probabilities", [])[::-1]
        return reply | {"answers": reply["answers"][::-1]}

    server.weigh, server.spoil = known, turned
    which, kind, how = await open_as("decisions").score(about("TEXT", WHICH, KIND, HOW))
    assert which.values == logs(0.25, 0.75) and kind.values == logs(0.9, 0.1) and how.values == logs(0.5, 0.3, 0.2)


async def test_a_question_that_was_left_out_is_unreadable(server: DecisionServer, opened: Opener) -> None:
    def shortened(reply: Reply) -> Reply:
        answers = reply["answers"]
        kept = answers[1:] if isinstance(answers, list) else dict([*answers.items()][1:])
        return reply | {"answers": kept}

    server.spoil = shortened
    left_out, kind = await opened().score(about("TEXT", WHICH, KIND))
    assert left_out.note == UNANSWERED and all(map(math.isnan, left_out.values))
    assert kind.note is None and len(server.asked) == 1


@pytest.mark.parametrize("name", ["someone-else", None])
async def test_an_answer_to_another_question_spoils_the_reply(
    server: DecisionServer, opened: Opener, name: str | None
) -> None:
    def renamed(reply: Reply) -> Reply:
        answers = reply["answers"]
        if isinstance(answers, list):
            answers[0]["name"] = name
        else:
            answers["someone-else"] = answers.pop(next(iter(answers)))
        return reply

    server.spoil = renamed
    with pytest.raises(EngineError, match="not asked, or one twice"):
        await opened(retries=2).score(about("TEXT", WHICH, KIND))
    assert len(server.asked) == 3  # it may pass, so it was tried again


async def test_a_question_that_is_answered_twice_spoils_the_reply(server: DecisionServer, open_as: Opener) -> None:
    server.spoil = lambda reply: reply | {"answers": reply["answers"] * 2}
    with pytest.raises(EngineError, match="not asked, or one twice"):
        await open_as("decisions", retries=0).score(about("TEXT", WHICH))


@pytest.mark.parametrize(
    ("shares", "why"),
    [
        ([math.nan, 0.5], "no probabilities"),
        ([-0.2, 1.2], "no probabilities"),
        ([math.inf, 0.0], "no probabilities"),
        ([0.8, 0.8], "do not sum to 1"),
        ([0.1, 0.2], "do not sum to 1"),
    ],
)
async def test_what_is_no_distribution_is_unreadable(
    server: DecisionServer, opened: Opener, shares: list[float], why: str
) -> None:
    server.weigh = lambda text, instructions, options: shares if instructions == WHICH.instructions else [0.5, 0.5]
    bad, good = await opened().score(about("TEXT", WHICH, KIND))
    assert why in (bad.note or "") and all(map(math.isnan, bad.values))
    assert good.values == logs(0.5, 0.5)


@pytest.mark.parametrize("mass", [math.nan, 1.5, -1.0])
async def test_a_mass_that_is_none_is_unreadable(server: DecisionServer, open_as: Opener, mass: float) -> None:
    server.mass = 0.9
    engine = open_as("systemone")
    server.mass = mass
    [score] = await engine.score(about("TEXT", WHICH))
    assert "no probabilities" in (score.note or "")


async def test_an_answer_of_another_type_is_unreadable(server: DecisionServer, open_as: Opener) -> None:
    for kind, typed in (("decisions", {"type": "predicate", "probability": 0.5}), ("systemone", {"type": "noul"})):
        server.spoil = change(**typed, noul=0.5)
        [score] = await open_as(kind).score(about("TEXT", WHICH))
        assert "answered a choice in another form: type: Input should be 'choice'" in (score.note or "")


@pytest.mark.parametrize("answer", [{"type": "choice", "choice": "first"}, {"type": "error"}, {}, None, "first"])
async def test_an_answer_in_another_form_costs_no_other(server: DecisionServer, opened: Opener, answer: object) -> None:
    def spoiled(reply: Reply) -> Reply:
        answers = reply["answers"]
        if isinstance(answers, list):
            answers[0] = {"name": answers[0]["name"]} | (answer if isinstance(answer, dict) else {"choice": answer})
        else:
            answers[next(iter(answers))] = answer
        return reply

    server.weigh, server.spoil = known, spoiled
    bad, kind = await opened().score(about("TEXT", WHICH, KIND))
    assert "in another form" in (bad.note or "") and all(map(math.isnan, bad.values))
    assert kind.values == logs(0.9, 0.1) and len(server.asked) == 1


async def test_a_refusal_is_known_in_either_shape(server: DecisionServer, opened: Opener) -> None:
    server.spoil = change(type="refusal")
    refused, kind = await opened().score(about("TEXT", WHICH, KIND))
    assert refused.note == REFUSED and kind.note is None


async def test_a_reply_without_any_answer_may_pass(server: DecisionServer, opened: Opener) -> None:
    server.spoil = lambda reply: reply | {"answers": type(reply["answers"])()}
    with pytest.raises(EngineError, match="answered none of the questions"):
        await opened(retries=1).score(about("TEXT", WHICH, KIND))
    assert len(server.asked) == 2


async def test_answers_about_other_options_are_unreadable(server: DecisionServer, open_as: Opener) -> None:
    told = {
        "decisions": [{"value": "first", "probability": 0.5}, {"value": "third", "probability": 0.5}],
        "systemone": {"first": 0.5, "third": 0.5},
    }
    for kind, probabilities in told.items():
        server.spoil = change(probabilities=probabilities)
        [score] = await open_as(kind).score(about("TEXT", WHICH))
        assert "'third'" in (score.note or "") and all(map(math.isnan, score.values))


async def test_a_boolean_is_not_the_option_of_that_name(server: DecisionServer, open_as: Opener) -> None:
    server.spoil = change(probabilities=[{"value": True, "probability": 0.5}, {"value": "no", "probability": 0.5}])
    [score] = await open_as("decisions").score(
        about("TEXT", Decision("choice", "Is it?", (DecisionOption("true"), DecisionOption("no"))))
    )
    assert "[True, 'no']" in (score.note or "")


async def test_an_error_under_the_status_200_is_told_in_its_words(server: DecisionServer, opened: Opener) -> None:
    server.queue.append((200, {}, {"error": {"message": "no room left for you"}}))
    with pytest.raises(EngineError, match="no room left for you"):
        await opened(retries=0).score(about("TEXT", WHICH))


@pytest.mark.parametrize("body", [{"answers": "none"}, b"<html>", {}])
async def test_something_else_than_decisions_may_pass(server: DecisionServer, opened: Opener, body: object) -> None:
    server.queue.extend([(200, NO_WAIT, body)] * 2)
    [score] = await opened().score(about("TEXT", WHICH))
    assert score.note is None and len(server.asked) == 3
    server.queue.extend([(200, NO_WAIT, body)])
    with pytest.raises(EngineError, match="something else than typed decisions"):
        await opened(retries=0).score(about("TEXT", WHICH))


async def test_too_many_requests_are_waited_for(server: DecisionServer, opened: Opener) -> None:
    server.queue.extend([(429, NO_WAIT, {"error": {"message": "slow down"}})] * 2)
    [score] = await opened().score(about("TEXT", WHICH))
    assert score == Score(score.values, 0, score.mass, 0.6)
    assert len(server.asked) == 3


async def test_one_start_takes_the_answers_of_one_model(server: DecisionServer, opened: Opener) -> None:
    server.spoil = lambda reply: reply | {"model": "another"}
    with pytest.raises(EngineError, match="another model answered: 'another', and 'org/model' before"):
        await opened().score(about("TEXT", WHICH))


async def test_tokens_and_their_price_are_counted(server: DecisionServer, opened: Opener) -> None:
    engine = opened(input_price=2, output_price=10)
    before = engine.usage.cost
    await engine.score(about("TEXT", WHICH, KIND))
    assert engine.usage.cost - before == pytest.approx((70 * 2 + 2 * 10) / 1e6)
    server.spoil = lambda reply: reply | {"usage": None}
    with pytest.raises(EngineError, match="no token counts"):
        await engine.score(about("TEXT", WHICH))
