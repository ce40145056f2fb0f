"""The HTTP API: one file a resource, each with a ``router``. A new resource is one new file and one line here."""

from service.api import (
    agreement,
    annotators,
    audit,
    comparisons,
    constitutions,
    critiques,
    datasets,
    docs,
    engines,
    feedback,
    health,
    jobs,
    keys,
    models,
    projects,
    rewards,
    tasks,
    uploads,
)

# Routes are tried one after the other, some dozens of them: the busiest stand first.
ROUTERS = (
    feedback.router,
    tasks.router,
    comparisons.router,
    constitutions.router,
    critiques.router,
    projects.router,
    agreement.router,
    datasets.router,
    jobs.router,
    uploads.router,
    models.router,
    rewards.router,
    engines.router,
    annotators.router,
    keys.router,
    audit.router,
    health.router,
    docs.router,
)
