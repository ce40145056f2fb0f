"""All kinds of jobs, one file each: a `service.jobs.kind.JobKind` as ``JOB``, found by being here.

Everything else asks that object: the API and its documentation, the pages' forms, the queue, and the workers.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, Field, WithJsonSchema

from base.errors import InputError
from base.plugins import by_name, imported, one_of
from service.jobs.kind import JobKind
from service.jobs.requests import JobRequest

LONGEST_NAME = 32  # of the column that has it


def _kinds() -> Iterator[tuple[str, str, JobKind[Any]]]:
    """Yield each file's kind with its name and place. Raises `InputError` for a file without one."""
    for module in imported(__name__, __path__):
        kind = getattr(module, "JOB", None)
        if not isinstance(kind, JobKind):
            raise InputError("it holds no job kind", where=module.__name__, fix="JOB = JobKind(...) is expected")
        _complete(kind, module.__name__)
        yield kind.name, module.__name__, kind


def _complete(kind: JobKind[Any], where: str) -> None:
    """Raise `InputError` for a kind that lacks something."""
    request = kind.request
    if not (isinstance(request, type) and issubclass(request, JobRequest)):
        fix = "class ...Request(JobRequest) is expected: see service/jobs/requests.py"
        raise InputError("its request is no model of one", where=where, fix=fix)
    said = request.model_fields["kind"].annotation
    names = get_args(said) if get_origin(said) is Literal else ()
    if len(names) != 1 or not isinstance(names[0], str) or not 0 < len(names[0]) <= LONGEST_NAME:
        fix = f'Say kind: Literal["..."], of 1 to {LONGEST_NAME} letters.'
        raise InputError("its request does not say its name", where=f"{where}.{request.__qualname__}", fix=fix)
    if not kind.about.strip():
        raise InputError(f"the job kind {kind.name!r} lacks about", where=where, fix="Say in a sentence what it does.")


KINDS: dict[str, JobKind[Any]] = by_name("a job kind", _kinds())


Kind = Annotated[
    str, AfterValidator(one_of("kind of job", KINDS)), WithJsonSchema({"type": "string", "enum": list(KINDS)})
]
"""The name of a kind."""

if TYPE_CHECKING:
    AnyRequest = JobRequest
else:
    AnyRequest = Union[tuple(kind.request for kind in KINDS.values())]  # noqa: UP007  # of as many as there are files
Request = Annotated[AnyRequest, Field(discriminator="kind")]
"""What a job of any kind is asked for."""
