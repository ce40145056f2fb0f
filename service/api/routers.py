"""All routers of the HTTP API: the ``router`` of each file here and in the rooms, found by being there.

A resource is three files: its route, its tables with what is asked of them (`service.store.tables`), and a migration.
"""

from fastapi import APIRouter

import service.api
from base.plugins import imported


def _routers() -> list[APIRouter]:
    """Return the routers, those of files that say ``IS_BUSY = True`` first: routes are tried one after the other."""
    modules = [
        module
        for module in imported(service.api.__name__, service.api.__path__, rooms=True)
        if hasattr(module, "router")
    ]
    modules.sort(key=lambda module: not getattr(module, "IS_BUSY", False))
    return [module.router for module in modules]


ROUTERS = _routers()
