"""The configs of training that are shipped with the package."""

from importlib.resources import files
from pathlib import Path

from base.errors import InputError
from base.nearest import nearest
from trainers import catalogue


def shipped() -> Path:
    """Return the folder of the configs that come with the package."""
    return Path(str(files("trainers"))) / "configs"


def shipped_names() -> list[str]:
    """Return the names of the shipped configs."""
    known = set(catalogue.names())
    return sorted(file.stem for file in shipped().glob("*.yaml") if file.stem.rpartition("-")[0] in known)


def method_of_shipped(file: Path) -> str | None:
    """Return the method that a shipped config is for, by its name; None of a file of one's own."""
    return file.stem.rpartition("-")[0] if file.parent == shipped() else None


def config_file(name: str) -> Path:
    """Return the file that ``--config`` names: a path, or one of the shipped ones without its ending."""
    if Path(name).is_file():
        return Path(name)
    if (own := shipped() / f"{name}.yaml").is_file():
        return own
    known = shipped_names()
    near = nearest(Path(name).stem, known)
    fix = f"did you mean {near!r}?" if near else f"give a YAML file, or a shipped name: {', '.join(known)}"
    problem = "this is a folder" if Path(name).is_dir() else "there is no such file"
    raise InputError(problem, where=name, fix=fix)
