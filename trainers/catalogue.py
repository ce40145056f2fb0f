"""Which training methods there are: the files of `trainers.methods`. What they say as literals is read, not imported.

Importing a method takes seconds (it brings PyTorch along), and help texts, requests and forms only need its name, what
it takes and what it makes. So the keywords of ``METHOD = ...`` that are literals are read off the file's text.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from base.errors import InputError
from base.nearest import nearest

POLICY, REWARD_MODEL = "policy", "reward model"
"""What a method makes."""
TABLES = {"demonstrations": "sft", "pairs": "pairs", "rankings": "feedback", "ratings": "feedback"}
"""Which of a run's exports holds a kind of rows."""

_PACKAGE = "trainers.methods"
"""Found by name: its files stand on what stands on this one."""
_OF_ALL = "TrainConfig"
"""The class that the settings of all methods are made of."""


@dataclass(frozen=True, slots=True)
class ListedMethod:
    """A method as its file describes it: see `trainers.method.Method`. ``config`` names the class of its settings."""

    name: str
    file: Path
    about: str
    config: str
    rows: tuple[str, ...] = ()
    makes: str = POLICY
    rewarded: bool = False

    @property
    def table(self) -> str | None:
        """The export of a run that it learns from; None where it learns from prompts."""
        return TABLES[self.rows[0]] if self.rows else None


def names() -> list[str]:
    """Return the names of all methods."""
    return sorted(module.name.replace("_", "-") for module in iter_modules(map(str, _folders())))


def listed() -> dict[str, ListedMethod]:
    """Return all methods by name. Raises `InputError` for a file that describes none."""
    return {name: read(name) for name in names()}


def read(name: str) -> ListedMethod:
    """Return what the file of method ``name`` says of it. Raises `InputError` where there is none."""
    file = _file(name)
    given = _literals(file)
    known = {key: given[key] for key in ("about", "rows", "makes", "rewarded") if key in given}
    if not known.keys() >= {"about"} or "config" not in given:
        raise InputError(
            "it has no METHOD with a config and an about", where=str(file), fix="write it as its neighbours do"
        )
    if unknown := set(known.get("rows", ())) - TABLES.keys():
        raise InputError(f"rows names {min(unknown)!r}", where=str(file), fix=f"expected some of {', '.join(TABLES)}")
    return ListedMethod(name=name, file=file, config=given["config"], **known)


def settings(name: str) -> dict[str, bool]:
    """Return the settings of a method, beside those of all: which of them are numbers, truth values or choices."""
    method = read(name)
    return _settings(method.file, method.config)


def plain_settings(name: str) -> set[str]:
    """Return those settings of a method that are numbers, truth values or choices."""
    return {key for key, is_plain in settings(name).items() if is_plain}


def gives_rewards(name: str | None) -> bool:
    """Whether a model that method ``name`` trained is a reward model; not where there is no such method any more."""
    return name in names() and read(str(name)).makes == REWARD_MODEL


def _folders() -> list[Path]:
    spec = find_spec(_PACKAGE)
    assert spec is not None
    return [Path(folder) for folder in spec.submodule_search_locations or ()]


def module(name: str) -> str:
    """Return the module of method ``name``. Raises `InputError` where there is none."""
    _file(name)
    return f"{_PACKAGE}.{_stem(name)}"


def _stem(name: str) -> str:
    return name.replace("-", "_")


def _file(name: str) -> Path:
    known = names()
    if name not in known:
        near = nearest(name, known)
        fix = f"did you mean {near!r}?" if near else f"expected one of {', '.join(known)}"
        raise InputError(f"there is no training method {name!r}", where="method", fix=fix)
    files = (folder / f"{_stem(name)}.py" for folder in _folders())
    return next(file for file in files if file.is_file())


def _settings(file: Path, name: str) -> dict[str, bool]:
    """Return the settings of a class, and of those that it is made of, but for the one of all."""
    body = ast.parse(file.read_text("utf-8")).body
    [own] = [node for node in body if isinstance(node, ast.ClassDef) and node.name == name]
    settings: dict[str, bool] = {}
    for base in (ast.unparse(base) for base in own.bases):
        for node in body:
            imported = isinstance(node, ast.ImportFrom) and base in [alias.name for alias in node.names]
            if imported and base != _OF_ALL:
                assert isinstance(node, ast.ImportFrom) and node.module is not None
                root = _folders()[0].parents[1]
                settings |= _settings(root / f"{node.module.replace('.', '/')}.py", base)
    declared = [node for node in own.body if isinstance(node, ast.AnnAssign)]
    fields = [node for node in declared if not ast.unparse(node.annotation).startswith("ClassVar")]
    return settings | {ast.unparse(node.target): _is_plain(node.annotation) for node in fields}


def _is_plain(annotation: ast.expr) -> bool:
    """Whether a type is one of numbers, truth values or choices: no text, which could name a file."""
    used = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    return bool(used) and used <= {"bool", "int", "float", "Literal"}


def _literals(file: Path) -> Mapping[str, Any]:
    """Return the keywords of the call that ``METHOD`` is: literals, and of ``config`` the name of the class."""
    for node in ast.parse(file.read_text("utf-8")).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        if [ast.unparse(target) for target in node.targets] == ["METHOD"]:
            return {word.arg: _value(word.value) for word in node.value.keywords if word.arg is not None}
    return {}


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
