"""The service's own errors, which know nothing of HTTP, and the core that neither does."""

import ast
import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy.exc import TimeoutError as NoConnection

from service import problems, refusals
from service.refusals import Fault, Invalid, NotFound, Refusal, not_found

SERVICE = Path(refusals.__file__).parent
CORE = ("labels", "keys", "jobs", "store", "review", "exports", "serving", "align", "formats")


def kinds() -> list[type[Refusal]]:
    return Refusal.__subclasses__()


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_each_kind_of_refusal_has_one_status_and_is_told_whole(kind: type[Refusal]) -> None:
    refusal = kind("it was not done", "Do it otherwise.")
    problem = problems.of(refusal)
    told = problem.public()
    assert told.status == problems.STATUS[kind] >= 400
    assert (told.type, told.detail, told.fix) == (kind.default_slug, "it was not done", "Do it otherwise.")
    assert ("Retry-After" in problem.headers) == (refusal.retry_after is not None)
    assert ("WWW-Authenticate" in problem.headers) == (told.status == 401)


def test_no_two_kinds_share_a_status_or_a_slug() -> None:
    assert set(problems.STATUS) == set(kinds())
    assert len(set(problems.STATUS.values())) == len({kind.default_slug for kind in kinds()}) == len(kinds())


def test_what_is_wrong_keeps_its_place() -> None:
    assert Invalid("too long", where="/label").faults == [Fault(where="/label", problem="too long")]
    faults = [Fault(where="/a", problem="x"), Fault(where="/b", problem="y")]
    assert Invalid("two things", faults=faults).faults == faults
    assert isinstance(not_found("project", "p1"), NotFound)
    assert str(not_found("project", "p1")) == "there is no project 'p1'"


def imported(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def test_the_core_does_not_speak_http() -> None:
    """Routes and pages do, what bounds connections does, and `service.problems`."""
    files = [file for room in CORE for file in sorted((SERVICE / room).rglob("*.py"))]
    assert len(files) > 60
    spoken = {
        f"{file.relative_to(SERVICE)}: {name}"
        for file in files
        for name in imported(file)
        if name.partition(".")[0] in ("fastapi", "starlette", "http") or name == "service.problems"
    }
    assert spoken == set()


def test_routes_and_pages_do_not_speak_sql() -> None:
    """They ask queries that have names, in the rooms of what is asked."""
    files = [file for room in ("api", "web") for file in sorted((SERVICE / room).rglob("*.py"))]
    assert len(files) > 60
    spoken = {
        f"{file.relative_to(SERVICE)}: {name}"
        for file in files
        for name in imported(file)
        if name.partition(".")[0] == "sqlalchemy" or name.startswith("service.store.tables")
    }
    tables = {str(file.relative_to(SERVICE)) for file in files if takes_tables(file)}
    asked = {str(file.relative_to(SERVICE)) for file in files if re.search(r"\.(execute|scalars?)\(", file.read_text())}
    assert spoken | tables | asked == set()


def takes_tables(file: Path) -> bool:
    """Whether a file imports the tables from their room, as a name."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    taken = {(node.module, alias.name) for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    return ("service.store", "tables") in taken


def test_no_connection_left_is_told_as_a_database_that_can_t_be_reached_and_not_as_a_fault_of_ours() -> None:
    application = FastAPI()
    problems.install(application)
    assert NoConnection in application.exception_handlers
    problem = problems.of(NoConnection("QueuePool limit of size 10 overflow 20 reached, connection timed out"))
    told = problem.public()
    assert (told.status, told.type) == (503, "database_unavailable") and "Retry-After" in problem.headers
    assert "QueuePool" not in told.detail
