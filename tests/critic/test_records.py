"""Illegal data can't be built."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from base.digest import digest
from critic.records import Chain, Critique, Judgement, Message, PreferencePair, Prompt, Response, Revision, Vote

A, B = Response(text="a", model="m"), Response(text="b", model="m")


def prompt(*roles: str) -> Prompt:
    return Prompt.model_validate({"messages": [{"role": role, "content": "x"} for role in roles]})


@pytest.mark.parametrize("roles", [["user"], ["system", "user"], ["user", "assistant", "user"]])
def test_a_prompt_ends_with_the_user(roles: list[str]) -> None:
    assert len(prompt(*roles).messages) == len(roles)


@pytest.mark.parametrize(
    "roles",
    [
        [],
        ["system"],
        ["assistant"],
        ["user", "assistant"],
        ["user", "user"],
        ["user", "system", "user"],
        ["system"] * 2,
    ],
)
def test_roles_out_of_order_are_refused(roles: list[str]) -> None:
    with pytest.raises(ValidationError, match="out of order"):
        prompt(*roles)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ValidationError, match="surrogate"):
        Message(role="user", content="\ud800")


def test_every_turn_counts_in_a_prompts_key() -> None:
    last = Message(role="user", content="and then?")
    keys = {
        Prompt(messages=(Message(role="user", content=c), Message(role="assistant", content="ok"), last)).key
        for c in ("one", "two")
    }
    assert len(keys) == 2
    assert Prompt(messages=(last,)).key == Prompt(messages=(last,), tags=("t",), id="i").key


def test_equal_sides_and_ties_are_no_pairs() -> None:
    with pytest.raises(ValidationError, match="same text"):
        PreferencePair(chosen=A, rejected=Response(text="a", model="other"), probability=0.9)
    for probability in (0.5, 0.4, 1.1):
        with pytest.raises(ValidationError):
            PreferencePair(chosen=A, rejected=B, probability=probability)


@given(st.floats())
def test_a_vote_is_finite_or_unreadable(log_odds: float) -> None:
    if abs(log_odds) < float("inf"):
        assert Vote(principle="p", principle_digest="d", judge="j", mode="m", order=None, log_odds=log_odds).raw is None
    else:
        with pytest.raises(ValidationError):
            Vote(principle="p", principle_digest="d", judge="j", mode="m", order=None, log_odds=log_odds)


def test_an_unreadable_vote_keeps_what_came_back() -> None:
    with pytest.raises(ValidationError, match="raw"):
        Vote(principle="p", principle_digest="d", judge="j", mode="m", order=None, log_odds=None)


def test_a_judgement_has_a_probability_exactly_if_it_was_read() -> None:
    for outcome, probability in (("preference", None), ("unreadable", 0.5)):
        with pytest.raises(ValidationError, match="exactly if"):
            Judgement.model_validate(
                {"first": 0, "second": 1, "mode": "m", "judge": "j", "votes": [], "outcome": outcome}
                | {"probability": probability}
            )


def test_a_chain_ends_with_the_last_revision_that_changed_something() -> None:
    critique = Critique(round=0, principle="p", principle_digest="d", text="t", model="m", outcome="critique")
    kept = Revision(critique=critique, outcome="unchanged")
    changed = Revision(critique=critique, response=B, outcome="revised")
    assert Chain(original=A, revisions=(kept,)).final == A
    assert Chain(original=A, revisions=(changed, kept)).final == B
    with pytest.raises(ValidationError):
        Revision(critique=critique, response=B, outcome="unchanged")


def called(*names: str, content: str | None = None) -> dict[str, Any]:
    calls = [{"id": f"c{i}", "function": {"name": name, "arguments": {"a": 1}}} for i, name in enumerate(names)]
    return {"role": "assistant", "content": content, "tool_calls": calls}


TOOL = {"role": "tool", "content": "391", "tool_call_id": "c0"}
ASKED, SO = {"role": "user", "content": "17 times 23?"}, {"role": "user", "content": "So?"}


@pytest.mark.parametrize(
    "turns",
    [
        [ASKED, called("times"), TOOL, SO],
        [ASKED, called("times"), TOOL, {"role": "assistant", "content": "391."}, SO],
        [ASKED, called("times", "plus"), TOOL, TOOL, called("times"), TOOL, {"role": "assistant", "content": "1."}, SO],
    ],
)
def test_a_history_may_call_tools(turns: list[dict[str, Any]]) -> None:
    prompt = Prompt.model_validate({"messages": turns})
    assert Prompt.model_validate_json(prompt.model_dump_json()) == prompt
    assert prompt.messages[1].text.startswith('[calls times with {"a": 1}]')
    assert prompt.model_dump()["messages"][0] == ASKED  # no tool fields where there are none


@pytest.mark.parametrize(
    ("turns", "problem"),
    [
        ([ASKED, called("times"), SO], "has no result"),
        ([ASKED, called("times"), TOOL, TOOL, SO], "no call is left"),
        ([ASKED, TOOL, SO], "no call is left"),
        ([called("times"), TOOL, SO], "out of order"),
        ([ASKED | {"tool_calls": called("times")["tool_calls"]}], "the assistant's, not user's"),
        ([ASKED | {"name": "Ann"}], "a tool's, not user's"),
        ([ASKED, {"role": "assistant", "content": None}, SO], "Field required"),
    ],
)
def test_tool_turns_out_of_place_are_refused(turns: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Prompt.model_validate({"messages": turns})


def test_what_a_tool_was_called_with_is_part_of_a_prompts_key_and_others_keep_theirs() -> None:
    plain = Prompt.model_validate({"messages": [ASKED]})
    assert plain.key == digest(["prompt", [["user", "17 times 23?"]]])
    keys = {Prompt.model_validate({"messages": [ASKED, called(name), TOOL, SO]}).key for name in ("times", "plus")}
    assert len(keys) == 2


def test_developer_is_the_system_and_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "Na"}, {"type": "text", "value": "me"}, {"text": " one."}]
    turns = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    system, asked = Prompt.model_validate({"messages": turns}).messages
    assert (system.role, asked.content) == ("system", "Name one.")


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"type": "text"}, "'text'"),
        ({"type": "image_url", "image_url": {"url": "x"}}, "'image_url'"),
        ("bare", "'str'"),
    ],
)
def test_a_part_without_text_is_refused_by_name(part: object, named: str) -> None:
    with pytest.raises(ValidationError, match=f"part 1 of the content, of type {named}, has neither"):
        Message.model_validate({"role": "user", "content": [{"type": "text", "text": "a"}, part]})
