"""A search over labels and pairs."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from critic.feedback import KINDS
from service.api.review.items import sought
from service.context import Parts
from service.labels import annotators
from service.review.search import SearchQuery
from service.web.forms import requested
from service.web.manage.asking import Reader
from service.web.rendering import csv, render
from service.web.visit import PageRoute

router = APIRouter(include_in_schema=False, route_class=PageRoute)

FIELDS = ("text", "kind", "source", "annotator", "group", "constitution", "project", "job", "flagged", "before")


@router.get("/search")
async def page(request: Request, visit: Reader, parts: Parts) -> Response:
    """Labels by a text and filters; the newest first."""
    query = _query(request)
    results = await sought(query, request, visit.caller, parts)
    said = {hit.id: _said(hit.label) for hit in results.items}
    return render(
        request,
        "manage/search.html.j2",
        query=query,
        kinds=list(KINDS),
        hits=results.items,
        said=said,
        next=results.next,
        names=await annotators.names(parts.database, [hit.annotator for hit in results.items if hit.source == "human"]),
        address=request.url.include_query_params(before=results.next).query if results.next else "",
        plain_address=request.url.query,
    )


@router.get("/search.csv")
async def page_csv(request: Request, visit: Reader, parts: Parts) -> Response:
    """What the search shows, as rows."""
    results = await sought(_query(request), request, visit.caller, parts)
    return csv("labels", [hit.model_dump(mode="json") for hit in results.items])


def _said(label: Mapping[str, Any]) -> str:
    """A label in a few words: the name of its text in the catalogue, a number, ranks, or what was written."""
    if ranks := label.get("ranks"):
        return " ".join("-" if rank is None else str(rank) for rank in ranks)
    values = (label.get(name) for name in ("tie_kind", "choice", "value", "text", "outcome"))
    value = next((value for value in values if value is not None), "")
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _query(request: Request) -> SearchQuery:
    """The query in an address: a form sends its empty fields, too."""
    given: dict[str, Any] = {name: value for name in FIELDS if (value := request.query_params.get(name, "").strip())}
    return requested(SearchQuery, given)
