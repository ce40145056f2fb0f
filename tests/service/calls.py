"""The API as a test calls it: clients with keys of any scopes, and short names for what most tests do first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from service.app import create_app, opened
from service.context import Service
from service.keys.auth import Scope, new_key
from service.settings import Settings
from service.store.tables import annotators, keys, now

# What is refused before the database is asked: one kind of it stands for both.
one_database = pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)


@dataclass(slots=True)
class Api:
    """A running application without a network. ``admin`` may do everything."""

    app: FastAPI
    service: Service
    admin: httpx2.AsyncClient = field(init=False)
    _clients: list[httpx2.AsyncClient] = field(default_factory=list)

    async def client(self, *scopes: Scope, annotator: str | None = None) -> httpx2.AsyncClient:
        """A client whose key has these scopes, and belongs to the annotator with this id."""
        made = new_key("a test's", scopes, annotator=annotator)
        await self.service.database.insert({keys: [made.row]})
        return self.with_key(made.text)

    def with_key(self, text: str | None) -> httpx2.AsyncClient:
        """A client with this key, or with none."""
        headers = {} if text is None else {"Authorization": f"Bearer {text}"}
        transport = httpx2.ASGITransport(self.app)
        client = httpx2.AsyncClient(transport=transport, base_url="http://cai.test", headers=headers)
        self._clients.append(client)
        return client

    async def annotator(self, name: str, group: str | None = None) -> str:
        """Make an annotator; return the id."""
        row: dict[str, Any] = {
            "id": f"id-of-{name.lower()}",
            "name": name,
            "group": group,
            "attributes": {},
            "created_at": now(),
        }
        await self.service.database.insert({annotators: [row]})
        return str(row["id"])

    async def labeller(self, name: str, group: str | None = None) -> httpx2.AsyncClient:
        """Make an annotator, and a client who is that annotator and may only label."""
        return await self.client("label", annotator=await self.annotator(name, group))

    async def close(self) -> None:
        """Close all clients."""
        for client in self._clients:
            await client.aclose()


@cache
def _app() -> FastAPI:
    """All routes, made once: what differs from test to test are the service's parts."""
    return create_app(Settings())


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Api]:
    """The application for the length of an ``async with``."""
    app = _app()
    async with opened(settings) as app.state.service:
        api = Api(app, app.state.service)
        try:
            api.admin = await api.client("admin")
            yield api
        finally:
            await api.close()


def comparison(text: str = "Name a river.", label: Any = "first", **more: Any) -> dict[str, Any]:
    """A comparison as people write it."""
    return {"kind": "comparison", "prompt": text, "responses": ["The Po.", "Paris."], "label": label} | more


def problem(response: httpx2.Response, status: int, type: str) -> dict[str, Any]:
    """The problem document of a response, which must be one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["type"] == type and document["status"] == status and document["detail"], document
    return document
