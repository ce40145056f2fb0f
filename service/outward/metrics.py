"""What Prometheus reads at ``/metrics``. A metric is declared here, and counted where the thing happens."""

import time
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REGISTRY = CollectorRegistry()

REQUESTS = Counter("cai_http_requests_total", "HTTP requests", ("method", "route", "status"), registry=REGISTRY)
SECONDS = Histogram(
    "cai_http_request_seconds",
    "Time to the first byte of an answer",
    ("method", "route"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
FEEDBACK = Counter("cai_feedback_total", "Feedback records stored", ("kind", "source"), registry=REGISTRY)
WORKERS = Gauge("cai_workers", "Workers that have a row in the database", registry=REGISTRY)
HEARTBEAT = Gauge(
    "cai_worker_heartbeat_age_seconds",
    "Time since the worker was heard of that was silent for the longest; 0 without workers",
    registry=REGISTRY,
)
JOBS = Gauge("cai_jobs", "Jobs by state", ("kind", "state"), registry=REGISTRY)
WAITING = Gauge("cai_engine_waiting", "Requests that wait for an engine", ("engine", "lane"), registry=REGISTRY)
CALLS = Counter("cai_engine_calls_total", "Calls of an engine", ("engine", "lane", "verb"), registry=REGISTRY)
TOKENS = Counter("cai_engine_tokens_total", "Tokens of an engine", ("engine", "what"), registry=REGISTRY)
COST = Counter("cai_engine_cost_dollars_total", "What an engine's calls cost", ("engine",), registry=REGISTRY)
BATCH = Histogram(
    "cai_engine_batch_size",
    "Requests under way at an engine when one more begins",
    ("engine",),
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    registry=REGISTRY,
)


METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"))
"""That HTTP knows."""
OTHER = "other"


@cache  # of routes, known methods and our statuses: nothing that a client can make up
def _of(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, status), SECONDS.labels(method, route)


class Metered:
    """Counts requests by route and method: nothing that a client can make up is a label, of which there is no end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", OTHER)
                method = scope["method"] if scope["method"] in METHODS else OTHER
                requests, seconds = _of(method, route, message["status"])
                requests.inc()
                seconds.observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, sent)
