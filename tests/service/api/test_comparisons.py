"""Comparisons through the API: the pipeline's judgements, stored as feedback; what can't be judged is told."""

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from critic.engine import Engine, EngineDown, EngineError, Lane, Node, RequestTooLong, Score, Unavailable, reads
from service import engines as part
from service.answers.judges import ComparisonAnswer
from service.bounds.watching import while_connected
from service.refusals import Refusal
from service.settings import EngineSettings, Settings
from tests.factories import FakeEngine
from tests.service.calls import Api, one_database, problem, running
from tests.service.judges import constitution, in_groups, judged_by, scripted

SHORT, LONG = "The Po.", "The Po, which flows through the north of Italy, among others."


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    return judged_by(
        migrated_url,
        tmp_path,
        judge=scripted(tmp_path, "hash"),
        first=scripted(tmp_path, "first", choose="first"),
        broken=scripted(tmp_path, "broken", fail={"every": 1, "how": "nan"}),
        failing=scripted(tmp_path, "failing", fail={"every": 1, "how": "raise"}),
        short=EngineSettings(spec="verify:max-words=3"),
        away=EngineSettings(spec="hf:/nowhere/at/all"),
    )


async def ask(api: Api, status: int = 201, **more: Any) -> dict[str, Any]:
    body = {"prompt": "Name a river.", "responses": [SHORT, LONG], "constitution": "helpfulness"} | more
    answer = await api.admin.post("/v1/comparisons", json=body)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    if status == 201:
        ComparisonAnswer.model_validate(told)  # the route writes it without pydantic
    return told


async def publish(api: Api, data: dict[str, Any]) -> None:
    assert (await api.admin.post("/v1/constitutions", json=data)).status_code == 201


async def test_the_probability_is_that_of_the_votes(api: Api) -> None:
    await publish(api, constitution())
    [judged] = (await ask(api, constitution="small"))["judgements"]
    expected = [(principle, order) for principle in ("p0", "p1") for order in ("given", "swapped")]
    assert [(vote["principle"], vote["order"]) for vote in judged["votes"]] == expected
    # Equal weights: the logistic of the mean of all log-odds, each clipped to 6.
    mean = sum(max(-6, min(6, vote["log_odds"])) for vote in judged["votes"]) / 4
    assert judged["probability"] == pytest.approx(1 / (1 + math.exp(-mean)))
    assert judged["outcome"] == ("tie" if abs(judged["probability"] - 0.5) < 0.02 else "preference")


async def test_a_rule_decides_by_its_worth(api: Api) -> None:
    told = await ask(api, engine="short")
    [judged] = told["judgements"]
    assert told["mode"] == "rm" and told["judge"] == "verify:max-words=3"
    assert judged["probability"] == pytest.approx(1 / (1 + math.exp(-4)))  # rewards 4 and 0
    assert told["rankings"] == [] and judged["votes"][0]["values"] == [4.0, 0.0]


async def test_several_responses_are_ranked_and_equals_share_a_rank(api: Api) -> None:
    told = await ask(api, engine="short", responses=[LONG, SHORT, "The Nile."])
    [ranking] = told["rankings"]
    assert ranking["ranks"] == [2, 1, 1]
    assert ranking["strengths"][1] == pytest.approx(ranking["strengths"][2])
    pairs = {(judged["first"], judged["second"]): judged["probability"] for judged in told["judgements"]}
    assert pairs == {(0, 1): pytest.approx(0.01798621), (0, 2): pytest.approx(0.01798621), (1, 2): 0.5}


async def test_a_judge_that_always_says_a_is_a_tie_and_shows_as_bias(api: Api) -> None:
    told = await ask(api, engine="first", principles=2)
    [judged] = told["judgements"]
    assert (judged["outcome"], judged["probability"]) == ("tie", 0.5)
    assert told["bias"]["same_position"] == {"share": 1.0, "of": 2}
    assert told["bias"]["first_lean"] == {"share": 1.0, "of": 4}
    assert told["bias"]["order_disagreement"] == {"share": 1.0, "of": 1}


async def test_what_can_not_be_read_is_an_outcome_of_its_own(api: Api) -> None:
    told = await ask(api, engine="broken", principles=1)
    [judged] = told["judgements"]
    assert (judged["outcome"], judged["probability"]) == ("unreadable", None)
    assert all(vote["log_odds"] is None and "nan" in vote["raw"] for vote in judged["votes"])
    assert told["bias"]["unreadable"] == {"share": 1.0, "of": 2}
    ranked = await ask(api, engine="broken", principles=1, responses=["a", "b", "c"])
    assert ranked["rankings"] == [] and ranked["dropped"][0]["reason"] == "unreadable"


async def test_groups_are_judged_apart(api: Api) -> None:
    await publish(api, in_groups("shared", "gardeners", "cooks"))
    told = await ask(api, constitution="shared", responses=["a", "b", "c"])
    assert [judged["group"] for judged in told["judgements"]] == ["gardeners", "cooks"] * 3
    assert [ranking["group"] for ranking in told["rankings"]] == ["gardeners", "cooks"]
    assert {vote["principle"] for j in told["judgements"] if j["group"] == "cooks" for vote in j["votes"]} == {"p1"}


