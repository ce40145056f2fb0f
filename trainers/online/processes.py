"""What the processes of a run have to know of each other: with one process, each of these is its own."""

from collections.abc import Callable
from typing import TypeVar

from accelerate.utils import gather_object

from critic.engine import RunStopped

T = TypeVar("T")


def shared(work: Callable[[], T]) -> T:
    """Return what comes of this process's work. Raises `RunStopped` in all processes where it is raised in one.

    All have to call it at the same time. So all know that a step ends, and save together what came before it.
    """
    done: list[T] = []
    why: str | None = None
    try:
        done.append(work())
    except RunStopped as error:
        why = str(error)
    for reason in gather_object([why]):
        if reason is not None:
            raise RunStopped(reason)
    return done[0]
