"""What the queue and its workers must agree on about DBOS, which keeps jobs alive.

Its tables are in the service's own database: on PostgreSQL in the schema ``dbos``, on SQLite in the same file. Values
are JSON, never pickles. The version is ours, not a hash of the code: a worker of a later release goes on with the jobs
of an earlier one, unless this number is raised because the steps of a job have changed.
"""

import logging
from typing import TYPE_CHECKING

from sqlalchemy.engine import URL

if TYPE_CHECKING:
    from dbos import DBOSClient, DBOSConfig, EnqueueOptions

APPLICATION, VERSION = "cai-feedback", "jobs-1"
QUEUE, WORKFLOW = "jobs", "job"

logging.getLogger("dbos").setLevel(logging.WARNING)


def address(url: URL) -> str:
    """The database's address in DBOS's form."""
    driver = "sqlite" if url.get_backend_name() == "sqlite" else "postgresql"
    return url.set(drivername=driver).render_as_string(hide_password=False)


def config(url: URL, executor: str, idle_seconds: float) -> "DBOSConfig":
    """A worker's configuration. PostgreSQL ends its transactions after ``idle_seconds`` without a word."""
    from dbos import DBOSPortableJSONSerializer

    return {
        "name": APPLICATION,
        "system_database_url": address(url),
        "application_version": VERSION,
        "executor_id": executor,
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "WARNING",
        "sys_db_pool_size": 5,
        "sys_db_idle_transaction_timeout_sec": idle_seconds,
    }


def client(url: URL) -> "DBOSClient":
    """Make DBOS's tables where they are missing, and return what works on the queue from outside."""
    from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer

    DBOS.migrate(address(url))
    return DBOSClient(
        system_database_url=address(url),
        serializer=DBOSPortableJSONSerializer(),
        application_name=APPLICATION,
        lazy=True,
        retry_connection_errors=False,  # those who ask are told, and ask again themselves
    )


def workflow_id(job: str, attempt: int) -> str:
    """The workflow that does a job for the ``attempt``-th time."""
    return f"{job}-{attempt}"


def options(job: str, attempt: int) -> "EnqueueOptions":
    """How a job is enqueued."""
    return {
        "workflow_name": WORKFLOW,
        "queue_name": QUEUE,
        "workflow_id": workflow_id(job, attempt),
        "app_version": VERSION,
    }
