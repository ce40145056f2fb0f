"""All kinds of feedback: what each file of this folder defines as a subclass of `critic.feedback.base.Label`.

A kind is found by being here: see `critic.feedback`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import AfterValidator, WithJsonSchema

from base.errors import InputError
from base.plugins import imported, one_of
from critic.feedback.base import Label

_NEEDED = ("form", "rows")  # what `Label` leaves to each kind


def _kinds() -> Iterator[type[Label]]:
    """Yield the kinds of each file of this folder, by the files' names."""
    for module in imported(__name__, __path__):
        own = [value for value in vars(module).values() if _is_kind(value) and value.__module__ == module.__name__]
        if not own:
            fix = "A class is expected that derives from Label"
            raise InputError("it holds no kind of feedback", where=module.__name__, fix=fix)
        yield from own


def _is_kind(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Label) and value is not Label


def _by_name() -> dict[str, type[Label]]:
    """Return the kinds by their names. Raises `InputError` for one that lacks something, and for a name given twice."""
    known: dict[str, type[Label]] = {}
    for label in _kinds():
        _complete(label)
        if label.kind in known:
            both = f"{known[label.kind].__module__} and {label.__module__}"
            raise InputError(f"two kinds of feedback are called {label.kind!r}", where=both, fix="Rename one of them.")
        known[label.kind] = label
    _same_options(known)
    return known


def _complete(label: type[Label]) -> None:
    where = f"{label.__module__}.{label.__qualname__}"
    name = vars(label).get("kind")
    if not isinstance(name, str) or not 0 < len(name) <= 32:
        raise InputError(
            "the kind has no name", where=where, fix='Say kind: ClassVar[str] = "...", of 1 to 32 letters.'
        )
    lacking = [method for method in _NEEDED if getattr(label, method).__qualname__ == f"Label.{method}"]
    if lacking:
        fix = "See critic.feedback.base.Label for what each kind says."
        raise InputError(f"the kind {name!r} lacks {' and '.join(lacking)}", where=where, fix=fix)
    if label.short is not None and label.short not in label.model_fields:
        raise InputError(f"the short form is no field of the label: {label.short!r}", where=where)


def _same_options(known: dict[str, type[Label]]) -> None:
    """Raise `InputError` where two kinds have an option of one name and different types: a project says it once."""
    types: dict[str, tuple[Any, str]] = {}
    for label in known.values():
        for name, field in label.options.model_fields.items():
            type_, other = types.setdefault(name, (field.annotation, label.kind))
            if type_ != field.annotation:
                raise InputError(
                    f"the option {name!r} is of another type for a {other}",
                    where=f"{label.__module__}.{label.options.__qualname__}",
                    fix="Rename it.",
                )


KINDS: dict[str, type[Label]] = _by_name()


Kind = Annotated[str, AfterValidator(one_of("kind", KINDS)), WithJsonSchema({"type": "string", "enum": list(KINDS)})]
"""The name of a kind."""

if TYPE_CHECKING:
    AnyLabel = Label
else:
    AnyLabel = Union[tuple(KINDS.values())]  # noqa: UP007  # of as many as there are files
"""A label of any kind."""
