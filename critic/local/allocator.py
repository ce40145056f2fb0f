"""Memory that is freed is kept for what comes next: on Linux's C library, where fresh memory is slow.

A step of training on a CPU, or a row that is judged, makes and frees gigabytes of intermediate results. By default
each large one is mapped anew and given back, and the system fills it with zeros, page by page, when it is first
written: more than half of what adding two of them takes. Kept memory is used again, and a process holds its peak.
"""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of malloc.h: from how much free memory on it is given back, and from which size on it is mapped apart."""
_NEVER = 2**31 - 1
_ENVIRONMENT = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, unless its environment says otherwise; return whether it does now."""
    if sys.platform != "linux" or any(name in os.environ for name in _ENVIRONMENT):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(_MMAP_THRESHOLD, _NEVER) and library.mallopt(_TRIM_THRESHOLD, _NEVER))
