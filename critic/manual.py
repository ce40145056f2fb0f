"""docs/ENGINES.md, made from the engines' own tables: ``python -m critic.manual > docs/ENGINES.md``."""

from collections.abc import Iterator
from importlib import import_module
from inspect import getdoc

from critic.engine_kinds.kind import EngineKind
from critic.engines import kinds
from critic.judging.base import Mode
from critic.judging.modes import MODES

_ABOUT = """\
# Engines

Made by `python -m critic.manual > docs/ENGINES.md`; a test holds it to the code.

An engine answers chats, or reads probabilities off them. Wherever an engine can be named (`--policy`, `--judge`, the
`engines` of a service), it is named by a spec: its kind, the model or server, and options:

```
openai:my-org/my-model@http://127.0.0.1:8000/v1?think=false&concurrency=32
```

An unknown option is an error that names the nearest known one.

## Keys and addresses

| variable | what it is for |
|---|---|
| `OPENAI_API_KEY` | the API key of all servers, unless the spec names another variable with `key_env=NAME` |
| `OPENAI_BASE_URL` | the server of a spec without `@URL`; by default `https://api.openai.com/v1` |
| `CAI_CACHE` | where the embedded model is kept; by default `cai-feedback` in `XDG_CACHE_HOME` or `~/.cache` |
| `HF_HOME`, `HF_HUB_OFFLINE` | of transformers: where models of the hub are kept, and whether the hub is never asked |
| `VLLM_LOGGING_LEVEL` | what vLLM prints; nothing, unless it is set |
| `RAY_ADDRESS` | the cluster that `--on ray` uses |

Never write a key into a spec: specs are shown in reports, logs and manifests. Put the key into a variable, and name the
variable: `export MY_KEY=...`, then `openai:MODEL@URL?key_env=MY_KEY`. A server that asks for no key needs none.

## Kinds
"""
_SCRIPT = """
The file of `{name}`, in which every key is optional:

```yaml
{script}
```
"""
_MODES = """
## Judge modes

`--mode NAME?option=value` says how a judge is asked. Each kind of engine has a default mode.
"""


def manual() -> str:
    """Return the page."""
    return "".join([_ABOUT, *map(_engine, sorted(kinds().items())), _MODES, *map(_mode, MODES.values())])


def _engine(entry: tuple[str, EngineKind]) -> str:
    name, kind = entry
    module = import_module(f"critic.engines.{name}")
    spec = name + (f":{kind.target}" if kind.target else "")
    about = "\n\n".join(_paragraphs(getdoc(module) or ""))
    table = "".join(f"| `{option.name}` | {option.default} | {option.about} |\n" for option in kind.options)
    listed = f"\n| option | default | |\n|---|---|---|\n{table}" if kind.options else "\nIt has no options.\n"
    block = _indented(getdoc(module) or "")
    script = _SCRIPT.format(name=name, script=block) if block else ""
    return (
        f"\n### `{spec}`\n\n{about}\n\nIt gives {kind.gives}; as a judge its mode is `{kind.mode}`.\n{listed}{script}"
    )


def _paragraphs(doc: str) -> Iterator[str]:
    """Yield a docstring's first two paragraphs, as Markdown; none that leads to a literal block."""
    for paragraph in doc.split("\n\n")[:2]:
        if not paragraph.endswith("::"):
            yield " ".join(paragraph.replace("``", "`").split())


def _indented(doc: str) -> str:
    """Return the lines of a docstring's first literal block."""
    _, _, rest = doc.partition("::\n\n")
    lines: list[str] = []
    for line in rest.split("\n"):
        if line and not line.startswith("    "):
            break
        lines.append(line.removeprefix("    "))
    return "\n".join(lines).strip("\n")


def _mode(mode: type[Mode]) -> str:
    about = " ".join((getdoc(import_module(mode.__module__)) or "").split("\n\n")[0].replace("``", "`").split())
    options = "".join(f"| `{name}` | {default} |\n" for name, default in _fields(mode))
    listed = f"\n| option | default |\n|---|---|\n{options}" if options else "\nIt has no options.\n"
    return f"\n### `{mode.name}`\n\n{about}\n{listed}"


def _fields(mode: type[Mode]) -> Iterator[tuple[str, str]]:
    for name, field in mode.model_fields.items():
        yield name, "not given" if field.default is None else str(field.default)


if __name__ == "__main__":
    print(manual(), end="")
