"""The headings under which settings stand in ``--help``, in their order."""

PANELS = ("Input", "Sampling", "Judging", "Limits", "Output", "Server")
INPUT, SAMPLING, JUDGING, LIMITS, OUTPUT, SERVER = PANELS
