"""Durable jobs: a queue in the service's own database, and workers that any of them may be killed at any moment.

``requests.py`` says what can be asked for, ``queue.py`` puts it into the queue (`cai serve`), ``worker.py`` takes it
from there (`cai worker`), and ``workflow.py`` runs one job: each kind is a function in ``rows.py`` or ``commands.py``.
``ledger.py`` keeps what was answered, so that nothing is asked twice. To add a kind, write its request and its
function, and name them in `requests.Request` and `workflow.KINDS`.
"""
