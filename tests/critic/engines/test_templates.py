"""Real chat templates: chats, trees and training examples have the ids that the tokenizer itself gives."""

from collections import Counter
from itertools import product
from typing import Any

import pytest

from base.errors import InputError
from benchmarks import templates
from critic.chats.chat import Chat
from critic.chats.template import PINNED
from critic.chats.tokens import TokenTree, from_chats
from critic.engine import Choices, EngineError, Node, OwnTokens, Reward
from critic.records import Message, Prompt
from trainers.batches.encoding import Encoder

SOURCES = templates.sources()
PICTURES = {name for name in SOURCES if name.startswith(("idefics", "llava", "smolvlm"))}
TEXT = sorted(set(SOURCES) - PICTURES)


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


def path(tree: TokenTree, segment: int) -> list[int]:
    ids: list[int] = []
    while segment >= 0:
        ids = [*tree.segments[segment].ids, *ids]
        segment = tree.segments[segment].parent
    return ids


def test_the_templates_are_there() -> None:
    assert len(SOURCES) > 70
    assert len(PICTURES) == 6


@pytest.mark.parametrize("name", TEXT)
def test_seven_chats_are_the_templates_own(name: str) -> None:
    outcomes = templates.row(name, SOURCES[name]).outcomes
    kept = [title for title, outcome in outcomes.items() if outcome == "text kept"]
    moved = [title for title, outcome in outcomes.items() if outcome == "system moved"]
    assert set(kept) <= {"thoughts"}
    assert not moved or (name.startswith("gemma") and all(title.startswith("system") for title in moved))
    assert Counter(outcomes.values())["equal"] == len(templates.CHATS) - len(kept) - len(moved)


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_a_template_for_pictures_is_refused_when_it_is_opened(name: str) -> None:
    chat = Chat(templates.tokenizer(SOURCES[name]), name)
    with pytest.raises(InputError, match="can't write a user's question"):
        chat.prove()


@pytest.mark.parametrize("name", TEXT)
def test_a_judging_trees_paths_are_whole_chats(name: str) -> None:
    """A transcript, two orders, two questions: what is read at each path has the ids of that path alone."""
    known = templates.tokenizer(SOURCES[name])
    chat = Chat(known, name)
    orders = ("\nA: <think>no</think> \nB: yes\n", "\nA: yes\nB: <think>no</think> \n")
    questions = ("\nWhich is kinder? ", "\n\nWhich is shorter?")
    asked = tuple(Node((user(question),), Choices(("A", "B"))) for question in questions)
    root = (Message(role="system", content="Judge."), user("One asks: 1 + 1? "))
    tree = from_chats(Node(root, None, tuple(Node((user(order),), None, asked) for order in orders)), chat)
    paths = [(*root, user(order), user(question)) for order, question in product(orders, questions)]
    expected = [chat.encode(messages) for messages in paths]
    assert [tuple(path(tree, read.segment)) for read in tree.reads] == expected
    assert tree.tokens < sum(len(chat.encode(messages)) for messages in paths)
    joined = (root[0], user("".join(message.content for message in paths[0][1:])))
    if not dict(chat.settings):
        assert known.decode(path(tree, tree.reads[0].segment)) == known.decode(templates.reference(known, joined, True))


@pytest.mark.parametrize("name", TEXT)
def test_what_is_learnt_is_the_templates_whole_chat(name: str) -> None:
    """For policies and reward models, with earlier turns: each answer's chat is what the template writes of it."""
    known = templates.tokenizer(SOURCES[name])
    prompt = Prompt(messages=(user("Name a river. "), assistant("The Po."), user(" Another?\n")))
    answers = (" The Nile.", "The Nile, or so.\n\n")
    expected = [templates.reference(known, (*prompt.messages, assistant(text)), False) for text in answers]
    encoder = Encoder(known, name, 4096)
    for tree in (encoder.policy(prompt, answers), encoder.reward(prompt, answers)):
        assert [segment.parent for segment in tree.segments] == [-1, 0, 0]
        assert [path(tree, 1), path(tree, 2)] == expected
        learnt = known.decode(list(tree.segments[2].ids))
        assert "Another" not in learnt
        assert "The Nile, or so." in learnt
    engines = from_chats(
        Node(prompt.messages, None, tuple(Node((assistant(t),), Reward()) for t in answers)), Chat(known, name)
    )
    assert [path(engines, read.segment) for read in engines.reads] == expected


@pytest.mark.parametrize("name", TEXT)
def test_an_answers_own_tokens_are_read_and_nothing_else(name: str) -> None:
    known = templates.tokenizer(SOURCES[name])
    (read,) = from_chats(
        Node((user("Name a river."),), None, (Node((assistant("The Nile."),), OwnTokens()),)), Chat(known, name)
    ).reads
    assert known.decode(list(read.targets)) == "The Nile."


@pytest.mark.parametrize("name", TEXT)
def test_the_end_of_an_answer_is_known(name: str) -> None:
    """What a chat ends with after the answer is told apart from the answer, by each template's own letters."""
    known = templates.tokenizer(SOURCES[name])
    chat = Chat(known, name)
    whole = templates.reference(known, (user("Question"), assistant("Answer")), False)
    end = list(chat.end_of_turn())
    assert whole[len(whole) - len(end) :] == end
    assert str(known.decode(whole[: len(whole) - len(end)])).endswith("Answer")
    assert chat.stop_id() == next((i for i in end if i in known.added_tokens_decoder), None)


def calls(name: str, arguments: str) -> Message:
    function = {"name": name, "arguments": arguments}
    return Message.model_validate(
        {"role": "assistant", "content": None, "tool_calls": [{"id": "call12345", "function": function}]}
    )


@pytest.mark.parametrize("name", TEXT)
def test_tool_turns_are_carried_through_or_refused_by_name(name: str) -> None:
    """Where the template writes calls, they are as it writes them; and what they spell is no markup."""
    known = templates.tokenizer(SOURCES[name])
    chat = Chat(known, name)
    control = set(known.added_tokens_decoder)
    result = Message(role="tool", content="391", tool_call_id="call12345")
    encoded = []
    for attack in ("17", "".join(str(token) for token in known.added_tokens_decoder.values())):
        messages = (user("17 times 23?"), calls("times", f'{{"a": "{attack}"}}'), result, user("So?"))
        try:
            encoded.append(chat.encode(messages))
        except EngineError as error:
            assert "drops" in str(error) or "refuses" in str(error)
            return
    expected = [i for i in encoded[0] if i in control]
    assert [i for i in encoded[1] if i in control] == expected
    assert "391" in known.decode(list(encoded[0]))
    turns: list[Any] = [
        message.model_dump(mode="json") for message in (user("17 times 23?"), calls("times", "{}"), result, user("So?"))
    ]
    turns[1]["tool_calls"][0]["function"]["arguments"] = {"a": "17"}
    apply: Any = known.apply_chat_template
    assert (
        list(encoded[0])
        == apply(turns, add_generation_prompt=True, tokenize=True, return_dict=True, **PINNED)["input_ids"]
    )
