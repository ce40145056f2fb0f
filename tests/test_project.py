"""The project as a whole: what a wheel holds, who imports whom, what no tracked file may say, what examples hold."""

import ast
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from pathlib import Path
from typing import TypeGuard

import grimp
import pytest

from critic.files.inputs import read_pairs, read_prompts
from critic.records import Line, Quarantined

ROOT = Path(__file__).parent.parent
PACKAGES = ("base", "cai_feedback", "constitution", "critic", "service", "trainers", "principles")


def run(*command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], cwd=ROOT, capture_output=True, text=True, check=check)


def tracked() -> list[Path]:
    """The files that git tracks and that are still there."""
    names = run("git", "ls-files", "-z").stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


@pytest.mark.slow
def test_wheel_holds_every_tracked_file_of_the_packages(tmp_path: Path) -> None:
    """Data files too: principles, checksums, templates. A wheel that lacks one works only in this folder."""
    source = tmp_path / "source"
    for file in tracked():
        copy = source / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    run(*pip, "--wheel-dir", tmp_path, source)
    with zipfile.ZipFile(next(tmp_path.glob("cai_feedback-*.whl"))) as wheel:
        held = set(wheel.namelist())
        entry_points = next(wheel.read(name).decode() for name in held if name.endswith("entry_points.txt"))
    expected = {str(file.relative_to(ROOT)) for file in tracked() if file.relative_to(ROOT).parts[0] in PACKAGES}
    assert expected - held == set()
    outside = {name for name in held if not name.startswith(PACKAGES) and ".dist-info/" not in name}
    assert outside == set(), "only the packages are installed: no tests, no benchmarks"
    assert any(name.endswith("licenses/LICENSE") for name in held)
    assert "cai = service.cli:main" in entry_points


OWN = frozenset(PACKAGES) - {"principles"}
LATE_AT_MOST = 15


def late_imports(file: Path) -> list[ast.Import | ast.ImportFrom]:
    """The imports of our own modules that stand in functions of a file."""
    functions = [
        node
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    nodes = {
        node.lineno: node
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    return [node for node in nodes.values() if imported_from(node) & OWN]


def imported_from(node: ast.Import | ast.ImportFrom) -> set[str]:
    """The top-level packages of an import; a relative one is ours, whatever it names."""
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]} if node.level == 0 else set(OWN)
    return {alias.name.partition(".")[0] for alias in node.names}


def test_few_imports_of_ours_stand_in_functions_and_each_says_why() -> None:
    """A module's arrows stand at its top. What is heavy and optional is imported late, with the reason beside it."""
    late = [
        (file, node)
        for file in tracked()
        if file.suffix == ".py" and file.relative_to(ROOT).parts[0] in OWN
        for node in late_imports(file)
    ]
    assert len(late) <= LATE_AT_MOST, [f"{file.relative_to(ROOT)}:{node.lineno}" for file, node in late]
    for file, node in late:
        lines = file.read_text("utf-8").splitlines()
        own, before = lines[node.lineno - 1], lines[node.lineno - 2]
        assert "  # " in own or before.lstrip().startswith("# "), (
            f"{file.relative_to(ROOT)}:{node.lineno} says no reason"
        )


def test_late_imports_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "late.py"
    file.write_text(
        "import base\ndef f():\n    import json\n    from critic import x\n    class C:\n        async def g(self):\n"
        "            from . import y\n            import numpy, base.errors\n"
    )
    assert [node.lineno for node in late_imports(file)] == [4, 7, 8]


COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Unclear:
    """What is hard to read in a file: `found` as a name, conditions or comprehensions within one expression."""

    def __init__(self, file: Path) -> None:
        self.faults: list[str] = []
        self._look(ast.parse(file.read_bytes()))

    def _look(self, node: ast.AST) -> tuple[int, int]:
        """Return how many conditions and comprehensions there are in an expression."""
        conditions, comprehensions = int(isinstance(node, ast.IfExp)), int(isinstance(node, COMPREHENSIONS))
        for child in ast.iter_child_nodes(node):
            some, more = self._look(child)
            conditions, comprehensions = conditions + some, comprehensions + more
            if more > 1 and isinstance(child, ast.expr) and not isinstance(node, ast.expr | INNER):
                self.faults.append(f"{child.lineno}: several comprehensions in an expression")
        if isinstance(node, ast.IfExp) and conditions > 1:
            self.faults.append(f"{node.lineno}: a condition within a condition")
        if is_called_found(node):
            self.faults.append(f"{node.lineno}: a name that says what it holds, not found")
        return (conditions, comprehensions) if isinstance(node, ast.expr | INNER) else (0, 0)


INNER = ast.keyword | ast.comprehension | ast.arguments | ast.arg | ast.Slice
"""What stands inside expressions, and is none."""


def is_called_found(node: ast.AST) -> TypeGuard[ast.Name | ast.arg]:
    """Whether a variable or a parameter is called `found`, where it is bound."""
    if isinstance(node, ast.arg):
        return node.arg == "found"
    return isinstance(node, ast.Name) and node.id == "found" and isinstance(node.ctx, ast.Store)


@pytest.mark.parametrize("folder", [*sorted(OWN), "benchmarks", "examples", "site", "tests"])
def test_names_and_expressions_are_easy_to_read(folder: str) -> None:
    faults = {}
    for file in tracked():
        if file.suffix == ".py" and file.relative_to(ROOT).parts[0] == folder:
            faults[str(file.relative_to(ROOT))] = Unclear(file).faults
    assert faults and {file: here for file, here in faults.items() if here} == {}