async def test_it_is_stored_as_feedback_like_a_persons(api: Api) -> None:
    told = await ask(api, responses=[SHORT, LONG, "The Nile."], principles=1)
    kinds = [(judgement, "comparison") for judgement in told["judgements"]]
    kinds += [(ranking, "ranking") for ranking in told["rankings"]]
    for one, kind in kinds:
        stored = (await api.admin.get(f"/v1/feedback/{one['id']}")).json()
        assert (stored["kind"], stored["source"], stored["annotator"]) == (kind, "ai", told["judge"])
        assert (stored["constitution"], stored["constitution_hash"]) == (
            told["constitution"],
            told["constitution_hash"],
        )
    first = (await api.admin.get(f"/v1/feedback/{told['judgements'][0]['id']}")).json()
    assert [response["text"] for response in first["responses"]] == [SHORT, LONG]
    assert first["label"]["probability"] == told["judgements"][0]["probability"]
    assert len(first["label"]["votes"]) == 2


async def test_principles_by_id_by_number_or_all(api: Api) -> None:
    await publish(api, constitution(principles=4))
    for wanted, expected in ((["p3", "p1"], {"p1", "p3"}), ("all", {"p0", "p1", "p2", "p3"})):
        [judged] = (await ask(api, constitution="small", principles=wanted))["judgements"]
        assert {vote["principle"] for vote in judged["votes"]} == expected
    drawn = []
    for seed in range(8):
        [judged] = (await ask(api, constitution="small", principles=2, seed=seed))["judgements"]
        drawn.append(frozenset(vote["principle"] for vote in judged["votes"]))
    assert {len(principles) for principles in drawn} == {2} and len(set(drawn)) > 1


async def test_the_same_question_has_the_same_answer_in_every_form(api: Api) -> None:
    messages = [{"role": "user", "content": "Name a river."}]
    forms: list[Any] = ["Name a river.", messages, {"messages": messages}]
    answers = [await ask(api, prompt=prompt, responses=[SHORT, {"text": LONG, "model": "m"}]) for prompt in forms]
    assert len({judged["probability"] for one in answers for judged in one["judgements"]}) == 1


@one_database
@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"engine": "nobody"}, "engine"),
        ({"engine": "openai:gpt@http://169.254.169.254/latest"}, "engine"),
        ({"engine": "scripted:/etc/passwd"}, "engine"),
        ({"engine": "models/nobody"}, "engine"),
        ({"constitution": "nobody"}, "constitution"),
        ({"constitution": "helpfulness@9.9.9"}, "constitution"),
        ({"constitution": "../../../etc/passwd"}, "constitution"),
        ({"principles": ["nothing"]}, "/principles"),
        ({"principles": 0}, "/principles"),
        ({"mode": "contrast?weights=/etc/passwd"}, "mode"),
        ({"mode": "rm"}, "mode"),
        ({"engine": "short", "mode": "logprob"}, "mode"),
        ({"responses": [SHORT, SHORT]}, "/responses/1"),
        ({"responses": [SHORT, " \n"]}, "/responses/1"),
        ({"responses": [SHORT]}, "/responses"),
        ({"responses": [str(i) for i in range(11)]}, "/responses"),
        ({"prompt": ""}, "/prompt"),
        ({"prompt": [{"role": "assistant", "content": "Hello."}]}, "/prompt"),
        ({"prompt": "x" * 1_000_001}, ""),
        ({"tie_band": 0.5}, "/tie_band"),
        ({"seed": -1}, "/seed"),
        ({"temprature": 1}, "/temprature"),
    ],
)
async def test_what_can_not_be_asked_is_refused_with_its_place(api: Api, more: dict[str, Any], where: str) -> None:
    document = await ask(api, 422, **more)
    assert where == "" or any(fault["where"].startswith(where) for fault in document["faults"]), document


@one_database
@pytest.mark.parametrize("body", ['{"prompt": "a\\u0000b"}', '{"prompt": "\\ud800"}', "{", b'{"prompt": "\xff"}'])
async def test_what_no_database_can_hold_is_refused_at_the_door(api: Api, body: str | bytes) -> None:
    headers = {"Content-Type": "application/json"}
    problem(await api.admin.post("/v1/comparisons", content=body, headers=headers), 400, "malformed")


async def test_an_engine_that_fails_costs_this_request_only(api: Api) -> None:
    document = await ask(api, 502, engine="failing")
    assert document["type"] == "engine_error" and "scripted failure" in document["detail"]
    await ask(api)


