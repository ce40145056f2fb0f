"""A file of settings: one mapping, as YAML, JSON or TOML, told by the file's ending.

Strict: a key that is given twice is an error, where the libraries that read these formats keep the last one.
"""

import json
import tomllib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from base.errors import InputError

ENDINGS = (".yaml", ".yml", ".json", ".toml")
_ENDINGS = f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"


class _Twice(ValueError):
    """A key is given twice."""

    def __init__(self, key: object, line: int | None = None) -> None:
        super().__init__(f"the key {str(key)!r} is given twice" + (f", again on line {line}" if line else ""))


def read_settings_file(file: Path) -> dict[str, Any]:
    """Return what the file holds. Raises `InputError` where it can't be read, or holds no mapping."""
    ending = file.suffix.lower()
    if file.is_dir():
        raise InputError("this is a folder", where=str(file), fix=f"name a file in it, {_ENDINGS}")
    if ending not in ENDINGS:
        raise InputError("the ending doesn't say what is in it", where=str(file), fix=f"name it {_ENDINGS}")
    try:
        content = _parsed(ending, file.read_text("utf-8-sig"))
    except OSError as error:
        fix = f"name a file of settings, {_ENDINGS}"
        raise InputError(f"it can't be read: {error.strerror}", where=str(file), fix=fix) from None
    except _Twice as error:
        raise InputError(str(error), where=str(file)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # JSON's, TOML's and Unicode's errors are ValueErrors
        kind = "YAML" if ending in (".yaml", ".yml") else ending[1:].upper()
        raise InputError(f"it is no {kind}: {' '.join(str(error).split())}", where=str(file)) from None
    if not isinstance(content, dict):
        raise InputError("it holds no settings", where=str(file), fix="expected lines such as `seed: 7`")
    return {str(key): value for key, value in content.items()}


def _parsed(ending: str, text: str) -> Any:
    match ending:
        case ".toml":
            return tomllib.loads(text)
        case ".json":
            return json.loads(text, object_pairs_hook=_once)
        case _:
            return yaml.load(text, Loader=_Loader)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise _Twice(key)
        seen[key] = value
    return seen


class _Loader(yaml.SafeLoader):
    """YAML's plain values, each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise _Twice(key.value, key.start_mark.line + 1)
            seen.add(key.value)
        return super().construct_mapping(node, deep)
