"""What everything stands on: errors, digests, seeds, things done side by side. It imports none of ours."""

import os

if "OMP_WAIT_POLICY" not in os.environ:
    # Before anything loads OpenMP: its threads wait awake for about a tenth of a millisecond, which is longer than it
    # is from one operation of a model on a CPU to the next. GNU's own default is thirty times as long, and where others
    # want the processors, everything then takes several times as long.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
