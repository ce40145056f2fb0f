"""YAML text to plain data, with the line of everything in it. Safe against whatever the text holds.

Built on the events of PyYAML's safe loader, not on its constructor, so that nothing is resolved behind the schema's
back: every plain scalar is text (`no` is the language, `1.0` a version), null is None, and types are the schema's
affair. Duplicate keys, tags, merge keys and cyclic anchors are errors.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 1 << 20
MAX_NODES = 100_000  # counted with every alias expanded: a bomb is refused before it is built
MAX_ALIASES = 100
MAX_DEPTH = 16

Path = tuple[str | int, ...]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = ("", "~", "null", "Null", "NULL")


class YamlError(Exception):
    """The text can't be read. ``line`` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line, self.problem = line, problem


@dataclass(slots=True)
class Document:
    """``data`` of mappings, lists, texts and None; ``lines`` maps the path of each key and item to its line."""

    data: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of ``path``, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


@dataclass(slots=True)
class _Open:
    """A mapping or a list whose end has not come yet."""

    value: dict[str, Any] | list[Any]
    path: Path
    anchor: str | None
    key: str | None = None
    nodes: int = 1


@dataclass(slots=True)
class _PositionBuilder:
    lines: dict[Path, int] = field(default_factory=dict)
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    root: Any = None
    aliases: int = 0
    documents: int = 0

    def feed(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    raise YamlError(line, "a second document starts here; a file holds one")
            case yaml.ScalarEvent():
                self._scalar(event, line)
            case yaml.AliasEvent():
                self._alias(event, line)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(event, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close(line)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        _refuse_tag(event, line)
        parent = self.stack[-1] if self.stack else None
        if parent and isinstance(parent.value, dict) and parent.key is None:
            self._key(parent, event.value, line)
            return
        value = None if not event.style and event.value in _NULL else event.value
        self._place(value, line)
        self._finish(value, 1, event.anchor, line)

    def _key(self, parent: _Open, key: str, line: int) -> None:
        assert isinstance(parent.value, dict)
        if key in parent.value:
            first = self.lines[(*parent.path, key)]
            raise YamlError(line, f"the key {key!r} is given twice; the first is on line {first}")
        parent.key = key
        self.lines[(*parent.path, key)] = line

    def _alias(self, event: yaml.AliasEvent, line: int) -> None:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise YamlError(line, f"more than {MAX_ALIASES} aliases; write the values out")
        if event.anchor not in self.anchors:
            raise YamlError(line, f"the alias *{event.anchor} has no finished anchor before it")
        self._need_key(line)
        value, nodes = self.anchors[event.anchor]
        self._place(value, line)
        self._finish(value, nodes, None, line)

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, line: int) -> None:
        _refuse_tag(event, line)
        self._need_key(line)
        if len(self.stack) >= MAX_DEPTH:
            raise YamlError(line, f"nested more than {MAX_DEPTH} deep")
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.stack.append(_Open(value, self._place(value, line), event.anchor))

    def _close(self, line: int) -> None:
        done = self.stack.pop()
        self._finish(done.value, done.nodes, done.anchor, line)

    def _finish(self, value: Any, nodes: int, anchor: str | None, line: int) -> None:
        """Count a finished value, which has ``nodes`` values in it, itself included, and remember its anchor."""
        if self.stack:
            self.stack[-1].nodes += nodes
        if max(nodes, self.stack[-1].nodes if self.stack else 0) > MAX_NODES:
            raise YamlError(line, f"more than {MAX_NODES:,} values, aliases expanded")
        if anchor:
            self.anchors[anchor] = (value, nodes)

    def _place(self, value: Any, line: int) -> Path:
        if not self.stack:
            self.root = value
            return ()
        parent = self.stack[-1]
        if isinstance(parent.value, dict):
            assert parent.key is not None
            path: Path = (*parent.path, parent.key)
            parent.value[parent.key] = value
            parent.key = None
        else:
            path = (*parent.path, len(parent.value))
            parent.value.append(value)
            self.lines[path] = line
        return path

    def _need_key(self, line: int) -> None:
        parent = self.stack[-1] if self.stack else None
        if parent and isinstance(parent.value, dict) and parent.key is None:
            raise YamlError(line, "a key must be plain text")


def _refuse_tag(event: yaml.NodeEvent, line: int) -> None:
    tag = getattr(event, "tag", None)
    if tag not in (None, "!"):
        raise YamlError(line, f"the tag {tag} is not allowed; write plain values")


def read_yaml(content: bytes, look: Callable[[], None] = lambda: None) -> Document:
    """Parse one document. Raises `YamlError`, and nothing else, for content that can't be read.

    ``look`` is called at every value: what it raises ends the reading, for who reads for somebody that may go away.
    """
    if len(content) > MAX_BYTES:
        raise YamlError(1, f"the file has more than {MAX_BYTES:,} bytes, too many for a constitution")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YamlError(line, f"not UTF-8: {error.reason} at byte {error.start}") from None
    builder = _PositionBuilder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            look()
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(mark.line + 1 if mark else 1, _explain(error)) from None
    except yaml.YAMLError as error:
        raise YamlError(1, _explain(error)) from None
    if builder.documents == 0:
        raise YamlError(1, "the file is empty")
    return Document(builder.root, builder.lines)


def _explain(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).split("\n")[0]
    if re.search(r"\btab\b|\\t|cannot start any token", problem):
        return "not YAML: a tab, or another character that can't start a value; indent with spaces and quote such text"
    context = getattr(error, "context", None)
    return f"not YAML: {problem}" + (f" ({context})" if context else "")
