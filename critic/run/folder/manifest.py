"""``manifest.json``: all that one needs to judge, compare or repeat a run."""

import json
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from critic.certificates.binding import code
from critic.run.folder.results import Results, replace_text
from critic.statistics.summary import summary

# Those whose version can change a text or a number.
PACKAGES = ("cai-feedback", "torch", "transformers", "tokenizers", "vllm", "openai", "jinja2", "numpy", "pyarrow")


def manifest(results: Results) -> dict[str, Any]:
    """Return the manifest as plain data. ``written`` and the machine may differ between equal runs, nothing else."""
    exported = results.exported
    engines = {name: dict(capabilities) for name, capabilities in results.engines.items()}
    counts = {
        "rows": exported.rows,
        "calls": results.calls,
        **{table: file.records for table, file in exported.files.items()},
    }
    return {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": dict(results.config),
        "provenance": results.provenance.model_dump(),
        "engines": engines,
        "kinship": results.kinship(),
        "packages": _versions(),
        # Of votes that were only weighed again it isn't known.
        **({} if "reweighed_from" in results.config else {"code": code()}),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "counts": counts,
        "quarantined": dict(sorted(results.quarantined.items())),
        "warnings": results.warnings(),
        "exports": {
            table: {"file": file.name, "records": file.records, "sha256": file.sha256}
            for table, file in exported.files.items()
        },
        "retest": None if results.retest is None else results.retest.plain(),
        "statistics": summary(results.statistics),
    }


def write_manifest(results: Results, directory: Path) -> None:
    """Write ``manifest.json`` into the run's directory."""
    text = json.dumps(manifest(results), indent=2, ensure_ascii=False, allow_nan=False)
    replace_text(directory / "manifest.json", text + "\n")


def _versions() -> dict[str, str]:
    installed: dict[str, str] = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            installed[package] = version(package)
    return installed
