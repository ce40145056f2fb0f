"""Options that a chat template reads: spelt alike on all engines, in the identity, refused where they do nothing."""

from pathlib import Path

import pytest

from base.errors import InputError
from critic.chats.chat import Chat
from critic.chats.template_options import TemplateOptions, read_template_options
from critic.engines import parse_spec
from critic.local import language_model as hf
from critic.records import Message

from .conftest import TEMPLATE, make_tokenizer

ASKED = (Message(role="user", content="U"),)
CLOSED = "{% if enable_thinking is defined and enable_thinking is false %}[no thoughts]{% endif %}"


def chat(template: str, **options: str) -> Chat:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    return Chat(tokenizer, "odd", options=read_template_options(options, "odd"))


def text(template: str, **options: str) -> str:
    return str(make_tokenizer().decode(list(chat(template, **options).encode(ASKED))))


def test_values_are_json_where_they_are_json() -> None:
    options = dict(
        parse_spec("embedded?template.a=true&template.b=3&template.c=so&template.d=%22true%22&dtype=float32").options
    )
    read = read_template_options(options, "x")
    assert read == TemplateOptions((("a", True), ("b", 3), ("c", "so"), ("d", "true")), None)
    assert read_template_options({"think": "false"}, "x").think is False


@pytest.mark.parametrize(
    "options", [{"think": "no"}, {"template.": "x"}, {"template.a b": "x"}, {"template.messages": "[]"}]
)
def test_options_that_no_template_can_be_given_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(InputError):
        read_template_options(options, "x")


def test_think_sets_the_variable_that_the_template_reads() -> None:
    assert text(TEMPLATE + CLOSED, think="false").endswith("[no thoughts]")
    assert not text(TEMPLATE + CLOSED, think="true").endswith("[no thoughts]")
    other = TEMPLATE + "{% if thinking %}[thoughts]{% endif %}"
    assert text(other, think="true").endswith("[thoughts]")
    assert chat(other, think="true").settings == (("template.thinking", "true"),)
    levels = TEMPLATE + "{{ reasoning_effort | default('medium') }}"
    assert text(levels, think="true").endswith("high")


def test_a_level_that_the_template_does_not_know_is_no_way_to_stop_thinking() -> None:
    levels = TEMPLATE + "{{ reasoning_effort | default('medium') }}"
    with pytest.raises(InputError, match="'none' is none") as caught:
        chat(levels, think="false")
    assert "template.reasoning_effort=low" in str(caught.value)
    known = TEMPLATE + "{% if reasoning_effort is defined and reasoning_effort == 'none' %}[off]{% endif %}"
    assert text(known, think="false").endswith("[off]")


def test_an_option_that_changes_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="no switch for thinking"):
        chat(TEMPLATE, think="false")
    with pytest.raises(
        InputError, match="no switch for thinking"
    ):  # its own variable of that name is set before it is read
        chat("{% set thinking = 1 %}" + TEMPLATE + "{{ thinking }}", think="true")
    with pytest.raises(InputError, match="reads no variable of that name") as caught:
        chat(TEMPLATE + CLOSED, **{"template.enable_thoughts": "false"})
    assert "enable_thinking" in str(caught.value)


def test_a_variable_is_given_as_it_is() -> None:
    assert text(TEMPLATE + "{{ tone }}", **{"template.tone": "dry"}).endswith("dry")
    assert text(TEMPLATE + "{{ date_string }}", **{"template.date_string": "1 May 2031"}).endswith("1 May 2031")


def test_what_a_template_prints_of_the_day_is_pinned() -> None:
    assert text(TEMPLATE + "{{ strftime_now('%d %B %Y') }}").endswith("26 July 2024")


async def test_the_options_are_part_of_an_engines_identity(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "thinking"
    folder.mkdir()
    for file in tiny_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "chat_template.jinja").write_text(TEMPLATE + CLOSED, encoding="utf-8")
    identities = []
    for options in ({}, {"think": "false"}, {"template.enable_thinking": "false"}):
        engine = hf.open_engine(str(folder), {"dtype": "float32", **options})
        identities.append(engine.identity)
        await engine.close()
    plain, thoughtless, spelt_out = identities
    assert plain != thoughtless == spelt_out
    assert ("template.enable_thinking", "false") in thoughtless.settings


async def test_a_system_text_that_moves_is_part_of_the_identity(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "no-system"
    folder.mkdir()
    for file in tiny_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    (folder / "chat_template.jinja").write_text(refusing + TEMPLATE, encoding="utf-8")
    engine = hf.open_engine(str(folder), {"dtype": "float32"})
    assert ("system", "in the first user turn") in engine.identity.settings
    await engine.close()


def test_a_moved_system_text_stands_before_the_first_question() -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    bare = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    messages = (Message(role="system", content="S"), Message(role="user", content="U"))
    later = (Message(role="assistant", content="A"), Message(role="user", content="V"))
    whole = chat(refusing + bare).whole((*messages, *later), "opened")
    assert whole.rendering.text == "[user]S\n\nU[assistant]A[user]V"
    assert [whole.rendering.text[a:b] for a, b, _ in whole.rendering.spans] == ["S", "U", "A", "V"]
    dropping = bare.replace("messages %}", "messages if m.role != 'system' %}")
    assert chat(dropping).whole(messages, "opened").rendering.text == "[user]S\n\nU"