def test_what_is_hard_to_read_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "unclear.py"
    file.write_text(
        "def f(found, x):\n    for found in x:\n        print(x.found, found)\n    y = 1 if x else 2 if f else 3\n"
        "    y = [[b for b in a] for a in x]\n    y = g(a for a in x), 1 if x else 2\n"
        "    return {1: [a for a in x], 2: {*(b for b in x)}}\n"
    )
    assert sorted(fault[:2] for fault in Unclear(file).faults) == ["1:", "2:", "4:", "5:", "7:"]


def test_one_class_name_is_one_class() -> None:
    """A name stands for one thing, wherever it is defined; tests make fakes of the same names."""
    homes: dict[str, set[str]] = {}
    for file in tracked():
        if file.suffix == ".py" and file.relative_to(ROOT).parts[0] != "tests":
            for name in re.findall(r"^ *class (\w+)[(:\[]", file.read_text("utf-8"), re.MULTILINE):
                homes.setdefault(name, set()).add(str(file.relative_to(ROOT)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


MOST_FILES = 12
MOST_LOOSE = 8  # in the service itself


def test_no_room_is_crowded() -> None:
    """Files of a folder, `__init__.py` too, beside its subfolders."""
    files = [file.relative_to(ROOT).parent for file in tracked() if file.suffix == ".py"]
    crowded = {
        str(room): count
        for room, count in Counter(files).items()
        if room.parts and room.parts[0] in OWN and count > (MOST_LOOSE if str(room) == "service" else MOST_FILES)
    }
    assert crowded == {}


def test_trainers_know_of_critic_only_data_and_engines() -> None:
    graph = grimp.build_graph("base", "constitution", "critic", "trainers", cache_dir=None)
    allowed = {"calls", "certificates", "chats", "engine", "engines", "feedback", "files", "judging", "local"}
    allowed |= {"messages", "pages", "prompts", "records", "rewarding", "rows", "run", "statistics", "vllm"}
    for module in graph.find_descendants("trainers"):
        for imported in graph.find_modules_directly_imported_by(module):
            package, *rest = imported.split(".")
            assert package != "critic" or (rest and rest[0] in allowed), f"{module} imports {imported}"


def test_no_tracked_file_names_one_machine() -> None:
    """Absolute paths of one machine and registry hosts work for nobody else. The patterns don't match themselves."""
    patterns = {
        "a machine's path": r"(?<![\w.~*-])/(?:work|root|home|Users)/" + r"\w",
        "a registry's host": r"(?:files\.python"
        + r"hosted|py"
        + r"pi|registry\.npmjs|deb\.debian)\."
        + r"(?:org|python)",
        "a pip index": r"--(?:extra-)?index-url[ =]" + r"http",
    }
    named = []
    for file in tracked():
        text = file.read_bytes().decode("utf-8", errors="ignore")
        named += [f"{file.relative_to(ROOT)}: {what}" for what, pattern in patterns.items() if re.search(pattern, text)]
    assert named == []


def test_only_ci_knows_where_the_data_lies() -> None:
    folder = "/".join(("shared", "data"))
    assert [str(file.relative_to(ROOT)) for file in tracked() if folder.encode() in file.read_bytes()] == [".ci/run"]


def test_pins_are_exact_and_cover_every_dependency() -> None:
    """Set-up installs with these; a name without a pin would be whatever the index has that day."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins), "no local versions, no addresses"
    pinned = Counter(pin.split("==")[0].lower().replace("_", "-") for pin in pins)
    assert max(pinned.values()) == 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    # vLLM is left to the machine: its GPU build pins a CUDA torch, and `make vllm` pins the one for CPUs.
    wanted = project["dependencies"] + [d for extra in extras if extra != "vllm" for d in extras[extra]]
    names = {re.split(r"[^\w.-]", d, maxsplit=1)[0].lower().replace("_", "-") for d in wanted}
    assert names - {"cai-feedback"} - set(pinned) == set()  # extras that hold other extras


def test_scripts_parse_and_make_explains_itself() -> None:
    assert run("bash", "-n", ".ci/run").stderr == ""
    shown = run("make", "help").stdout
    targets = re.search(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    assert [t for t in targets[1].split() if t not in ("help", "setup") and f"make {t} " not in shown] == []


def lines_of(read: list[Line | Quarantined]) -> list[Line]:
    assert [line for line in read if isinstance(line, Quarantined)] == []
    return [line for line in read if isinstance(line, Line)]


def test_example_prompts_load_and_keep_their_promises() -> None:
    lines = lines_of(list(read_prompts(str(ROOT / "examples/prompts.jsonl"), max_chars=2000, truncate=False)))
    prompts = [line.item.prompt for line in lines]
    kinds = Counter(tag for prompt in prompts for tag in prompt.tags if tag in ("helpful", "harmful", "tricky"))
    assert kinds == {"helpful": 24, "harmful": 24, "tricky": 24}
    assert len({prompt.id for prompt in prompts}) == 72
    assert len({prompt.key for prompt in prompts}) == 72
    turns = Counter(prompt.id for prompt in prompts for message in prompt.messages if message.role == "user")
    several_turns = {id for id, count in turns.items() if count > 1}
    assert several_turns == {prompt.id for prompt in prompts if "multi-turn" in prompt.tags}
    assert len(several_turns) >= 8
    assert any("<|im_end|>" in prompt.messages[-1].content for prompt in prompts)


def test_example_answers_load() -> None:
    lines = lines_of(list(read_pairs(str(ROOT / "examples/answers.jsonl"), max_chars=2000, truncate=False)))
    assert len(lines) == 12
    assert {len(line.item.responses) for line in lines} == {2, 3}


def test_examples_are_plain_json_lines() -> None:
    for file in sorted((ROOT / "examples").glob("*.jsonl")):
        ids = [json.loads(line)["id"] for line in file.read_text(encoding="utf-8").splitlines()]
        assert len(ids) == len(set(ids)), file.name
