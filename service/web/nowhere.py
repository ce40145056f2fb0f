"""An address that leads nowhere: whoever looks for a page is told so on one, programs as everywhere."""

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from service.web.visit import nowhere


def install(app: FastAPI) -> None:
    """Answer browsers with a page where ``app`` has no such address; all else is answered as before."""
    before = app.exception_handlers[HTTPException]

    @app.exception_handler(HTTPException)
    async def answered(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404 and "text/html" in request.headers.get("accept", ""):
            return await nowhere(request, error)
        response: Response = await before(request, error)
        return response
