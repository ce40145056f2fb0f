"""Durable jobs: a queue in the service's own database, and workers that any of them may be killed at any moment.

``queue.py`` puts a job into the queue (`cai serve`), ``worker/`` takes it from there (`cai worker`), and
``worker/workflow.py`` runs it. What a job is asked for and what it does says its kind, one file in ``kinds/``; what
several kinds do stands in ``running/``. ``work/ledger.py`` keeps what was answered, so that nothing is asked twice.
"""
