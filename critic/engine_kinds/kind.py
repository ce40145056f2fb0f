"""What is known of a kind of engine before one is opened. Each file in `critic.engines` holds one, as ``ENGINE``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from critic.engine import Engine
from critic.engine_kinds.options import SpecOption

# What an engine gives its callers. Only those that give text write; the others judge, each kind in modes of its own.
Gives = Literal["text", "rewards", "decisions"]

Expect = Callable[[str, dict[str, str]], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKind:
    """A kind of engine: how specs name it, what it gives, and how it is opened.

    ``open`` takes what the spec has after the colon and its options; it raises `InputError` for what can't be used.
    ``check`` takes the same and raises the same, as far as it can be told before an engine is opened: without a model
    or a server, and on any machine. That the ``options`` are known, where there are any, is checked for every kind.
    ``expect_here`` says what isn't on this machine, and ``expect_there`` also what isn't beyond it (a server, the
    hub), within seconds: both take and raise the same, and load nothing.
    ``target`` is what that part is; None where nothing may follow. ``is_text`` says that it may hold question marks,
    and that no options follow. ``mode`` is the judge mode that it is asked in where nothing else is said. ``room`` is
    how many tokens it may let a model think beside each limit. ``proves`` says that it finds out when it is opened
    whether its model's branches can be computed together. Without ``whole_trees`` each read of a tree is a
    request of its own, and a shared beginning is paid for each time. ``is_trainable`` says that its target is a model
    whose weights are on this machine; without a target they are the model that its name is. ``holds_weights`` says that
    opening it loads such a model, one that writes or one that judges, onto a device of this machine.
    """

    name: str
    open: Callable[[str, dict[str, str]], Engine]
    target: str | None
    options: tuple[SpecOption, ...] = ()
    check: Expect | None = None
    expect_here: Expect | None = None
    expect_there: Expect | None = None
    gives: Gives = "text"
    mode: str = "logprob"
    room: int = 0
    proves: bool = False
    is_text: bool = False
    whole_trees: bool = True
    is_trainable: bool = False
    holds_weights: bool = False
