"""How few alarms are false: of all reports on a project together no more than 5 % of clean projects raise any.

A project is read in five reports (`REPORTS`), each of which holds its own alarms to a fifth of that (Bonferroni 1936).
Within a report the tests are taken together by Holm's procedure (A simple sequentially rejective multiple test
procedure, 1979), so that a report with many tests rings no more often than one with few.
"""

import math
from collections.abc import Mapping
from typing import Literal

from critic.statistics.intervals import student

REPORTS = ("agreement", "judge", "constitution", "groups", "policy")
OF_PROJECT = 0.05
OF_REPORT = OF_PROJECT / len(REPORTS)


def faults(tests: Mapping[str, float], level: float = OF_REPORT) -> tuple[str, ...]:
    """Return the names whose p-values stand out among all of a report's tests, the surest first (Holm's procedure)."""
    ordered = sorted(tests, key=lambda name: tests[name])
    named: list[str] = []
    for place, name in enumerate(ordered):
        if tests[name] > level / (len(ordered) - place):
            break
        named.append(name)
    return tuple(named)


def beyond_nothing(low: float, high: float, clusters: int, direction: Literal[1, -1]) -> float:
    """Return the one-sided p-value that a mean is not above 0 (``direction`` 1) or not below it (-1).

    ``low`` and ``high`` are its 95 % interval by Student's t with ``clusters`` - 1 degrees of freedom: what lies at its
    middle and how wide it is say how many standard errors it is from 0. An interval without an end says nothing: 1.
    """
    from scipy.special import stdtr  # slow to import, and a server starts without it

    if clusters < 2 or not math.isfinite(high - low):
        return 1.0
    error = (high - low) / 2 / student(clusters - 1)
    middle = direction * (low + high) / 2
    if error <= 0:
        return 0.0 if middle > 0 else 1.0
    return float(stdtr(clusters - 1, -middle / error))
