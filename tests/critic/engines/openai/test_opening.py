"""Opening the `openai` engine: its identity, its options, and servers and keys that are refused."""

import asyncio
import socket
import subprocess
import sys

import pytest

from base.errors import InputError
from critic.engines import open_engine as open_spec
from critic.engines import parse_spec
from critic.server.chat_opening import open_engine
from tests.critic.engines.fake_server import KEY, Answer, FakeServer


def test_the_spec_opens_the_engine(server: FakeServer) -> None:
    engine = open_spec(parse_spec(f"openai:org/model@{server.url}?concurrency=3&timeout=5"))
    assert engine.identity.name == "org/model"
    assert engine.identity.settings == ()
    assert server.paths[0] == "GET /v1/models" and server.asked == []
    asyncio.run(engine.close())


def test_importing_the_registry_does_not_import_the_library() -> None:
    code = "import critic.engines, sys; assert 'openai' not in sys.modules; import critic.server.defuse"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_identity_is_kept_over_restarts_and_changes_with_the_weights(server: FakeServer) -> None:
    def revision(**card: object) -> str:
        server.models = (200, {}, {"data": [{"id": "other"}, {"id": "org/model"} | card]})
        engine = open_engine(f"org/model@{server.url}", {})
        asyncio.run(engine.close())
        return engine.identity.revision

    assert revision(created=1, root="/w") == revision(created=2, root="/w", permission=[{"id": "modelperm-9"}])
    assert len({revision(root="/w"), revision(root="/v"), revision(root="/w", parent="base"), revision()}) == 4


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        (
            "m",
            {"colour": "red"},
            "options: key_env, timeout, retries, concurrency, rpm, tpm, input_price, output_price, think, template.KEY",
        ),
        ("m", {"concurrency": "0"}, "concurrency=0 is not a whole number"),
        ("m", {"timeout": "soon"}, "timeout=soon is not a whole number"),
        ("m", {"retries": "-1"}, "retries=-1 is not a whole number"),
        ("m", {"rpm": "0"}, "rpm=0 is not a whole number of at least 1"),
        ("m", {"tpm": "1e3"}, "tpm=1e3 is not a whole number"),
        ("m", {"input_price": "1", "output_price": "nan"}, "output_price=nan is not a price"),
        ("m", {"input_price": "-1", "output_price": "1"}, "input_price=-1 is not a price"),
        ("m", {"output_price": "1"}, "only output_price is given"),
        ("m", {"key_env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE is not set"),
        ("m@localhost:8000", {}, "openai:MODEL@URL"),
        ("@http://localhost:8000/v1", {}, "openai:MODEL@URL"),
        ("m@http://", {}, "URL is not valid"),
        ("m@http://[::1/v1", {}, "URL is not valid"),
        ("m@http://a b/v1", {}, "URL is not valid"),
        ("m@http://a\x01b/v1", {}, "URL is not valid"),
        ("m@http://host:99999/v1", {}, "URL is not valid"),
    ],
)
def test_bad_specs_are_refused(target: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=f"(?i){said}"):
        open_engine(target, options)


def test_a_url_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="key_env") as refused:
        open_engine("a@b/model@https://me:hunter2@example.org/v1", {})
    assert "hunter2" not in str(refused.value)


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=f"(?s)127.0.0.1:{port}.*no connection.*Start it"):
        open_engine(f"m@http://127.0.0.1:{port}/v1", {})


def test_an_unknown_model_is_told_with_those_that_are_served(server: FakeServer) -> None:
    with pytest.raises(InputError, match=r"(?s)no model 'model'.*It serves: org/model"):
        open_engine(f"model@{server.url}", {})


def test_a_url_without_v1_is_told(server: FakeServer) -> None:
    with pytest.raises(InputError, match=r"(?s)404.*end in /v1"):
        open_engine(f"org/model@{server.url.removesuffix('/v1')}", {})


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"{}", b'{"data": 3}', b""])
def test_a_server_of_another_kind_is_told(server: FakeServer, body: bytes) -> None:
    server.models = (200, {"content-type": "text/html"}, body)
    server.first_answer = (404, {}, body)
    with pytest.raises(InputError, match=r"(?s)no OpenAI-compatible server.*end in /v1"):
        open_engine(f"org/model@{server.url}", {})


@pytest.mark.parametrize(
    "models",
    [
        (404, {}, {"detail": "Not Found"}),
        (403, {}, {"error": {"message": "this key may only chat"}}),
        (200, {}, b"<html>welcome</html>"),
        (200, {}, {"object": "list", "data": []}),
        (200, {}, {"object": "list", "data": [{"id": "org/model:latest"}]}),
    ],
)
def test_a_server_that_hides_the_model_and_answers_for_it_is_used(server: FakeServer, models: Answer) -> None:
    server.models = models
    engine = open_engine(f"org/model@{server.url}", {})
    assert (engine.identity.name, engine.capabilities["model"]) == ("org/model", "org/model")
    asyncio.run(engine.close())


@pytest.mark.parametrize("status", [401])
def test_a_refused_key_is_told_by_its_variable_and_never_shown(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    server.models = (status, {}, {"error": {"message": f"Incorrect API key provided: {KEY}"}})
    with pytest.raises(InputError, match="OPENAI_API_KEY, which is not set"):
        open_engine(f"org/model@{server.url}", {})
    monkeypatch.setenv("MY_KEY", KEY)
    with pytest.raises(InputError, match="MY_KEY, which is set, but refused") as refused:
        open_engine(f"org/model@{server.url}", {"key_env": "MY_KEY"})
    assert KEY not in str(refused.value)
    assert server.keys[-1] == f"Bearer {KEY}"


def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nX: y")
    with pytest.raises(InputError, match="OPENAI_API_KEY holds no API key") as refused:
        open_engine(f"org/model@{server.url}", {})
    assert KEY not in str(refused.value)
