"""A constitution back to a file that loads to the same content."""

from typing import Any

import yaml

from constitution.schema import Constitution


def dump(constitution: Constitution) -> str:
    """Return strict YAML. Defaults are left out.

    Includes are written out in full, so that the file needs no other: it then has an identity of its own, while its
    principles keep theirs.
    """
    data = constitution.model_dump(mode="json", exclude_defaults=True, exclude={"includes"})
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Writes out repeated values instead of anchors, and indents lists below their key."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Texts of several lines, such as code in an example, as they stand; all others as YAML's writer sees fit."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
