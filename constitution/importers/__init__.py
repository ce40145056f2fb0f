"""Constitutions from other formats. One file each, with a function ``read(sources, *, name, version) -> Imported``.

A new format is one new file here and one line in `FORMATS`. An importer keeps the source's wording, derives what the
source doesn't have in a way that its docstring states, and names and counts whatever it can't carry over.
"""

from constitution.importers import cai_paper, langchain, polis
from constitution.importers.base import Imported, LeftOutPart, Reader

FORMATS: dict[str, Reader] = {"cai-paper": cai_paper.read, "langchain": langchain.read, "polis": polis.read}

__all__ = ["FORMATS", "Imported", "LeftOutPart"]
