"""The engines that requests can name: what they are and can do, never where they are or how they are paid."""

from typing import Annotated

from fastapi import APIRouter

from service.answers.judges import EngineShown
from service.answers.page import Page
from service.api.body import StrictRoute
from service.context import Parts, allowed
from service.keys.auth import Caller
from service.problems import responses

router = APIRouter(prefix="/v1/engines", tags=["engines"], route_class=StrictRoute, responses=responses())

Reader = Annotated[Caller, allowed("read", "feedback")]


@router.get("")
async def listed(caller: Reader, parts: Parts) -> Page[EngineShown]:
    """All that are configured. Reward models that were trained here are under /v1/models."""
    return Page(items=[_shown(parts, name) for name in parts.engines.names])


def _shown(parts: Parts, name: str) -> EngineShown:
    engine = parts.engines.opened(name)
    return EngineShown(
        name=name,
        kind=parts.engines.kind(name),
        mode=parts.engines.mode(name).name,
        default=name == parts.settings.engine,
        open=engine is not None,
        model=engine.identity.name if engine is not None else None,
        capabilities=dict(engine.capabilities) if engine is not None else {},
    )
