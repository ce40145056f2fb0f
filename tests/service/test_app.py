"""The application as a whole: what it loads, and what anyone may see."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute

from service.app import create_app, opened
from service.settings import Settings
from service.web import PAGES
from tests.service.calls import Api


def test_importing_the_application_loads_no_model_library() -> None:
    code = "import sys, service.app; print([m for m in ('torch', 'transformers', 'vllm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_call_but_three_needs_a_key_and_every_call_documents_its_problems() -> None:
    paths = create_app(Settings()).openapi()["paths"]
    for path, calls in paths.items():
        for method, call in calls.items():
            if path in ("/healthz", "/readyz", "/metrics"):
                assert "security" not in call
                continue
            assert call["security"], (method, path)
            assert {"401", "403", "422", "503"} <= set(call["responses"]), (method, path)
            assert call["description"], (method, path)


def test_every_post_that_creates_takes_an_idempotency_key() -> None:
    paths = create_app(Settings()).openapi()["paths"]
    created = [
        (path, calls["post"]) for path, calls in paths.items() if "201" in calls.get("post", {}).get("responses", ())
    ]
    assert created
    for path, call in created:
        assert any(parameter["name"] == "idempotency-key" for parameter in call.get("parameters", ())), path


async def test_the_page_of_the_api_loads_nothing_from_elsewhere() -> None:
    transport = httpx2.ASGITransport(create_app(Settings()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://cai.test") as client:
        page = await client.get("/docs")
        assert "script-src 'self';" in page.headers["Content-Security-Policy"]
        assert "//" not in page.text
        for asset in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert (await client.get(asset)).status_code == 200, asset
        assert (await client.get("/docs/..%2f__init__.py")).status_code in (404, 422)


async def test_with_pages_turned_off_programs_are_served_and_no_page_is(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, worker=False, pages=False)
    app = create_app(settings)
    async with opened(settings) as app.state.service:
        api = Api(app, app.state.service)
        api.admin = await api.client("admin")
        for path in ("/healthz", "/readyz", "/docs", "/v1/projects"):
            assert (await api.admin.get(path)).status_code == 200, path
        for router in PAGES:
            for route in router.routes:
                assert isinstance(route, APIRoute)
                address = re.sub(r"\{.*?\}", "none", route.path)
                assert (await api.admin.request(min(route.methods), address)).status_code == 404, route.path


async def test_what_anybody_may_ask_for_is_written_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """It took the event loop for a second when it was first asked for, and for some milliseconds each time after."""
    stranger, made = api.with_key(None), 0
    openapi = api.app.openapi

    def counted() -> dict[str, Any]:
        nonlocal made
        made += 1
        return openapi()

    monkeypatch.setattr(api.app, "openapi", counted)
    monkeypatch.delattr(api.app.state, "schema", raising=False)
    answers = await asyncio.gather(*(stranger.get("/openapi.json") for _ in range(3)))
    assert made == 1
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}
    assert [answer.json() for answer in answers] == [openapi()] * 3
    monkeypatch.delattr(api.app.state, "schema", raising=False)
