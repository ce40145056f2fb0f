"""What a case of a shape is, and the rows that several cases are made of: own words, in the form of the sources."""

from dataclasses import dataclass
from typing import Any

ASK = "Which bird can't fly?"
EMU, ROBIN, KIWI = "The emu.", "A robin.", "The kiwi."


def user(text: str = ASK) -> dict[str, Any]:
    return {"role": "user", "content": text}


def says(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def human(text: str = ASK) -> dict[str, Any]:
    return {"from": "human", "value": text}


def gpt(text: str) -> dict[str, Any]:
    return {"from": "gpt", "value": text}


def transcript(*turns: str, end: str = "\n\n") -> str:
    names = ("Human", "Assistant")
    return "".join(f"{end}{names[place % 2]}: {turn}" for place, turn in enumerate(turns))


@dataclass(frozen=True)
class Case:
    """``rows`` of a file, and what each command makes of them; None where it takes none of them."""

    name: str
    rows: list[Any]
    generate: list[str]
    judge: list[Any]
    evaluate: list[Any]
    dpo: list[Any]
    reward: list[Any]
    sft: list[Any]
    labels: list[Any]
    before: int = 0  # turns before the question


TWO = [[EMU, ROBIN]]
COMPARED = [("comparison", "first", EMU, ROBIN)]


def compared(name: str, row: Any, **other: Any) -> Case:
    """A row with a better and a worse answer: the emu is right."""
    given: dict[str, Any] = {
        "generate": [ASK],
        "judge": TWO,
        "evaluate": TWO,
        "dpo": [("Pair", EMU, ROBIN)],
        "reward": [("Pair", EMU, ROBIN)],
        "sft": ["other_kind"],
        "labels": COMPARED,
    }
    return Case(name, [row], **given | other)


def unlabelled(name: str, row: Any, reason: str = "no_label", **other: Any) -> Case:
    """A row with two answers of which nobody said which is better."""
    refused = [reason]
    given: dict[str, Any] = {"generate": [ASK], "judge": TWO, "evaluate": refused, "dpo": refused, "reward": refused}
    return Case(name, [row], **given | {"sft": refused, "labels": refused} | other)


def one_sided(name: str, row: Any) -> Case:
    """A pair of which one side is missing, or holds nothing."""
    return refused(name, row, "one_side", generate=[ASK])


def shown(name: str, row: Any, **other: Any) -> Case:
    """A row with one answer to imitate."""
    given: dict[str, Any] = {
        "generate": [ASK],
        "judge": ["too_few_responses"],
        "evaluate": ["no_label"],
        "dpo": ["other_kind"],
        "reward": ["other_kind"],
        "sft": [("Demonstration", EMU)],
        "labels": [("demonstration", EMU)],
    }
    return Case(name, [row], **given | other)


def thumb(name: str, row: Any, **other: Any) -> Case:
    """A row with one answer that people found good."""
    given: dict[str, Any] = {
        "generate": [ASK],
        "judge": ["too_few_responses"],
        "evaluate": ["too_few_responses"],
        "dpo": ["other_kind"],
        "reward": [("Rated", EMU, 1.0)],
        "sft": ["other_kind"],
        "labels": [("thumbs", "up", EMU)],
    }
    return Case(name, [row], **given | other)


def asked(name: str, row: Any, **other: Any) -> Case:
    """A row with a prompt, and no answer that is known as one."""
    nothing = ["unknown_format"]
    given: dict[str, Any] = {"generate": [ASK], "judge": ["no_responses"], "evaluate": ["no_label"]}
    return Case(name, [row], **given | dict.fromkeys(("dpo", "reward", "sft", "labels"), nothing) | other)


def refused(name: str, row: Any, reason: str, **other: Any) -> Case:
    """A row that no command can read, for one reason where it reads as far."""
    commands = ("generate", "judge", "evaluate", "dpo", "reward", "sft", "labels")
    return Case(name, [row], **{command: [reason] for command in commands} | other)


def taken_by_none(name: str, row: Any, **other: Any) -> Case:
    """A row of a shape that is not read: no command knows its columns."""
    given: dict[str, Any] = {"generate": ["no_prompt"]}
    return asked(name, row, **given | other)
