"""What a page says outside the catalogue of texts: nothing, where it was given a language that is none."""

import re
from html.parser import HTMLParser


class Shown(HTMLParser):
    """The texts of a page that neither the catalogue has nor an element marks as data.

    Pictures are `critic.pages`', and reports have them, too; names of formats are the same in every language.
    """

    DATA = ("script", "style", "title", "code", "pre", "bdi", "time", "option", "textarea", "svg", "dd", "td")
    VOID = ("input", "br", "link", "meta", "hr", "img", "wbr")
    FORMATS = ("SVG", "CSV", "PNG", "SHA-256")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.unmarked: list[str] = []
        self._open: list[tuple[str, bool]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        is_asked = (given.get("id") or "").startswith("ask-")  # of a request, whose defaults are data
        for name in ("aria-label", "title") if is_asked else ("aria-label", "placeholder", "title"):
            if not self._is_data():
                self._see(given.get(name) or "")
        if tag not in self.VOID:
            is_drawn = given.get("class") == "drawn"
            self._open.append((tag, tag in self.DATA or is_drawn or ("dir" in given and tag != "html")))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not self._is_data():
            self._see(data)

    def _is_data(self) -> bool:
        return any(is_data for _, is_data in self._open)

    def _see(self, text: str) -> None:
        bare = re.sub("⟦.*?⟧", "", text, flags=re.DOTALL)
        if bare.strip() not in self.FORMATS and any(character.isalpha() for character in bare):
            self.unmarked.append(text.strip())
