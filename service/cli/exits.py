"""The exit codes of ``cai``."""

# Exit codes: 0 done, 1 the machine failed (a full disk), 2 bad input, 3 finished with rows quarantined, 130 stopped
# before the end and resumable.
FAILED, BAD_INPUT, QUARANTINED, STOPPED = 1, 2, 3, 130
BEYOND_LIMITS = 4  # done, and what was found is beyond a limit that was asked for
