"""A tree's scores against plain transformers: every chat on its own, eager attention, all logits."""

from itertools import chain
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM, PreTrainedModel

from critic.chats.chat import Chat
from critic.chats.tokens import Segment, TokenTree, from_chats, pack
from critic.engine import Choices, Node, OwnTokens, Read, Score, reads
from critic.local import language_model
from critic.local.language_model import HfEngine
from critic.local.loading import load
from critic.local.trees import attention
from critic.local.trees.attention import TreePlan
from critic.local.trees.prefix_tree import run, score_trees
from critic.records import Message

TOLERANCE = 1e-4


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


def alone(model: PreTrainedModel, chat: Chat, path: tuple[Message, ...], read: Read, own: tuple[Message, ...]) -> Score:
    """Read one chat with nothing shared and nothing packed."""
    whole = chat.whole(path, "continued")
    places = whole.own(len(path) - len(own))
    if isinstance(read, Choices):
        logp = _logp(model, chat.encode(path))[-1]
        return Score(tuple(logp[chat.choice(text)].item() for text in read.texts), len(places))
    logp = _logp(model, whole.ids)
    return Score((sum(logp[i - 1, whole.ids[i]].item() for i in places),), len(places))


def _logp(model: PreTrainedModel, ids: tuple[int, ...]) -> torch.Tensor:
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits
    assert isinstance(logits, torch.Tensor)
    return logits[0].float().log_softmax(-1)


def assert_same(scores: tuple[Score, ...], expected: list[Score], tolerance: float = TOLERANCE) -> None:
    wanted = [score.tokens for score in expected]
    assert [score.tokens for score in scores] == wanted
    for got, want in zip(scores, expected, strict=True):
        assert got.values == pytest.approx(want.values, abs=tolerance * max(1, want.tokens))


def deep_tree() -> Node:
    """Depth 3, every kind of read, inner and outer, and branches of different lengths."""
    answers = (Node((assistant("Yes, gladly."),), OwnTokens()), Node((assistant("No."),), OwnTokens()))
    questions = (
        Node((user(" Which is kinder?"),), Choices(("A", "B")), answers),
        Node((user(" Which is more honest, and why do you think so?"),), Choices(("B", "A", "C"))),
        Node((user(" Continue."), assistant("So")), None, (Node((assistant(" it goes"), user("?")), OwnTokens()),)),
    )
    return Node((Message(role="system", content="Judge."), user("Two answers: A and B.")), OwnTokens(), questions)


async def test_a_deep_tree(engine: HfEngine, reference: LlamaForCausalLM, chat: Chat) -> None:
    tree = deep_tree()
    assert_same(await engine.score(tree), [alone(reference, chat, *read) for read in reads(tree)])


async def test_a_single_node(engine: HfEngine, reference: LlamaForCausalLM, chat: Chat) -> None:
    for read in (Choices(("x", "y")), OwnTokens()):
        tree = Node((user("only me"),), read)
        assert_same(await engine.score(tree), [alone(reference, chat, tree.messages, read, tree.messages)])


async def test_a_tree_without_reads_is_answered_with_nothing(engine: HfEngine) -> None:
    assert await engine.score(Node((user("q"),))) == ()


async def test_a_branch_does_not_see_its_siblings(engine: HfEngine) -> None:
    def tree(*siblings: str) -> Node:
        first = Node((user("the one that is read"),), Choices(("A", "B")))
        return Node((user("root "),), None, (first, *(Node((user(text),), Choices(("A", "B"))) for text in siblings)))

    alone = (await engine.score(tree()))[0]
    for siblings in (["short"], ["other", "a rather longer sibling", "x"]):
        assert_same(((await engine.score(tree(*siblings)))[0],), [alone], tolerance=1e-5)


async def test_a_branch_does_see_its_ancestors(engine: HfEngine) -> None:
    """Every ancestor matters: the check above would also pass for a model that sees nothing."""

    def tree(root: str, middle: str) -> Node:
        leaf = Node((user("leaf"),), Choices(("A", "B")))
        return Node((user(root),), None, (Node((user(middle),), None, (leaf,)),))

    values = {(await engine.score(tree(root, middle)))[0].values for root in "ab" for middle in "cd"}
    assert len(values) == 4


texts = st.text("abAB .\n", min_size=1, max_size=12)
message_lists = st.lists(st.builds(Message, role=st.sampled_from(["user", "assistant"]), content=texts), max_size=2)
read_kinds = st.sampled_from([None, Choices(("A", "B")), OwnTokens()])


