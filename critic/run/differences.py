"""What two configs of one directory differ in, said as a person would: which setting it was there, and which it is now.

A config is the flat dictionary of `critic.run.config.RunConfig.flat`, or that of a measurement.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# The options whose None has a name.
_NONE = {"judge_principles": "all", "limit": "none", "columns": "none"}
# Keys that are told together with another one.
_TOLD_WITH = {"constitution_hash": "constitution", "input_hash": "input", "judge_hash": "judge"}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing in which ``now`` is not ``before``."""
    changed = [key for key in now if before.get(key) != now[key]]
    lines: list[str] = []
    for key in dict.fromkeys(_TOLD_WITH.get(key, key) for key in changed):
        lines += _lines(key, before, now)
    return lines


def raises_limit_only(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether nothing differs but that more rows of the same input are wanted."""
    if [key for key in now if before.get(key) != now[key]] != ["limit"]:
        return False
    old, new = before.get("limit"), now["limit"]
    return old is not None and (new is None or new > old)


def _lines(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = before.get(key), now.get(key)
    match key:
        case "constitution" | "input" if old == new:
            yield f"{key}: {new} has other content now"
        case "judge":  # of a measurement
            yield from _measured(old, new)
        case "principle":
            yield "principle: another one there, or other words of it"
        case "templates":
            yield from _templates(old or {}, new or {})
        case "policy" | "critic":
            yield from _engine(key, old, new)
        case "jury":
            yield from _jury(old or (), new or ())
        case _:
            yield f"{_name(key)}: {_value(key, old)} there, {_value(key, new)} now"


def _measured(old: Any, new: Any) -> Iterator[str]:
    there, here = (judge[0] if isinstance(judge, list | tuple) and judge else judge for judge in (old, new))
    if there != here:
        yield f"judge: {_plain(there)} there, {_plain(here)} now"
    else:
        yield f"judge: {here} has other weights or settings now"


def _templates(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    yield f"templates: this version of cai words its questions otherwise ({', '.join(names)})"


def _jury(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    there = ", ".join(_seat(seat) for seat in old) or "none"
    here = ", ".join(_seat(seat) for seat in new) or "none"
    if there != here:
        yield f"judge: {there} there, {here} now"
        return
    for one, other in zip(old, new, strict=True):
        yield from _engine("judge", one["judge"], other["judge"])
        options = sorted(
            name for name in {*one["mode"], *other["mode"]} if one["mode"].get(name) != other["mode"].get(name)
        )
        for name in options:
            was, is_now = (_plain(seat["mode"].get(name)) for seat in (one, other))
            yield f"mode {other['mode']['name']} of {other['judge']['name']}: {name} {was} there, {is_now} now"


def _seat(seat: Mapping[str, Any]) -> str:
    return f"{seat['judge']['name']} ({seat['mode']['name']})"


def _engine(role: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[str]:
    if old is None or new is None or old["name"] != new["name"]:
        there, here = ("none" if engine is None else engine["name"] for engine in (old, new))
        yield f"{role}: {there} there, {here} now"
        return
    if old["revision"] != new["revision"]:
        yield f"{role}: {new['name']} has other weights, or another script, now"
    was, is_now = (dict(engine["settings"]) for engine in (old, new))
    for name in sorted(name for name in {*was, *is_now} if was.get(name) != is_now.get(name)):
        yield f"{role} {new['name']}: {name} {_plain(was.get(name))} there, {_plain(is_now.get(name))} now"


def _name(key: str) -> str:
    return key.replace("_", " ") if key in ("kind", "constitution", "input") else "--" + key.replace("_", "-")


def _value(key: str, value: Any) -> str:
    return _NONE[key] if value is None and key in _NONE else _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
