"""``/docs``: every call of the API with its examples, by Swagger UI, from this server alone."""

import asyncio
from importlib.resources import files
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from pydantic_core import to_json

router = APIRouter(include_in_schema=False)

# Nothing from elsewhere is loaded, nothing inline runs, and no other site may frame the page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>cai-feedback</title><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body>
<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#docs", deepLinking: true, docExpansion: "list", defaultModelsExpandDepth: -1,
  tryItOutEnabled: false, persistAuthorization: false, validatorUrl: null
});
"""


@router.get("/openapi.json")
async def schema(request: Request) -> Response:
    """What every call takes and answers. It is made when it is first asked for, beside the event loop, and once."""
    state = request.app.state
    if not hasattr(state, "schema"):
        state.schema = asyncio.ensure_future(asyncio.to_thread(lambda: to_json(request.app.openapi())))
    return Response(await asyncio.shield(state.schema), media_type="application/json")


@router.get("/docs")
async def page() -> HTMLResponse:
    """The page."""
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})


@router.get("/docs/start.js")
async def start() -> Response:
    """What puts the page together: a file, because inline scripts don't run."""
    return Response(START, media_type="text/javascript")


@router.get("/docs/{name}")
async def asset(name: Literal["swagger-ui.css", "swagger-ui-bundle.js"]) -> FileResponse:
    """Swagger UI's own files, as the package fastapi-offline has them."""
    return FileResponse(str(files("fastapi_offline") / "static" / name))
