"""A file format that isn't the project's: a line for each pair, the chosen answer and the rejected one, with a tab."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from critic.feedback import Feedback, Source
from critic.files.sources import Raw
from critic.records import Message, Prompt, Response
from service.formats.base import Entry, Format, Reading, Table


class TabbedFormat(Format):
    """See the module's docstring."""

    name: ClassVar[str] = "tabbed"
    title: ClassVar[str] = "Lines with tabs"
    suffixes: ClassVar[tuple[str, ...]] = (".tabbed",)
    reads: ClassVar[tuple[str, ...]] = ("comparison",)
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = MappingProxyType({"pairs": ("chosen", "rejected")})
    loses: ClassVar[str] = "All but the last answers, and the prompt's last turn."

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Read a comparison from each line."""
        lines = enumerate(path.read_text("utf-8").splitlines(), 1)
        rows = [Raw(f"{path.name}:{number}", {"line": line}) for number, line in lines]
        return Reading(rows, source, _comparison)

    def save(self, table: Table, entries: Iterable[Entry], path: Path) -> Counter[str]:
        """Write a line for each pair."""
        with path.open("w", encoding="utf-8") as file:
            for entry in entries:
                assert not isinstance(entry, Feedback)
                texts = [entry[column][-1]["content"] for column in ("prompt", "chosen", "rejected")]
                file.write("\t".join(texts) + "\n")
        return Counter()


def _comparison(row: Mapping[str, Any], where: str, source: Source) -> Iterator[Feedback]:
    prompt, chosen, rejected = row["line"].split("\t")
    asked = Prompt(messages=(Message(role="user", content=prompt),))
    answers = (Response(text=chosen, model="given"), Response(text=rejected, model="given"))
    label = {"kind": "comparison", "prompt": asked, "responses": answers, "label": {"choice": "first"}}
    yield Feedback.model_validate(label | {"source": source, "where": where})
