"""All routers of the HTTP API. A new resource is one new file and one line here."""

from service.api import audit, docs, health, keys
from service.api.evidence import certificates, routing
from service.api.jobs import jobs, models, uploads
from service.api.judges import comparisons, constitutions, critiques, engines, rewards, trials
from service.api.labels import agreement, annotators, datasets, feedback, projects, tasks
from service.api.review import figures, items

# Routes are tried one after the other, some dozens of them: the busiest stand first.
ROUTERS = (
    feedback.router,
    tasks.router,
    comparisons.router,
    constitutions.router,
    critiques.router,
    trials.router,
    projects.router,
    agreement.router,
    figures.router,
    items.router,
    datasets.router,
    certificates.router,
    routing.router,
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
