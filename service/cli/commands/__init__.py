"""The commands of ``cai``: one file each, found by lying in a folder here.

A folder's docstring is the heading under which `cai --help` lists its commands. ``NAME.py`` is the command ``NAME``:
its function of that name, or, for a command that has commands of its own, its Typer application ``app``. So is a folder
that lies in one of these, with a file for each of its own commands; its docstring is its help.

Nothing here is imported before it runs, or is asked for its own help: see `service.cli.found`.
"""

HEADINGS = ("runs", "sources", "evidence", "training", "server")
"""The order of these folders in `cai --help`. Others come after them."""
