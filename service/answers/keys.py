"""What the API tells of keys, and of what was changed with them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from service.keys.auth import Scope


class Key(BaseModel):
    """A key, without its text."""

    id: str
    name: str
    scopes: list[Scope]
    annotator: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class KeyMade(Key):
    """A key that was just made: ``key`` is its text, and is never told again."""

    key: str


class AuditEntry(BaseModel):
    """One change. ``key`` is the id of the key that asked for it, ``target`` the id or name of what was changed."""

    at: datetime
    key: str | None
    action: str
    target: str
    detail: dict[str, Any]
