"""A command's file as its ``--help`` needs it: without what the command only needs to run.

Help is made of signatures: options, their types and defaults. What the functions' bodies use is left out, and so are
the imports that only they need, which take seconds for some. Every command's file is read so, and none has to say its
imports in an odd place for it. A body that is asked for all the same (``--help`` can be the value of an option) raises
`NotHelp`, and the command is opened whole.
"""

import ast
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from service.cli.found import GROUP, CommandPlace

wanted: ContextVar[bool] = ContextVar("wanted", default=False)
"""Whether help is asked for, and nothing will run."""

SPECIAL = frozenset((GROUP, "COMMAND_CLASS"))
"""What is looked up in a command's file by its name."""


class NotHelp(Exception):
    """A command is to run of which only the help was opened."""


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether a command line looks like one that asks for help."""
    return not {"-h", "--help"}.isdisjoint(arguments)


def module_of(place: CommandPlace) -> ModuleType:
    """Return the module of a command's file, as far as help needs it. It is not among those that are imported."""
    module = ModuleType(place.module)
    module.__file__ = str(place.path)
    vars(module)[NotHelp.__name__] = NotHelp
    tree = ast.parse(place.path.read_bytes(), str(place.path))
    for name, source in _of_other_files(tree):
        vars(module)[name] = getattr(module_of(source), source.name)
    exec(compile(reduced(tree, place.name), str(place.path), "exec"), vars(module))
    return module


def reduced(tree: ast.Module, name: str) -> ast.Module:
    """Return the file of the command ``name`` without its commands' bodies and all that nothing else needs."""
    there = {name for name, _ in _of_other_files(tree)}
    statements = [_without_body(one) if _is_command(one, name) else one for one in tree.body]
    kept = [one for one in statements if _is_command(one, name) or _is_for_all(one)]
    used = {used for one in kept for used in _used(one)} - there
    while more := [one for one in statements if one not in kept and not used.isdisjoint(_bound(one))]:
        kept += more
        used |= {used for one in more if not isinstance(one, ast.Import | ast.ImportFrom) for used in _used(one)}
    in_order = [_of_use(one, used) for one in statements if one in kept]
    return ast.fix_missing_locations(ast.Module(in_order, tree.type_ignores))


def _of_other_files(tree: ast.Module) -> Iterator[tuple[str, CommandPlace]]:
    """Yield the commands of an application that have files of their own: ``app.command(...)(name)``."""
    calls = [one.value for one in tree.body if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call)]
    names = {
        argument.id
        for call in calls
        for argument in call.args
        if GROUP in _used(call.func) and isinstance(argument, ast.Name)
    }
    for statement in tree.body:
        if not isinstance(statement, ast.ImportFrom) or statement.module is None:
            continue
        for alias in statement.names:
            spec = find_spec(statement.module) if _name(alias) in names else None
            if spec is not None and spec.origin is not None:
                yield _name(alias), CommandPlace(alias.name, spec.name, Path(spec.origin))


def _is_command(statement: ast.stmt, name: str) -> bool:
    """Whether a function is the command itself, or one of those of its application."""
    if not isinstance(statement, ast.FunctionDef):
        return False
    decorators = {used for decorator in statement.decorator_list for used in _used(decorator)}
    return statement.name == name or GROUP in decorators


def _is_for_all(statement: ast.stmt) -> bool:
    """Whether a statement does more than bind names, or binds one that is looked up."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
    binds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    return not isinstance(statement, binds) or not SPECIAL.isdisjoint(_bound(statement))


def _without_body(statement: ast.stmt) -> ast.stmt:
    assert isinstance(statement, ast.FunctionDef)
    text = ast.get_docstring(statement, clean=False)
    refusal = ast.Raise(ast.Name(NotHelp.__name__, ast.Load()))
    told: list[ast.stmt] = [] if text is None else [ast.Expr(ast.Constant(text))]
    own = {field: getattr(statement, field) for field in statement._fields}
    return ast.copy_location(ast.FunctionDef(**own | {"body": [*told, refusal]}), statement)


def _used(node: ast.AST) -> Iterator[str]:
    """Yield the names that are looked up anywhere in a node."""
    return (one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load))


def _bound(statement: ast.stmt) -> Iterable[str]:
    """The names that a statement of a module binds."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [_name(alias) for alias in statement.names]
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    return [one.id for one in ast.walk(statement) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]


def _of_use(statement: ast.stmt, used: set[str]) -> ast.stmt:
    """An import of only those names that are used; anything else as it is."""
    if isinstance(statement, ast.Import):
        return ast.Import([alias for alias in statement.names if _name(alias) in used])
    if isinstance(statement, ast.ImportFrom) and statement.module != "__future__":
        names = [alias for alias in statement.names if _name(alias) in used]
        return ast.ImportFrom(statement.module, names, statement.level)
    return statement


def _name(alias: ast.alias) -> str:
    """What an import binds: of a module's path the first part."""
    return alias.asname or alias.name.partition(".")[0]
