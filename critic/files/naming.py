"""Which columns are read, and what they are called: by their own names in any case, or as a person maps them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from base.errors import InputError
from base.nearest import perhaps

NAMES_KEPT = 1000  # sets of a row's names whose meaning is remembered; files have few, and strangers' files any number


class NamingError(ValueError):
    """Columns that can't be told apart, or one that isn't there."""


@dataclass(frozen=True)
class Naming:
    """``known`` tells whether a column may be read; ``given`` maps such names to those that the input has instead."""

    known: Callable[[str], bool] = lambda name: True
    given: Mapping[str, str] = field(default_factory=dict)
    _kept: dict[tuple[str, ...], dict[str, str] | None] = field(default_factory=dict, compare=False)

    def of_table(self, names: Sequence[str], where: str) -> dict[str, str]:
        """Return what the columns of a header that are read are called here. Raises `InputError`."""
        try:
            return self._named(names)
        except NamingError as error:
            raise InputError(str(error), where=where, fix=f"The columns are: {_listed(names)}.") from None

    def of_row(self, columns: dict[str, Any]) -> dict[str, Any]:
        """Return a row's values by the names that they have here, with those of no known name. Raises `NamingError`."""
        names = tuple(columns)
        if names not in self._kept:
            if len(self._kept) >= NAMES_KEPT:
                self._kept.clear()
            named = self._named(names)
            same = not self.given and all(name == own for name, own in named.items())
            self._kept[names] = None if same else named
        found_here = self._kept[names]
        if found_here is None:
            return columns  # the same object: most inputs need no other names
        # A column that another one was mapped over is not the one of that name.
        hidden = set(self.given).difference(found_here)
        return {found_here.get(name, name): value for name, value in columns.items() if name not in hidden}

    def _named(self, names: Sequence[str]) -> dict[str, str]:
        """Return the names here by those in the input."""
        named: dict[str, str] = {}
        for own, given in self.given.items():
            if not given:
                continue
            source = self._source(own, given, names)
            if source in named:
                raise NamingError(f"the column {source!r} can't be both {named[source]} and {own}")
            named[source] = own
        for name in names:
            # A header has blank names over pandas' numbers of rows, and at its end, where cells were cleared.
            if name in self.given or name in named or not name.strip() or not self.known(name):
                continue
            if names.count(name) > 1:
                raise NamingError(f"two columns are called {name!r}; rename one")
            named[name] = name
        taken = {*named.values(), *self.given}
        for name in names:
            own = name.strip().casefold()
            if name in named or name == own or own in self.given or not self.known(own):
                continue
            if own in named.values() and own not in taken:
                other = next(there for there, here in named.items() if here == own)
                raise NamingError(f"{other!r} and {name!r} are both {own}; say which with --column {own}=NAME")
            if own not in taken:
                named[name] = own
        return named

    def missing(self, names: Sequence[str]) -> bool:
        """Whether a column that a person named is none of these."""
        alike = {name.strip().casefold() for name in names}
        return any(given and given.strip().casefold() not in alike for given in self.given.values())

    def _source(self, own: str, given: str, names: Sequence[str]) -> str:
        if given in names:
            return given
        alike = [name for name in names if name.strip().casefold() == given.strip().casefold()]
        if len(alike) == 1:
            return alike[0]
        raise NamingError(f"there is no column {given!r}, which is to be {own}; there are {_listed(names)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


EVERYTHING = Naming()


def read_mapping(text: str | None, known: Callable[[str], bool], names: Iterable[str] = ()) -> dict[str, str]:
    """Read ``prompt=question,chosen=win``; ``id=`` means that no column is the id. Raises `InputError`.

    ``names`` are names that may have been meant by one that is not ``known``.
    """
    mapping: dict[str, str] = {}
    for part in (text or "").split(",") if text else ():
        own, equals, given = part.partition("=")
        own = own.strip().casefold()
        if not equals or not known(own):
            raise InputError(
                f"{part.strip()!r} maps no column that is read",
                where="--column",
                fix=f"{perhaps(own, names)}Expected NAME=COLUMN, as in prompt=question,chosen=win.",
            )
        if own in mapping:
            raise InputError(f"{own} is mapped twice", where="--column", fix="Name one column for it.")
        taken = next((name for name, column in mapping.items() if column and column == given.strip()), None)
        if taken:
            raise InputError(
                f"the column {given.strip()!r} is mapped to both {taken} and {own}",
                where="--column",
                fix="Name another column for one of them.",
            )
        mapping[own] = given.strip()
    return mapping
