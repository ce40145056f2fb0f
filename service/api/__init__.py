"""The HTTP API: one file a resource, each with a ``router``. A new resource is one new file and one line here."""

from service.api import feedback, health, keys

ROUTERS = (health.router, keys.router, feedback.router)
