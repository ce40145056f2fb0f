"""The image and the compose file: what can be known of them where there is no Docker.

They are read as Docker reads them, and every name in them must be one that the project knows: files, commands, options,
settings, routes, packages' pins.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from fnmatch import fnmatch
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
import typer.main
import yaml
from packaging.specifiers import SpecifierSet
from sqlalchemy.engine import make_url

from critic.engines import parse_spec
from service.app import create_app
from service.cli.commands.server.serve import serve
from service.cli.commands.server.worker import worker
from service.engines import Engines
from service.settings import Settings
from tests.test_project import tracked

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
INSTRUCTIONS = {
    "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "SHELL", "USER", "VOLUME",
    "WORKDIR",
}  # fmt: skip
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY", re.IGNORECASE)

Instruction = tuple[str, str]


def instructions(text: str) -> list[Instruction]:
    """A Dockerfile's instructions with their arguments, comments left out and continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    parts = [line.partition(" ") for line in joined.splitlines()]
    listed = [(name, rest.strip()) for name, _, rest in parts]
    assert {name for name, _ in listed} <= INSTRUCTIONS, listed
    return listed


IMAGE = instructions((ROOT / "Dockerfile").read_text())
FINAL = IMAGE[[number for number, (name, _) in enumerate(IMAGE) if name == "FROM"][-1] :]


def said(name: str, stage: list[Instruction] = FINAL) -> str:
    """The argument of an instruction that stands in a stage once."""
    [words] = [rest for what, rest in stage if what == name]
    return words


@cache
def compose() -> dict[str, Any]:
    """The compose file, anchors resolved."""
    described: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
    return described


OURS = sorted(name for name, service in compose()["services"].items() if "build" in service)


def settings(folder: Path) -> Settings:
    """What the compose file's services are started with."""
    (file := folder / "settings.yaml").write_text(compose()["configs"]["settings"]["content"])
    return Settings.read(file)


def parsed(arguments: list[str]) -> dict[str, Any]:
    """The options that a command of `cai` makes of its arguments. It refuses those that it doesn't know."""
    name, *options = arguments
    app = typer.Typer()
    commands: dict[str, Callable[..., None]] = {"serve": serve, "worker": worker}
    app.command()(commands[name])
    return typer.main.get_command(app).make_context(name, options).params


def copied() -> list[str]:
    """The sources that the Dockerfile copies from this folder."""
    return [source for name, rest in IMAGE if name == "COPY" and "--from" not in rest for source in rest.split()[:-1]]


def shown(file: PurePosixPath) -> bool:
    """Whether .dockerignore lets a file into a build. The last pattern that matches it or a folder of its decides."""
    is_shown = True
    for pattern in (ROOT / ".dockerignore").read_text().split("\n"):
        if not pattern or pattern.startswith("#"):
            continue
        name = pattern.removeprefix("!")
        parts = [file, *list(file.parents)[:-1]]
        if any(fnmatch(part.name if name.startswith("**/") else str(part), name.removeprefix("**/")) for part in parts):
            is_shown = pattern.startswith("!")
    return is_shown


def test_the_image_is_made_of_what_the_wheel_holds_and_nothing_else() -> None:
    packages = {pattern.removesuffix("*") for pattern in SETTINGS["setuptools"]["packages"]["find"]["include"]}
    assert set(copied()) == packages | {"pyproject.toml", "constraints.txt", PROJECT["readme"], "LICENSE"}
    for source in copied():
        assert (ROOT / source).exists(), source
    files = [PurePosixPath(file.relative_to(ROOT)) for file in tracked()]
    for file in files:
        assert shown(file) == (file.parts[0] in copied()), f".dockerignore and COPY disagree on {file}"
    assert not shown(PurePosixPath(".env")) and not shown(PurePosixPath("service/__pycache__/app.cpython-313.pyc"))


def test_the_image_has_pinned_packages_and_no_build_tools() -> None:
    python = said("ARG", IMAGE[:1]).removeprefix("PYTHON=")
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{python}.0")
    bases = [rest.split()[0] for name, rest in IMAGE if name == "FROM"]
    assert bases == ["python:${PYTHON}-slim-trixie"] * 2
    installs = [step for name, rest in IMAGE if name == "RUN" for step in rest.split("&&") if "install --c" in step]
    assert len(installs) == 2 and all("--constraint constraints.txt" in step for step in installs)
    assert not re.search(r"\bpip |apt-get|gcc", " ".join(rest for _, rest in FINAL))
    assert said("COPY") == "--from=build /opt/cai /opt/cai"


