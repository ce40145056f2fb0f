"""What administrators read in their terminals doesn't reach clients, whatever raised it."""

import errno
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from critic.engine import EngineError, RequestTooLong, RunStopped, Unavailable
from service.outward.public import public
from service.refusals import Conflict
from tests.service.calls import Api

SECRETS = ("10.0.0.7", "8123", "inference.internal", "/srv", "VAULT_KEY", "COMPANY_VAR", "/tmp", "/opt/ada")
HOME = str(Path(tempfile.gettempdir()) / "ada" / "models" / "judge")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("no answer from http://inference.internal:8123/v1: refused", "no answer from (its address): refused"),
        ("[Errno 111] Connect call failed ('10.0.0.7', 8123)", "[Errno 111] Connect call failed ('(its address))"),
        ("10.0.0.7:8123 went away", "(its address) went away"),
        ("[::1]:8123 and localhost:8123", "(its address) and (its address)"),
        ("HTTPConnectionPool(host='inference.internal', port=8123)", "HTTPConnectionPool(host=(its address))"),
        ("set the environment variable COMPANY_VAR", "set the environment variable (its name)"),
        ("add ?key_env=COMPANY_VAR", "add ?key_env=(its name)"),
        ("OPENAI_API_KEY is not set", "(its name) is not set"),
        (f"{HOME}/config.json is missing", "config.json is missing"),
        (f"no such file: '{HOME}'", "no such file: 'judge'"),
        ("postgresql://cai:secret@db/cai is away", "(its address) is away"),
    ],
)
def test_addresses_paths_and_names_go(said: str, shown: str) -> None:
    assert public(said) == shown


@pytest.mark.parametrize(
    "said",
    [
        "/responses/0: the response is empty",
        "GET /v1/engines lists them.",
        "prompt and responses have 1,200,000 characters together, more than 1,000,000",
        "there is no constitution 'helpfulness@2.0.0'",
        "input.jsonl:3: not JSON: Expecting value: line 1 column 1 (char 0)",
        "the limit of 64 tokens was reached before an answer",
        "the API key expired at 2026-11-28T12:00:00+00:00",
    ],
)
def test_what_says_nothing_of_the_machine_stays(said: str) -> None:
    assert public(said) == said


TEXT = (
    "http://inference.internal:8123/v1 (10.0.0.7:8123) refused: the environment variable COMPANY_VAR is not set, "
    f"see VAULT_KEY in {HOME}"
)
ERRORS: list[Exception] = [
    EngineError(TEXT),
    Unavailable(TEXT),
    RunStopped(TEXT),
    RequestTooLong(TEXT),
    InputError(TEXT, where=HOME, fix=TEXT),
    Conflict(TEXT, TEXT),
    OSError(errno.EACCES, TEXT, HOME),
    socket.gaierror(TEXT),
    RuntimeError(TEXT),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_no_route_tells_what_was_raised_below_it(
    api: Api, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(type(api.service.engines), "get", fails)
    monkeypatch.setattr(type(api.service.constitutions), "get", fails)
    asked = {"prompt": "Name a river.", "response": "The Po.", "constitution": "helpfulness"}
    pair = {"prompt": "Name a river.", "responses": ["a", "b"], "constitution": "helpfulness"}
    label = {"kind": "demonstration", "prompt": "a", "label": "b", "constitution": "helpfulness@9.9.9"}
    rewards = {"prompts": ["a"], "responses": ["b"]}
    bodies = {"critiques": asked, "comparisons": pair, "rewards": rewards, "feedback": label}
    for name, body in bodies.items():
        try:
            answer = await api.admin.post(f"/v1/{name}", json=body)
        except type(error):
            continue  # the server logs it and answers with a number: httpx's transport raises it here
        assert answer.status_code >= 400, name
        assert not [secret for secret in SECRETS if secret in answer.text], (name, answer.text)


@pytest.mark.parametrize("part", ["a.", "[:", "A_", "1.", "a-", "x://", "host='", "/tmp", "[a", "variable ", "a:"])
def test_what_a_client_makes_long_is_looked_through_once(part: str) -> None:
    """A rule that looks on to the end from every place would take hours for this."""
    public(part * 500_000)


async def test_an_answer_quotes_no_more_of_a_request_than_a_person_reads(api: Api) -> None:
    name = "a." * 15_000  # the head of a request may have 32 KiB
    for path in (f"/v1/jobs/{name}", f"/v1/models/{name}"):
        refused = await api.admin.get(path)
        assert refused.status_code in (404, 422) and len(refused.content) < 10_000
    refused = await api.with_key(None).delete(f"/v1/jobs/{name}")
    assert refused.status_code == 405 and len(refused.content) < 10_000
