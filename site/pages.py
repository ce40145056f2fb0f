"""What the site has beside `docs/`: the documents of the root, and pages made from commands, the API and the code."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Documents that lie outside of docs/, by what they are on the site.
OUTSIDE = {
    "index.md": "README.md",
    "DESIGN.md": "DESIGN.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "RESULTS.md": "benchmarks/RESULTS.md",
}
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
# Typer brings a copy of click of its own, without types that are public: hence `Any` below.
_PYTHON = "# Python API\n\n::: cai_feedback\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    made = {name: (ROOT / source).read_text("utf-8") for name, source in OUTSIDE.items()}
    made |= {"reference/commands.md": commands(), "reference/http.md": http(), "reference/python.md": _PYTHON}
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    picture = ROOT / "benchmarks/results.svg"
    if picture.is_file():
        files.append(File.generated(config, "results.svg", content=picture.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links lead where their targets are on the site."""
    source = Path(OUTSIDE.get(page.file.src_uri, f"docs/{page.file.src_uri}")).parent
    on_site = {target: name for name, target in OUTSIDE.items()}

    def led(link: re.Match[str]) -> str:
        target = _normal(source / link[1])
        return f"]({on_site.get(target, target.removeprefix('docs/').removeprefix('benchmarks/'))}"

    return _LINK.sub(led, markdown) if not page.file.src_uri.startswith("reference/") else markdown


def commands() -> str:
    """Return the page of commands, made from their help."""
    from service.cli import app
    from service.cli.opened import every

    shown = (_command(command, ("cai", *path)) for path, command in every(typer.main.get_command(app)))
    return "# Commands\n\n" + "\n".join(line for lines in shown for line in lines)


def _command(command: Any, path: tuple[str, ...]) -> Iterator[str]:
    context = command.context_class(command, info_name=path[-1])
    yield f"## {' '.join(path)}\n\n{_plain(command.help or '')}\n"
    rows = [_parameter(parameter, context) for parameter in command.params]
    yield "| option | | default |\n|---|---|---|\n" + "".join(rows)


def _parameter(parameter: Any, context: Any) -> str:
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    about = _plain(getattr(parameter, "help", None) or "")
    default = parameter.get_default(context)
    shown = "" if default in (None, False, (), []) or callable(default) else f"`{getattr(default, 'value', default)}`"
    return f"| {names} | {about} | {'needed' if parameter.required else shown} |\n"


def http() -> str:
    """Return the page of the HTTP API, made from its OpenAPI document."""
    from service.app import create_app
    from service.settings import Settings

    described: Mapping[str, Any] = create_app(Settings()).openapi()
    lines = ["# HTTP API\n\nA running server shows every request and answer at `/docs`.\n"]
    for path, operations in sorted(described["paths"].items()):
        for method, operation in operations.items():
            about = _plain(operation.get("description", operation.get("summary", "")))
            lines.append(f"## {method.upper()} {path}\n\n{about}\n")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Return a text as it may stand in a table's cell."""
    return " ".join(text.replace("``", "`").replace("|", "\\|").replace("<", "&lt;").split())


def _normal(path: Path) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