def test_nobody_is_root_and_all_state_is_in_one_volume() -> None:
    user = said("USER")
    assert user.isdecimal() and int(user) > 0 and f"--uid {user} " in said("RUN")
    assert said("VOLUME") == said("WORKDIR") == "/data" and "HOME=/data" in said("ENV").split()
    for name in OURS:
        service = compose()["services"][name]
        assert service["read_only"] and service["volumes"] == ["data:/data"]
        assert service["cap_drop"] == ["ALL"] and service["init"]


def test_the_image_serves_and_looks_at_its_own_health(tmp_path: Path) -> None:
    assert json.loads(said("ENTRYPOINT")) == [next(iter(PROJECT["scripts"]))] == ["cai"]
    name, *options = json.loads(said("CMD"))
    serve = parsed([name, *options])
    assert name == "serve" and serve["host"] == "0.0.0.0" and serve["data"] == Path(said("VOLUME"))
    [address] = re.findall(r"http://[^']+", said("HEALTHCHECK"))
    url = urlsplit(address)
    assert url.port == Settings().port == settings(tmp_path).port == int(said("EXPOSE"))
    assert url.path in create_app(Settings(data=tmp_path)).openapi()["paths"]


def check_schema(file: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_compose_file_follows_the_compose_specification(tmp_path: Path) -> None:
    file = ROOT / "docker-compose.yaml"
    done = check_schema(file)
    assert done.returncode == 0, done.stdout
    (wrong := tmp_path / "docker-compose.yaml").write_text(file.read_text().replace("depends_on:", "depend_on:"))
    done = check_schema(wrong)
    assert done.returncode == 1 and "depend_on" in done.stdout


@pytest.mark.parametrize("name", OURS)
def test_each_of_our_services_is_a_command_with_settings(name: str, tmp_path: Path) -> None:
    service = compose()["services"][name]
    assert service["command"][0] == name
    [config] = service["configs"]
    assert parsed(service["command"])["config"] == Path(config["target"]) and config["source"] in compose()["configs"]
    assert set(service["environment"]) == {"PGPASSWORD"}  # everything else is a setting
    assert service["image"] == f"cai-feedback:{PROJECT['version']}"
    assert set(service["build"]["args"]) <= {rest for what, rest in IMAGE if what == "ARG"}


def test_the_settings_name_the_services_beside_them(tmp_path: Path) -> None:
    services, given = compose()["services"], settings(tmp_path)
    Engines(given)  # each engine has a mode that it can judge in
    database, login = make_url(given.database), services["postgres"]["environment"]
    assert (database.host, database.username, database.database) == ("postgres", login["POSTGRES_USER"], "cai")
    assert database.password is None and login["POSTGRES_DB"] == "cai"
    assert login["POSTGRES_PASSWORD"] == services["serve"]["environment"]["PGPASSWORD"]
    model, _, address = parse_spec(given.engines["judge"].spec).target.partition("@")
    command = services["vllm"]["command"]
    assert command[0] == model and command[command.index("--port") + 1] == str(urlsplit(address).port)
    assert urlsplit(address).hostname == "vllm" and given.host == "0.0.0.0" and given.data == Path("/data")
    assert services["serve"]["ports"] == [f"127.0.0.1:{given.port}:{given.port}"]


def test_no_secret_is_written_down() -> None:
    for service in compose()["services"].values():
        for name, value in service.get("environment", {}).items():
            assert not SECRET.search(name) or re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value), name
    assert not any(SECRET.search(rest) for what, rest in IMAGE if what in ("ARG", "ENV"))
    assert "/.env" in (ROOT / ".gitignore").read_text().split()


def test_services_start_in_order_and_again_within_limits() -> None:
    services = compose()["services"]
    checked = "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()  # by the image that is built here
    for name, service in services.items():
        assert service["restart"] == "unless-stopped" and "memory" in service["deploy"]["resources"]["limits"], name
        assert "build" in service or re.search(r":v?\d+\.\d+", service["image"]), f"the image of {name} is not pinned"
        for before, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"} and before in services
            assert "test" in services[before].get("healthcheck", {}) or (services[before]["build"] and checked)
        for volume in service["volumes"]:
            assert volume.partition(":")[0] in compose()["volumes"]
    [device] = services["vllm"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
