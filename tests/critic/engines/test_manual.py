"""docs/ENGINES.md is what the code says; and what the code says of an engine's options is what it takes."""

import re
from pathlib import Path

import pytest

from base.errors import InputError
from critic.engine_kinds.options import SpecOption, check_known, name_of
from critic.engines import kinds, parse_spec
from critic.engines.scripted import Script
from critic.judging.modes import MODES
from critic.manual import manual
from critic.server.server_options import ServerOptions

ROOT = Path(__file__).parents[3]
# Of other programs, or set and not read.
OTHERS = {"VLLM_NO_USAGE_STATS", "VLLM_WORKER_MULTIPROC_METHOD", "VLLM_CPU_NUM_OF_RESERVED_CPU"}


def test_the_page_is_made_from_the_code() -> None:
    page = (ROOT / "docs/ENGINES.md").read_text("utf-8")
    assert page == manual(), "python -m critic.manual > docs/ENGINES.md"


@pytest.mark.parametrize("kind", kinds())
def test_every_option_of_every_engine_is_on_the_page(kind: str) -> None:
    section = manual().split(f"\n### `{kind}")[1].split("\n### ")[0]
    options: tuple[SpecOption, ...] = kinds()[kind].options
    assert all(f"\n| `{option.name}` | " in section for option in options)
    assert ("It has no options." in section) == (not options)


def test_every_mode_and_every_key_of_a_script_is_on_the_page() -> None:
    page = manual()
    for mode in MODES.values():
        section = page.split(f"\n### `{mode.name}`")[-1].split("\n### ")[0]
        assert all(f"`{name}`" in section for name in mode.model_fields)
    script = page.split("The file of `scripted`")[1].split("\n### ")[0]
    assert all(f"\n{key}:" in script for key in Script.model_fields)


def test_every_variable_that_engines_read_is_on_the_page() -> None:
    read: set[str] = set()
    for file in (ROOT / "critic").rglob("*.py"):
        text = file.read_text("utf-8")
        read |= set(re.findall(r'environ(?:\.get\(|\.setdefault\(|\[)"([A-Z_]+)"', text))
        read |= set(re.findall(r'"([A-Z_]+)" in os\.environ', text))
    assert {"OPENAI_BASE_URL", "CAI_CACHE"} <= read
    assert {name for name in read - OTHERS if f"`{name}`" not in manual()} == set()
    assert "`OPENAI_API_KEY`" in manual()  # which is read by a name that a spec may replace


SAMPLES = {
    "key_env": "PATH", "timeout": "9", "retries": "0", "concurrency": "2", "rpm": "7", "tpm": "8", "input_price": "1",
    "output_price": "2", "think": "false", "template.KEY": "1",
}  # fmt: skip


def test_a_server_takes_every_option_that_is_listed_for_it() -> None:
    for kind in ("openai", "decisions", "systemone"):
        options: tuple[SpecOption, ...] = kinds()[kind].options
        given = {option.name: SAMPLES[option.name] for option in options}
        parsed = ServerOptions.parse("m@http://127.0.0.1:1/v1", given, kind)
        assert (parsed.address.timeout, parsed.retries, parsed.concurrency) == (9, 0, 2)
        assert (parsed.rpm, parsed.tpm, parsed.prices) == (7, 8, (1.0, 2.0))


def test_an_unknown_option_names_the_one_that_was_meant() -> None:
    known = (SpecOption("batch", "16", ""), SpecOption("device", "", ""), SpecOption("template.KEY", "", ""))
    check_known(["batch", "template.date"], known, "hf:m")
    for given, meant in (("batchsize", "batch"), ("batch_size", "batch"), ("devise", "device")):
        with pytest.raises(InputError, match=f"unknown option '{given}'(.|\n)*did you mean '{meant}'"):
            check_known([given], known, "hf:m")
    with pytest.raises(InputError, match="it has none"):
        check_known(["x"], (), "scripted:s")
    assert name_of("template.date") == "template.KEY" and name_of("batch") == "batch"


@pytest.mark.parametrize(
    "name",
    ["key", "api_key", "api-key", "apikey", "API_KEY", "token", "access_token", "password", "x-api-key", "secret"],
)
@pytest.mark.parametrize("kind", ["openai:m@http://h/v1", "hf:m", "systemone:m@http://h", "embedded"])
def test_a_key_in_a_spec_is_refused_and_not_repeated(kind: str, name: str) -> None:
    with pytest.raises(InputError, match="key_env=MY_KEY") as error:
        parse_spec(f"{kind}?concurrency=2&{name}=sk-very-secret")
    assert "sk-very-secret" not in str(error.value)


def test_a_key_in_the_place_of_its_variable_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="names no environment variable") as error:
        ServerOptions.parse("m", {"key_env": "sk-very-secret"})
    assert "sk-very-secret" not in str(error.value)
    assert parse_spec("openai:m?key_env=MY_KEY").options == (("key_env", "MY_KEY"),)


def test_a_misspelt_spec_with_a_key_does_not_repeat_it_either() -> None:
    for spec in ("opnai:m?api_key=sk-very-secret", "openai:m?api_key=sk-very-secret&rpm"):
        with pytest.raises(InputError) as error:
            parse_spec(spec)
        assert "sk-very-secret" not in str(error.value)
