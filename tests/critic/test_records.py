"""Illegal data can't be built."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

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
