"""``python -m service.cli`` is ``cai``."""

from service.cli import main

main()
