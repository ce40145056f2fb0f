"""Opening an engine of typed decisions: what is found, and what is told at once."""

import pytest

from base.errors import InputError
from critic.engines import open_engine, parse_spec
from critic.server.typed.decision_engine import _PROBE, _name
from tests.critic.engines.fake_server import KEY, NO_WAIT, VLLM
from tests.critic.engines.typed.conftest import Opener
from tests.critic.engines.typed.pretended import DecisionServer

NOT_SUPPORTED = "The model does not support the structured decision API"


def test_what_is_found_stands_in_the_capabilities(server: DecisionServer, open_as: Opener, kind: str) -> None:
    server.models = (200, {}, {"data": [VLLM]})
    engine = open_as(kind)
    assert engine.capabilities == {
        "server": "vllm",
        "context length": "4096",
        "model": "org/model",
        "typed decisions": f"/{kind}",
        "answers vary by": "the server's batches, prefix cache and version",
        "log-probabilities": "none",
        "likelihoods of texts": "none",
        "structured output": "none",
        "label mass": "0.97" if kind == "systemone" else "not told",
    }
    assert engine.identity.name == "org/model"
    assert engine.identity == open_as(kind).identity
    assert engine.identity != open_as({"decisions": "systemone", "systemone": "decisions"}[kind]).identity


@pytest.mark.parametrize("status", [501, 404, 400])
def test_a_server_without_typed_decisions_is_told_with_what_works_there(
    server: DecisionServer, opened: Opener, kind: str, status: int
) -> None:
    server.probe = (status, {}, {"error": {"message": NOT_SUPPORTED, "code": status}})
    with pytest.raises(InputError) as told:
        opened()
    assert f"answers no typed decisions for this model: {server.url}: the server answers {status}: {NOT_SUPPORTED}" in (
        told.value.problem
    )
    assert told.value.where == f"{kind}:org/model"
    assert f"openai:org/model@{server.url} in --mode logprob" in (told.value.fix or "")


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ((500, NO_WAIT, {"error": {"message": "out of memory"}}), "did not answer a first question: .*out of memory"),
        ((401, {}, {"error": {"message": "no"}}), "did not answer a first question: .*401"),
        ((200, {}, {"choices": []}), "something else than typed decisions"),
        ((200, {}, {"answers": {}}), "something else|none of the questions"),
    ],
)
def test_a_server_that_can_t_answer_is_told_before_the_first_row(
    server: DecisionServer, opened: Opener, probe: object, message: str
) -> None:
    server.probe = probe  # type: ignore[assignment]
    with pytest.raises(InputError, match=f"(?s){message}"):
        opened(retries=1)
    assert server.asked == []


def test_the_key_is_sent_and_never_told(
    server: DecisionServer, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", KEY)
    server.probe = (403, {}, {"error": {"message": f"the key {KEY} is not known"}})
    with pytest.raises(InputError) as told:
        opened(key_env="OTHER_KEY")
    assert KEY not in str(told.value) and "OTHER_KEY, which is set, but refused" in str(told.value)
    assert set(server.keys) == {f"Bearer {KEY}"}


def test_a_spec_that_is_wrong_names_its_own_kind(server: DecisionServer, kind: str) -> None:
    for target, message in (
        ("m@nowhere", f"Write {kind}:MODEL@URL"),
        (f"m@{server.url}?size=3", "unknown option 'size'"),
        (f"m@{server.url}?think=false", "unknown option 'think'"),  # these servers have no thought, or their own
    ):
        with pytest.raises(InputError, match=f"(?s){message}"):
            open_engine(parse_spec(f"{kind}:{target}"))
    with pytest.raises(InputError, match=f"Write {kind}:MODEL@URL"):
        parse_spec(kind)


def test_a_model_that_is_not_listed_is_tried_all_the_same(server: DecisionServer, kind: str) -> None:
    spec = parse_spec(f"{kind}:hidden@{server.url}?retries=0")
    assert open_engine(spec).identity.name == "hidden"
    server.probe = (404, {}, {"error": {"message": "no such model"}})
    with pytest.raises(InputError, match=r"(?s)has no model 'hidden'.*no such model.*It serves: org/model"):
        open_engine(spec)


def test_another_model_s_answers_are_refused_at_opening(server: DecisionServer) -> None:
    options = {"green": 0.9, "blue": 0.1}

    def named(model: str) -> None:
        name = _name(_PROBE)
        answers = {name: {"type": "choice", "choice": "green", "probabilities": options}}
        server.probe = (200, {}, {"model": model, "answers": answers})

    spec = parse_spec(f"systemone:hidden@{server.url}")
    named("hidden-2026-11")  # the version behind an alias
    assert open_engine(spec).capabilities["model"] == "hidden-2026-11"
    named("org/model")
    with pytest.raises(InputError, match="it answered as 'org/model'"):
        open_engine(spec)
