"""Where the key of a server is read: in an environment variable, whose name may stand in what is shown and kept."""

import os
import re
from collections.abc import Mapping

from base.errors import InputError

KEY_ENV = "OPENAI_API_KEY"
"""The variable that is read unless another one is named."""


def key_variable(options: Mapping[str, str], where: str) -> str:
    """Return the name of the environment variable of the API key. Raises `InputError` for what can be no name."""
    name = options.get("key_env", KEY_ENV)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):  # which may be the key itself: it is not told
        raise InputError(
            "key_env names no environment variable",
            where=where,
            fix="It is the variable's name, and not the key: export MY_KEY=..., then ?key_env=MY_KEY",
        )
    return name


def api_key(options: Mapping[str, str], where: str) -> tuple[str, str]:
    """Return the API key with the name of its environment variable. Raises `InputError` where there is none."""
    name = key_variable(options, where)
    key = os.environ.get(name, "").strip()
    if "key_env" in options and not key:
        raise InputError(f"the environment variable {name} is not set", where=where, fix="Set it to the API key.")
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"the environment variable {name} holds no API key", where=where, fix="Set it to the key.")
    return name, key
