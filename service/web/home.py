"""The first page: whoever comes is led to what they came for."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from service.web.navigation import entries
from service.web.rendering import render
from service.web.visit import PageRoute, Visit, signed_in

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/")
async def home(request: Request, visit: Annotated[Visit, signed_in()]) -> Response:
    """Go to the first place that the visitor may see; where there is none, say so."""
    places = entries(visit, "/")
    if not places:
        return render(request, "nowhere.html.j2")
    return RedirectResponse(places[0][0].path, 303)
