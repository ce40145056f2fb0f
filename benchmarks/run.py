"""Run benchmarks, each in a fresh process, and write what they measured into ``RESULTS.md``.

``python -m benchmarks.run`` runs all of them, ``python -m benchmarks.run NAME ...`` some, ``--list`` names them. Only
the sections of those that ran are rewritten. All together they end in 40 minutes on two cores, so a module may name
constants of its own in ``SHORT`` that are smaller then; the section says so. Exit codes: 0 done, 1 a benchmark crashed
or a figure missed its target.
"""

import argparse
import importlib
import inspect
import json
import math
import os
import pkgutil
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import benchmarks
from benchmarks.figures import Measurement
from benchmarks.overview import picture, with_head

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "RESULTS.md"
HELPERS = {
    "capacity",
    "cost_curve",
    "data",
    "figures",
    "grpo_steps",
    "mixed",
    "overview",
    "peers",
    "places",
    "replayed",
    "rule_judge",
    "run",
    "same_losses",
    "serving",
    "simulate",
    "simulated_raters",
    "simulation",
}
# `make accuracy`, `make million`, `make gpu`, learning curves, evidence, and the pages of templates and of memory.
OWN_COMMANDS = {
    "alarms",
    "calibration",
    "coverage",
    "gpu",
    "judge_accuracy",
    "learning_curve",
    "million",
    "plans",
    "reward_hh",
    "reward_model",
    "routing",
    "templates",
}
HEADER = "# Results\n\nEach section is written by the last run of its benchmark.\n"


def names() -> list[str]:
    """The benchmarks in this folder."""
    return sorted({module.name for module in pkgutil.iter_modules(benchmarks.__path__)} - HELPERS - OWN_COMMANDS)


def measure_here(name: str, out: Path, short: bool = False) -> None:
    """Run one benchmark in this process and write its section's parts to ``out``. This is what the child does."""
    module = importlib.import_module(f"benchmarks.{name}")
    about = (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ")
    smaller = getattr(module, "SHORT", {}) if short else {}
    if smaller:
        sizes = (f"{size} {value} instead of {getattr(module, size)}" for size, value in smaller.items())
        about += f" Shorter here, where all were run: {', '.join(sizes)}."
    for size, value in smaller.items():
        setattr(module, size, value)
    figures = [asdict(figure) for figure in module.measure()]
    out.write_text(json.dumps({"title": module.TITLE, "about": about, "figures": figures}))


def run(name: str, short: bool) -> bool:
    """Run one benchmark in a child process and rewrite its section. Return whether every figure reached its target."""
    print(f"== {name}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "benchmarks.run", "--child", str(out), *["--short"] * short, name]
        child = subprocess.run(command, check=False)
        if child.returncode or not out.exists():
            print(f"{name} failed with exit code {child.returncode}; its section is unchanged", file=sys.stderr)
            return False
        measured = json.loads(out.read_text())
    figures = [Measurement(**figure) for figure in measured["figures"]]
    section = render(measured["title"], measured["about"], figures, time.monotonic() - began)
    print(section)
    write_section(name, section)
    return all(figure.reached for figure in figures)


def write_section(name: str, section: str) -> None:
    """Put a section into ``RESULTS.md``, and renew the head and the picture, which follow from all sections."""
    before = RESULTS.read_text() if RESULTS.exists() else HEADER
    after = replace_section(before, name, section)
    RESULTS.write_text(with_head(after))
    RESULTS.with_name("results.svg").write_text(picture(after))


def render(title: str, about: str, figures: Iterable[Measurement], seconds: float | None = None) -> str:
    """One section of ``RESULTS.md``: the table, where and on what it was measured, and how long that took if known."""
    lines = [f"## {title}", "", about, "", "| figure | value | target | note |", "|---|---:|---:|---|"]
    lines += [row(figure) for figure in figures]
    lines += ["", f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}. {software()}. {hardware()}."]
    if seconds is not None:
        lines.append(f"Measured in {seconds:,.0f} s.")
    return "\n".join(lines)


def row(figure: Measurement) -> str:
    """One line of the table; a missed target is printed bold, with MISSED."""
    unit = f" {figure.unit}" if figure.unit else ""
    target = "" if figure.target is None else f"{figure.bound} {rounded(figure.target)}"
    value = rounded(figure.value) + unit if figure.reached else f"**{rounded(figure.value)}{unit} MISSED**"
    return f"| {figure.name} | {value} | {target} | {figure.note} |"


def rounded(value: float) -> str:
    """Three significant digits, and no fewer than the whole number."""
    if value == 0 or not math.isfinite(value):
        return str(value)
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def replace_section(text: str, name: str, section: str) -> str:
    """Put ``section`` between the benchmark's markers in ``text``; at the end if it has none yet."""
    start, end = f"<!-- benchmark: {name} -->", f"<!-- end: {name} -->"
    block = f"{start}\n{section}\n{end}"
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: block, text)
    return f"{text.rstrip()}\n\n{block}\n"


def commit() -> str:
    """The commit that was measured, with a plus sign if tracked files had changed since."""
    git = ["git", "-C", str(FOLDER)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    dirty = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True, check=False).returncode
    return (head.stdout.strip() or "unknown") + ("+" if dirty else "")


def software() -> str:
    """Versions that move the figures."""
    return f"Python {platform.python_version()}, torch {version('torch')}, transformers {version('transformers')}"


def hardware() -> str:
    """Processor, cores that this process may use, memory, and accelerators if there are any."""
    import torch

    from critic.local import processor

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    devices = "".join(f", {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count()))
    return f"{cpu_model()}, {processor.cores()} cores, {memory:.0f} GiB{devices}"


def cpu_model() -> str:
    """The processor's name, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return model[1] if model else platform.processor() or platform.machine()


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks to run; all by default")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and stop")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--short", action="store_true", help="the sizes that are run where no NAME is given")
    options = parser.parse_args()
    if options.list:
        print("\n".join(names()))
        return 0
    if unknown := sorted(set(options.names) - set(names())):
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(names()) or 'none yet'}")
    if options.child:
        measure_here(options.names[0], options.child, options.short)
        return 0
    began = time.monotonic()
    reached = [run(name, short=options.short or not options.names) for name in options.names or names()]
    print(f"{len(reached)} benchmarks in {(time.monotonic() - began) / 60:.1f} minutes")
    return 0 if all(reached) else 1


if __name__ == "__main__":
    raise SystemExit(main())