def nodes(depth: int) -> st.SearchStrategy[Node]:
    """Random nodes of at most ``depth`` levels; a node with no message is read only by choices."""
    children = st.just(()) if depth == 1 else st.lists(nodes(depth - 1), max_size=3).map(tuple)

    def build(messages: list[Message], read: Read | None, below: tuple[Node, ...]) -> Node:
        return Node(tuple(messages), None if isinstance(read, OwnTokens) and not messages else read, below)

    return st.builds(build, message_lists, read_kinds, children)


random_trees = st.builds(
    lambda first, node: Node((user(first), *node.messages), node.read, node.children), texts, nodes(3)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(forest=st.lists(random_trees, min_size=1, max_size=3))
def test_any_trees_packed_together_score_as_their_chats_alone(
    forest: list[Node], packed_model: PreTrainedModel, reference: LlamaForCausalLM, chat: Chat
) -> None:
    with torch.inference_mode():
        scored = score_trees(packed_model, [from_chats(tree, chat) for tree in forest])
    for tree, scores in zip(forest, scored, strict=True):
        assert_same(scores, [alone(reference, chat, *read) for read in reads(tree)])


async def test_a_tree_beyond_one_row_is_split_and_reads_the_same(
    engine: HfEngine, reference: LlamaForCausalLM, chat: Chat
) -> None:
    small = language_model.open_engine(str(reference.name_or_path), {"dtype": "float32", "row": "150"})
    tree = deep_tree()
    try:
        assert_same(await small.score(tree), list(await engine.score(tree)))
    finally:
        await small.close()


def test_gradients_through_a_packed_tree_are_those_of_its_paths_alone(
    tiny_model: Path, reference: LlamaForCausalLM
) -> None:
    """So that a loss can be computed on packed rows."""
    tree = TokenTree((Segment((5, 6, 7), -1), Segment((8, 9), 0), Segment((10,), 1), Segment((11, 12), 0)), ())
    packed = load(str(tiny_model), torch.float32, torch.device("cpu"), attention.NAME).model
    row = pack([tree])
    hidden = run(packed, row.ids, row.positions, TreePlan(row.spans, packed.device))
    torch.autograd.backward(hidden[5].sum() + hidden[7].sum())
    reference.zero_grad()
    for path in ([5, 6, 7, 8, 9, 10], [5, 6, 7, 11, 12]):
        torch.autograd.backward(reference.model(torch.tensor([path])).last_hidden_state[0, -1].sum())
    for (name, mine), theirs in zip(packed.model.named_parameters(), reference.model.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-4 * float(theirs.grad.abs().max())), name


def test_logprobs_are_those_of_a_float32_log_softmax_and_chunks_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from critic.local.trees import prefix_tree

    torch.manual_seed(0)
    head = torch.nn.Linear(8, 50)
    hidden = torch.randn(9, 8)
    places, targets = [3, 3, 0, 8, 5], [1, 2, 49, 0, 7]
    expected = head(hidden).log_softmax(-1)[places, targets].tolist()
    for at_once in (1 << 24, 100):
        monkeypatch.setattr(prefix_tree, "_LOGITS_AT_ONCE", at_once)
        monkeypatch.setattr(prefix_tree, "_TARGETS_AT_ONCE", 2 if at_once == 100 else 4096)
        assert prefix_tree.token_logprobs(prefix_tree.Head(head), hidden, places, targets) == pytest.approx(
            expected, abs=1e-5
        )


def test_log_odds_in_bfloat16_are_not_in_coarse_steps() -> None:
    """A bfloat16 logit near 20 is a multiple of 1/8; the difference of two must not be."""
    from critic.local.trees.prefix_tree import Head, token_logprobs

    torch.manual_seed(0)
    head = torch.nn.Linear(64, 10, bias=False).bfloat16()
    hidden = (20 * torch.randn(40, 64)).bfloat16()
    exact = hidden.float() @ head.weight.float().T
    values = token_logprobs(Head(head), hidden, list(chain.from_iterable((i, i) for i in range(40))), [0, 1] * 40)
    odds = [a - b for a, b in zip(values[::2], values[1::2], strict=True) if max(a, b) < 0]
    expected = [
        x
        for x, a, b in zip((exact[:, 0] - exact[:, 1]).tolist(), values[::2], values[1::2], strict=True)
        if max(a, b) < 0
    ]
    assert odds == pytest.approx(expected, abs=1e-4)
