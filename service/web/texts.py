"""Every text of the pages, in one catalogue: ``texts/*.yaml``, one file a part of the site.

``t("queue.left", n=3)`` is the text of that name with its blanks filled in. A text that depends on a number ``n`` has
two forms, ``one`` and ``other``. Names that begin with ``script.`` are for scripts, which the page hands them.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files

import yaml

Forms = Mapping[str, str]
TEXTS_FOR_SCRIPTS = "script."


class Texts:
    """A catalogue, in one language."""

    def __init__(self, texts: Mapping[str, str | Forms]) -> None:
        self._texts = texts

    def __call__(self, name: str, /, **values: object) -> str:
        """The text of this name. Raises `KeyError` where the catalogue or ``values`` lack something."""
        text = self._texts[name]
        if not isinstance(text, str):
            text = text["one" if values["n"] == 1 else "other"]
        return text.format(**values)

    def get(self, name: str, other: str) -> str:
        """The text of this name, or ``other`` where there is none: of what plug-ins bring, their own name."""
        return self(name) if name in self else other

    def __contains__(self, name: str) -> bool:
        return name in self._texts

    @property
    def for_scripts(self) -> dict[str, str | Forms]:
        """What scripts say."""
        return {name: text for name, text in self._texts.items() if name.startswith(TEXTS_FOR_SCRIPTS)}

    def changed(self, change: Callable[[str], str]) -> "Texts":
        """The same catalogue with each text changed, its blanks kept: a language that is none, for tests."""
        changed = {name: _changed(text, change) for name, text in self._texts.items()}
        return Texts(changed)


def _changed(text: str | Forms, change: Callable[[str], str]) -> str | Forms:
    if isinstance(text, str):
        return change(text)
    return {form: change(one) for form, one in text.items()}


@cache
def english() -> Texts:
    """The catalogue in English."""
    texts: dict[str, str | Forms] = {}
    for file in sorted(files("service.web").joinpath("texts").iterdir(), key=lambda file: file.name):
        texts |= yaml.safe_load(file.read_text(encoding="utf-8"))
    return Texts(texts)
