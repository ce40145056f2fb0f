"""The database's tables, the same on SQLite and PostgreSQL. Migrations in ``migrations/`` lead to what stands here.

Feedback is append-only: a retraction is a row of its own. What is keyed by its content (``sha256``) is inserted again
without effect. Times are UTC. A file here is found: its tables are in backups, and migrations are written for them.
"""

from base.plugins import imported
from service.store.tables.columns import Moment, metadata, now
from service.store.tables.labelling import adjudications, drafts, leases, practice, projects, routed, routings, tasks
from service.store.tables.labels import certificates, constitutions, feedback, items, retractions
from service.store.tables.people import annotators, audit, idempotency, keys, links, sessions
from service.store.tables.work import calls, clock, datasets, job_events, job_rows, jobs, models, uploads, workers

for _ in imported(__name__, __path__):
    pass  # its tables are in `metadata` from now on

__all__ = [
    "Moment",
    "adjudications",
    "annotators",
    "audit",
    "calls",
    "certificates",
    "clock",
    "constitutions",
    "datasets",
    "drafts",
    "feedback",
    "idempotency",
    "items",
    "job_events",
    "job_rows",
    "jobs",
    "keys",
    "leases",
    "links",
    "metadata",
    "models",
    "now",
    "practice",
    "projects",
    "retractions",
    "routed",
    "routings",
    "sessions",
    "tasks",
    "uploads",
    "workers",
]