async def test_an_engine_that_can_not_be_opened_is_503_and_tells_no_path(api: Api) -> None:
    body = {"prompt": "Name a river.", "responses": [SHORT, LONG], "constitution": "helpfulness", "engine": "away"}
    answer = await api.admin.post("/v1/comparisons", json=body)
    problem(answer, 503, "engine_unavailable")
    assert int(answer.headers["retry-after"]) >= 1 and "nowhere" not in answer.text


@one_database
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestTooLong("the chat holds 9000 tokens; the model's context is 2048"), 422),
        (Unavailable("the server is busy", 7), 503),
        (EngineDown("nobody is there any more"), 503),
        (EngineError("it can't"), 502),
    ],
)
async def test_the_engines_errors_keep_their_meaning(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    class Failing(FakeEngine):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            assert lane == "interactive"
            raise error

    def open_engine(spec: object) -> Engine:
        return Failing()

    monkeypatch.setattr(part, "open_engine", open_engine)
    body = {"prompt": "Name a river.", "responses": [SHORT, LONG], "constitution": "helpfulness", "engine": "judge"}
    answer = await api.admin.post("/v1/comparisons", json=body)
    assert answer.status_code == status and answer.json()["detail"] == str(error)
    assert ("retry-after" in answer.headers) == (status == 503)
    assert (await api.admin.get("/v1/feedback")).json()["items"] == []


async def test_an_engine_that_writes_nul_is_told_as_its_fault(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "open_engine", lambda spec: FakeEngine("judge\0"))
    monkeypatch.setattr(FakeEngine, "score", _nothing_read)
    document = await ask(api, 502)
    assert "can't be stored" in document["detail"]


async def _nothing_read(engine: FakeEngine, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
    return tuple(Score((math.nan, math.nan), 1) for _ in reads(tree))


async def test_a_repeated_request_has_one_effect(api: Api) -> None:
    body = {"prompt": "Name a river.", "responses": [SHORT, LONG], "constitution": "helpfulness", "principles": 1}
    headers = {"Idempotency-Key": "once"}
    first, again = [await api.admin.post("/v1/comparisons", json=body, headers=headers) for _ in range(2)]
    assert first.json() == again.json() and again.headers["idempotency-replayed"] == "true"
    other = await api.admin.post("/v1/comparisons", json=body | {"seed": 5}, headers=headers)
    problem(other, 422, "idempotency_mismatch")
    assert len((await api.admin.get("/v1/feedback")).json()["items"]) == 1


async def test_equal_requests_at_once_pay_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Node] = []

    class Slow(FakeEngine):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            asked.append(tree)
            await asyncio.sleep(0.05)
            return tuple(Score((-1.0, -2.0), 1) for _ in reads(tree))

    monkeypatch.setattr(part, "open_engine", lambda spec: Slow())
    body = {"prompt": "Name a river.", "responses": [SHORT, LONG], "constitution": "helpfulness", "principles": 1}
    headers = {"Idempotency-Key": "at once"}
    sent = [api.admin.post("/v1/comparisons", json=body, headers=headers) for _ in range(6)]
    answers = await asyncio.gather(*sent)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    paid = len(asked)
    await api.admin.post("/v1/comparisons", json=body | {"seed": 1}, headers={"Idempotency-Key": "alone"})
    assert len(asked) == 2 * paid  # six together asked for as much as one alone
    replayed = [answer for answer in answers if "idempotency-replayed" in answer.headers]
    assert len(replayed) == 5


async def test_it_needs_the_scope_feedback(api: Api) -> None:
    body = {"prompt": "Name a river.", "responses": [SHORT, LONG], "constitution": "helpfulness", "principles": 1}
    for scope in ("read", "label", "jobs"):
        problem(await (await api.client(scope)).post("/v1/comparisons", json=body), 403, "forbidden")
    assert (await (await api.client("feedback")).post("/v1/comparisons", json=body)).status_code == 201


class Leaving:
    """A request whose client goes away after so many seconds."""

    def __init__(self, after: float) -> None:
        self._after = after

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(self._after)
        return {"type": "http.disconnect"}


async def test_work_ends_where_the_client_goes_away() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.set()
            raise

    with pytest.raises(Refusal):
        await while_connected(Leaving(0.01), work())
    assert ended.is_set()


async def test_work_that_is_done_is_answered() -> None:
    async def work(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    for seconds in (0.0, 0.2):
        assert await while_connected(Leaving(60), work(seconds)) == seconds


@pytest.mark.slow
async def test_the_embedded_model_judges_for_real(embedded_model: Path, tmp_path: Path) -> None:
    settings = judged_by("", tmp_path, embedded=EngineSettings(spec="embedded?dtype=float32"))
    async with running(settings) as api:
        answers = await asyncio.gather(*(ask(api, principles=2, seed=seed) for seed in range(3)))
        shown = (await api.admin.get("/v1/engines")).json()["items"]
    assert {one["mode"] for one in answers} == {"contrast"}
    assert all(judged["outcome"] in ("preference", "tie") for one in answers for judged in one["judgements"])
    assert shown[0]["open"] and shown[0]["model"] == answers[0]["judge"]
