"""Real chat templates: how many chats are encoded as the template itself would have it.

``python -m benchmarks.templates`` encodes seven chats with each of the templates that TRL ships, compares them with
``apply_chat_template``, and writes the table in ``docs/TEMPLATES.md``.
"""

import re
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from critic.chats.chat import Chat
from critic.chats.template import PINNED
from critic.engine import EngineError
from critic.records import Message

PAGE = Path(__file__).parents[1] / "docs" / "TEMPLATES.md"

Outcome = Literal["equal", "text kept", "system moved", "refused by the template", "wants pictures", "differs"]
# A control token as templates write them: <|name|>, <name>, [NAME], and those with full-width bars.
_CONTROL = re.compile(r"<\|?/?[A-Za-z_|:\u2581\uff5c ]{2,40}\|?>|\[/?[A-Z_]+\]|<\uff5c[^<>]*\uff5c>")

_THOUGHT = "<think>\nA river.\n</think>\n\nThe Po."
CHATS: dict[str, tuple[tuple[str, str], ...]] = {
    "one turn": (("user", "Name a river."),),
    "system": (("system", "Be brief."), ("user", "Name a river.")),
    "two turns": (("user", "Name a river."), ("assistant", "The Po."), ("user", "Another?")),
    "three turns": (
        ("user", "Name a river."),
        ("assistant", "The Po."),
        ("user", "Another?"),
        ("assistant", "The Nile."),
        ("user", "Thank you."),
    ),
    "thoughts": (("user", "Name a river."), ("assistant", _THOUGHT), ("user", "Another?")),
    "white space": (("user", "  \n Name one. \n\n"), ("assistant", " The Po. "), ("user", " Another\n one? ")),
    "system, white space": (
        ("system", "Be brief.\n"),
        ("user", "Name a river.  "),
        ("assistant", "The Po.\n\n"),
        ("user", "\tAnother?\n"),
    ),
}


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """What came of one template's chats, by the names of `CHATS`."""

    template: str
    outcomes: dict[str, Outcome]


def sources() -> dict[str, str]:
    """Return the templates that TRL ships, by name."""
    folder = resources.files("trl") / "chat_templates"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".jinja")), key=lambda file: file.name)
    return {file.name.removesuffix(".jinja"): file.read_text(encoding="utf-8") for file in files}


def tokenizer(template: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes that knows the control tokens which ``template`` writes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    names = sorted({"<bos>", "<eos>", *_CONTROL.findall(template)})
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    made = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<bos>", eos_token="<eos>")
    made.chat_template = template
    return made


def messages(name: str) -> tuple[Message, ...]:
    """Return one of `CHATS`."""
    return tuple(Message.model_validate({"role": role, "content": text}) for role, text in CHATS[name])


def reference(known: PreTrainedTokenizerBase, chat: tuple[Message, ...], opened: bool) -> list[int]:
    """Return what the tokenizer itself makes of a chat. Raises whatever its template raises."""
    apply: Any = known.apply_chat_template  # its result has many types
    turns = [message.model_dump() for message in chat]
    ids: list[int] = apply(turns, add_generation_prompt=opened, tokenize=True, return_dict=True, **PINNED)["input_ids"]
    return ids


def outcome(known: PreTrainedTokenizerBase, chat: Chat, name: str) -> Outcome:
    """Compare one chat with the template's own."""
    asked = messages(name)
    try:
        ids = list(chat.encode(asked))
    except EngineError as error:
        return "wants pictures" if "drops what" in str(error) or "'text'" in str(error) else "refused by the template"
    try:
        expected = reference(known, asked, opened=True)
    except Exception:  # a template may fail in any way
        return "system moved" if dict(chat.settings).get("system") else "differs"
    if ids == expected:
        return "equal"
    # A control string in an answer stays text: then the letters are the same, and the tokens are not.
    return "text kept" if known.decode(ids) == known.decode(expected) else "differs"


def row(name: str, template: str) -> TemplateRow:
    """Encode the seven chats with one template."""
    known = tokenizer(template)
    chat = Chat(known, name)
    return TemplateRow(name, {title: outcome(known, chat, title) for title in CHATS})


def page(rows: list[TemplateRow]) -> str:
    """Write the table and its totals."""
    totals = Counter(outcome for row in rows for outcome in row.outcomes.values())
    told = "; ".join(f"{outcome}: {count}" for outcome, count in totals.most_common())
    lines = [
        "# Chat templates",
        "",
        f"For each of the {len(rows)} templates that TRL ships and for seven chats, the token ids of",
        "`critic.chats.chat` are compared with those of `apply_chat_template`.",
        "`python -m benchmarks.templates` writes this page.",
        "",
        f"Totals: {told}.",
        "",
        "- *equal*: the ids are the same.",
        "- *text kept*: an earlier answer contains `<think>`, which the template passes on. Here it stays text,",
        "  because no content may become a control token. Everything else is equal, letter by letter.",
        "- *system moved*: the template refuses a system message; its text goes to the head of the first user turn.",
        "- *wants pictures*: the template takes contents only as lists of parts; such a model is refused when it is",
        "  opened.",
        "",
        "| template | " + " | ".join(CHATS) + " |",
        "|---" * (len(CHATS) + 1) + "|",
    ]
    for row in rows:
        lines.append(f"| {row.template} | " + " | ".join(row.outcomes[title] for title in CHATS) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write `PAGE`."""
    PAGE.write_text(page([row(name, template) for name, template in sources().items()]), encoding="utf-8")


if __name__ == "__main__":
    main()
