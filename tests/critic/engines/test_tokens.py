"""Packing and splitting trees of tokens, by hand and as properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic.chats.chat import Chat
from critic.chats.tokens import Segment, SegmentSpan, TokenRead, TokenTree, from_chats, pack, split
from critic.engine import Choices, EngineError, Node, OwnTokens
from critic.records import Message

HAND = TokenTree(
    (Segment((1, 2, 3), -1), Segment((4, 5), 0), Segment((6,), 1), Segment((7, 8), 0)),
    (
        TokenRead(1, ((0, 2), (1, 0)), (4, 5), True, 2),
        TokenRead(2, ((2, 0), (2, 0)), (30, 31), False, 1),
        TokenRead(3, ((3, 1),), (32,), False, 2),
    ),
)


@st.composite
def trees(draw: st.DrawFn) -> TokenTree:
    """Trees in depth-first order, with one read of the last token of every segment."""
    parents = [-1]
    open_path = [0]
    for i in range(1, draw(st.integers(1, 9))):
        depth = draw(st.integers(1, len(open_path)))
        del open_path[depth:]
        parents.append(open_path[-1])
        open_path.append(i)
    ids = [tuple(draw(st.lists(st.integers(0, 99), min_size=1, max_size=5))) for _ in parents]
    segments = tuple(Segment(own, parent) for own, parent in zip(ids, parents, strict=True))
    reads = tuple(TokenRead(i, ((i, len(own) - 1),), (i,), False, len(own)) for i, own in enumerate(ids))
    return TokenTree(segments, reads)


def path_ids(tree: TokenTree, segment: int) -> tuple[int, ...]:
    if segment < 0:
        return ()
    return path_ids(tree, tree.segments[segment].parent) + tree.segments[segment].ids


def test_a_pack_by_hand() -> None:
    packed = pack([HAND, TokenTree((Segment((9, 9), -1),), ())])
    assert packed.ids == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert packed.positions == [0, 1, 2, 3, 4, 5, 3, 4, 0, 1]
    assert packed.spans == [
        SegmentSpan(0, 3, ()),
        SegmentSpan(3, 5, ((0, 3),)),
        SegmentSpan(5, 6, ((0, 3), (3, 5))),
        SegmentSpan(6, 8, ((0, 3),)),
        SegmentSpan(8, 10, ()),
    ]
    assert (HAND.tokens, HAND.longest) == (8, 6)


def test_a_split_by_hand() -> None:
    first, second = split(HAND, 7)
    assert [segment.ids for segment in first.segments] == [(1, 2, 3), (4, 5), (6,)]
    assert [segment.ids for segment in second.segments] == [(1, 2, 3), (7, 8)]
    assert first.reads == HAND.reads[:2]
    assert second.reads == (TokenRead(1, ((1, 1),), (32,), False, 2),)


@given(trees(), st.integers(1, 40))
def test_split_loses_and_repeats_no_read_and_changes_no_path(tree: TokenTree, limit: int) -> None:
    pieces = list(split(tree, limit))
    reads = [(path_ids(piece, read.segment), read.targets) for piece in pieces for read in piece.reads]
    assert reads == [(path_ids(tree, read.segment), read.targets) for read in tree.reads]
    for piece in pieces:
        assert piece.tokens <= max(limit, piece.longest)


def message(role: str, text: str) -> Message:
    return Message.model_validate({"role": role, "content": text})


def test_own_tokens_are_read_at_the_token_before_each(chat: Chat) -> None:
    two = (Node((message("user", "xy"),), OwnTokens()), Node((message("user", "z"),), OwnTokens()))
    encoded = from_chats(Node((message("user", "q"),), None, two), chat)
    root, child, other = encoded.segments
    assert (child.ids, other.ids) == (chat.content("xy"), chat.content("z"))
    read, _ = encoded.reads
    assert read.places == ((0, len(root.ids) - 1), (1, 0))
    assert read.targets == child.ids
    assert (read.summed, read.tokens) == (True, 2)


def test_own_tokens_leave_out_the_markup_that_opens_the_turn(chat: Chat) -> None:
    tree = Node((message("user", "q"),), None, (Node((message("assistant", "xy"),), OwnTokens()),))
    encoded = from_chats(tree, chat)
    (read,) = encoded.reads
    assert read.targets == chat.content("xy")
    assert read.places == ((0, len(encoded.segments[0].ids) - 3), (0, len(encoded.segments[0].ids) - 2))


def test_choices_of_an_inner_node_have_a_branch_of_their_own(chat: Chat) -> None:
    """The assistant's turn is opened to read the choice, but the children continue the user's turn."""
    child = Node((message("user", "more"),), Choices(("A", "B")))
    encoded = from_chats(Node((message("user", "q"),), Choices(("A", "B")), (child,)), chat)
    opening = chat.encode([message("user", "q")])[len(chat.whole([message("user", "q")], "continued").ids) :]
    assert [segment.parent for segment in encoded.segments] == [-1, 0, 0]
    assert encoded.segments[1].ids == opening
    assert encoded.segments[2].ids == chat.content("more") + opening
    assert [read.segment for read in encoded.reads] == [1, 2]


def test_a_node_without_messages_reads_at_its_parents_end(chat: Chat) -> None:
    root = (message("user", "q"), message("assistant", "so"))
    encoded = from_chats(Node(root, None, (Node((), Choices(("A",))),)), chat)
    assert encoded.reads[0].places == ((0, len(encoded.segments[0].ids) - 1),)


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        (Node((message("user", ""),), OwnTokens()), "nothing to read"),
        (Node((), Choices(("A",))), "no message"),
        (Node((message("user", "q"),), Choices(("AB",))), "2 tokens"),
    ],
)
def test_impossible_reads_are_refused(tree: Node, problem: str, chat: Chat) -> None:
    with pytest.raises(EngineError, match=problem):
        from_chats(tree, chat)
