"""What a server of typed decisions is asked, and how often."""

from math import log

import pytest

from critic.calls.wrappers import load
from critic.engine import Choices, Decision, DecisionOption, EngineError, Node, OwnTokens, Request, Reward, Sampling
from critic.records import Message
from critic.server.typed import decisions, systemone
from tests.critic.engines.typed.asking import HOW, KIND, WHICH, about
from tests.critic.engines.typed.conftest import Opener
from tests.critic.engines.typed.pretended import DecisionServer


def choice(options: int) -> Decision:
    return Decision("choice", "Which?", tuple(DecisionOption(f"option {i}") for i in range(options)))


def score(levels: int) -> Decision:
    return Decision("score", "How much?", tuple(DecisionOption(f"level {i}") for i in range(levels)))


async def test_decisions_are_asked_in_the_shape_of_its_api(server: DecisionServer, open_as: Opener) -> None:
    await open_as("decisions").score(about("TEXT", WHICH, KIND, HOW))
    [body] = server.asked
    names = [question.pop("name") for question in body["questions"]]
    assert len(set(names)) == 3
    assert body == {
        "model": "org/model",
        "input": "TEXT",
        "questions": [
            {
                "type": "choice",
                "instructions": "Which is kinder?",
                "choices": [{"value": "first"}, {"value": "second", "description": "the later one"}],
            },
            {"type": "predicate", "instructions": "It is kind."},
            {
                "type": "score",
                "instructions": "How kind is it?",
                "levels": [
                    {"label": "not"},
                    {"label": "partly"},
                    {"label": "wholly", "description": "without a fault"},
                ],
            },
        ],
    }
    assert server.paths[-1] == "POST /v1/decisions"


async def test_systemone_is_asked_in_the_shape_of_its_api(server: DecisionServer, open_as: Opener) -> None:
    await open_as("systemone").score(about("TEXT", WHICH, KIND, HOW))
    [body] = server.asked
    assert [*body["questions"].values()] == [
        {
            "type": "choice",
            "instructions": "Which is kinder?",
            "criteria": {"first": None, "second": "the later one"},
        },
        {"type": "noul", "instructions": "It is kind."},
        {"type": "score", "instructions": "How kind is it?", "criteria": ["not", "partly", "wholly: without a fault"]},
    ]
    # The order of the options is that of the labels, so it must survive the way to the server.
    assert [*next(iter(body["questions"].values()))["criteria"]] == ["first", "second"]
    assert {key: body[key] for key in body if key != "questions"} == {"model": "org/model", "state": "TEXT"}
    assert server.paths[-1] == "POST /v1/systemone"


async def test_questions_about_one_text_go_in_one_request(server: DecisionServer, opened: Opener) -> None:
    texts = tuple(
        Node((Message(role="user", content=text),), children=(Node((), KIND), Node((), HOW))) for text in "XY"
    )
    engine = opened()
    assert len(await engine.score(Node((), children=texts))) == 4
    assert [len(body["questions"]) for body in server.asked] == [2, 2]
    assert (engine.whole_trees, engine.usage.calls) == (True, 3)  # with the first question, at opening


async def test_more_questions_than_fit_are_split(server: DecisionServer, opened: Opener) -> None:
    many = [Decision("predicate", f"It is {i}.") for i in range(65)]
    server.weigh = lambda text, instructions, options: [0.9, 0.1] if "64" in instructions else [0.5, 0.5]
    scores = await opened().score(about("TEXT", *many))
    assert [len(body["questions"]) for body in server.asked] == [64, 1]
    assert [round(score.values[0], 6) for score in scores] == [round(log(0.5), 6)] * 64 + [round(log(0.9), 6)]


async def test_a_question_that_stands_twice_is_asked_once(server: DecisionServer, opened: Opener) -> None:
    first, other, again = await opened().score(about("TEXT", KIND, HOW, KIND))
    assert first == again != other
    assert len(server.asked[0]["questions"]) == 2


async def test_a_question_s_name_depends_on_nothing_else(server: DecisionServer, open_as: Opener) -> None:
    engine = open_as("systemone")
    await engine.score(about("TEXT", WHICH, KIND))
    await engine.score(about("OTHER TEXT", HOW, KIND))
    names = [list(body["questions"]) for body in server.asked]
    assert names[0][1] == names[1][1]
    assert len({*names[0], *names[1]}) == 3


async def test_control_tokens_are_text_wherever_they_stand(server: DecisionServer, open_as: Opener) -> None:
    hostile = Decision("choice", "<|im_end|>Which?", (DecisionOption("a</think>"), DecisionOption("b", "[INST]")))
    await open_as("decisions").score(about("<|im_end|>TEXT", hostile))
    [body] = server.asked
    assert body["input"] == "< |im_end|>TEXT"
    [question] = body["questions"]
    assert question["instructions"] == "< |im_end|>Which?"
    assert question["choices"] == [{"value": "a< /think>"}, {"value": "b", "description": "[ INST]"}]


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (choice(1), "a choice of 1 options"),
        (score(1), "a score of 1 options"),
        (score(11), "takes 2 to 10"),
        (Decision("predicate", "It is.", (DecisionOption("yes"), DecisionOption("no"))), "a predicate of 2 options"),
    ],
)
async def test_a_question_without_room_is_not_sent(
    server: DecisionServer, opened: Opener, read: Decision, message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        await opened().score(about("TEXT", KIND, read))
    assert server.asked == []


async def test_how_many_options_there_may_be(server: DecisionServer, open_as: Opener) -> None:
    most = {"decisions": decisions.API.most_choices, "systemone": systemone.API.most_choices}
    assert most == {"decisions": 255, "systemone": 26}
    for kind, count in most.items():
        engine = open_as(kind)
        [score] = await engine.score(about("TEXT", choice(count)))
        assert len(score.values) == count
        with pytest.raises(EngineError, match=f"{kind} takes 2 to {count}"):
            await engine.score(about("TEXT", choice(count + 1)))


async def test_it_writes_nothing_and_reads_nothing_else(server: DecisionServer, opened: Opener) -> None:
    engine = opened()
    user, assistant = Message(role="user", content="hi"), Message(role="assistant", content="hello")
    with pytest.raises(EngineError, match="writes no text"):
        await engine.complete(Request((user,), Sampling(1), 0))
    for read in (Choices(("A", "B")), OwnTokens(), Reward()):
        with pytest.raises(EngineError, match=f"can't read {type(read).__name__}; judge with --mode decision"):
            await engine.score(Node((user,), read))
    for chat in ((), (user, assistant), (Message(role="system", content="s"), user)):
        with pytest.raises(EngineError, match="about one text"):
            await engine.score(Node(chat, KIND))
    assert server.asked == []


def test_the_load_of_a_text_s_questions_is_one_request() -> None:
    one, both = load(about("x" * 400, KIND)), load(about("x" * 400, KIND, WHICH))
    assert (one.requests, both.requests) == (1, 1)
    assert one.prompt > 100  # 400 bytes
    assert both.prompt > 2 * 100
    assert (one.written, both.written) == (1, 2)
