"""The HTTP API: one file a resource, each with a ``router``. A new resource is one new file and one line here."""

from service.api import (
    annotators,
    audit,
    comparisons,
    constitutions,
    critiques,
    engines,
    feedback,
    health,
    keys,
    models,
    projects,
    rewards,
    tasks,
)

ROUTERS = (
    health.router,
    keys.router,
    feedback.router,
    constitutions.router,
    engines.router,
    critiques.router,
    comparisons.router,
    rewards.router,
    models.router,
    annotators.router,
    projects.router,
    tasks.router,
    audit.router,
)
