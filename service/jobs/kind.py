"""What a kind of job is: one object, in a file of its own among `service.jobs.kinds`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args

from service.jobs.named import Named
from service.jobs.requests import JobRequest
from service.jobs.work.work import Work

R = TypeVar("R", bound=JobRequest)


async def nothing_to_check(asked: JobRequest, named: Named) -> None:
    """Find no fault: the `JobKind.check` of kinds that name nothing but sources and a constitution."""


def no_file(asked: JobRequest) -> None:
    """Know no file: the `JobKind.file` of kinds whose sources say which file of a job they mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind(Generic[R]):
    """A kind of job.

    ``request`` is the model of what it is asked for; its ``kind: Literal["..."]`` is the kind's name, and its fields
    of the type `Source` are what it reads. ``about`` says what it does, in a sentence for those who choose a kind.
    ``check`` raises `InputError` or a refusal where a request names what isn't there, before the job is stored.
    ``run`` does the job in a worker's thread, and returns its result as plain JSON; what it does by `Work.step` is not
    done again where a worker died. ``file`` returns which file of an earlier job is read where a source names none.
    ``leaves_pairs`` says that it leaves a run's tables (``pairs.jsonl`` ...), which people can label and trainers
    learn from.
    """

    request: type[R]
    about: str
    run: Callable[[Work, R], dict[str, Any]]
    check: Callable[[R, Named], Awaitable[None]] = nothing_to_check
    file: Callable[[R], str | None] = no_file
    leaves_pairs: bool = False

    @property
    def name(self) -> str:
        """What requests call it."""
        return str(get_args(self.request.model_fields["kind"].annotation)[0])
