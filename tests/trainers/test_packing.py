"""Batches: which tokens go in, and where what is read lies, worked out by hand."""

from hypothesis import given
from hypothesis import strategies as st

from critic.chats.tokens import Segment, TokenTree
from trainers.batches.packing import packed, padded


def tree(root: list[int], *branches: list[int]) -> TokenTree:
    return TokenTree((Segment(tuple(root), -1), *(Segment(tuple(branch), 0) for branch in branches)), ())


TREES = [tree([1, 2, 3], [4, 5], [6]), tree([7], [8, 9, 10])]


def test_a_packed_row_by_hand() -> None:
    """Places: 4 is read after 3 (place 2), 5 after 4 (3), 6 after 3 again; 8 after 7 (6), 9 after 8, 10 after 9."""
    batch = packed(TREES)
    assert batch.ids.flatten().tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert batch.positions.flatten().tolist() == [0, 1, 2, 3, 4, 3, 0, 1, 2, 3]
    assert batch.places.tolist() == [2, 3, 2, 6, 7, 8]
    assert batch.targets.tolist() == [4, 5, 6, 8, 9, 10]
    assert batch.answer.tolist() == [0, 0, 1, 2, 2, 2]
    assert batch.example.tolist() == [0, 0, 1]
    assert batch.ends.tolist() == [4, 5, 9]
    assert (batch.answers, batch.lengths.tolist()) == (3, [2, 1, 3])
    assert [(span.start, span.end, span.ancestors) for span in batch.spans] == [
        (0, 3, ()), (3, 5, ((0, 3),)), (5, 6, ((0, 3),)), (6, 7, ()), (7, 10, ((6, 7),)),
    ]  # fmt: skip


def test_padded_rows_by_hand() -> None:
    batch = padded(TREES, padding=99)
    assert batch.ids.tolist() == [[1, 2, 3, 4, 5], [1, 2, 3, 6, 99], [7, 8, 9, 10, 99]]
    assert batch.visible.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 1, 1, 1, 0]]
    assert batch.places.tolist() == [2, 3, 7, 10, 11, 12]
    assert batch.ends.tolist() == [4, 8, 13]


def test_values_are_added_up_for_each_answer() -> None:
    batch = packed(TREES)
    assert batch.sums(batch.targets.double()).tolist() == [9, 6, 27]


TOKENS = st.lists(st.integers(0, 50), min_size=1, max_size=5)


@given(st.lists(st.builds(lambda r, b: tree(r, *b), TOKENS, st.lists(TOKENS, min_size=1, max_size=3)), min_size=1))
def test_both_ways_read_the_same(trees: list[TokenTree]) -> None:
    """The same targets of the same answers; and the token before each, and each answer's last, are the same."""
    row, rows = packed(trees), padded(trees)
    for name in ("targets", "answer", "example", "lengths"):
        assert getattr(row, name).tolist() == getattr(rows, name).tolist()
    for name in ("places", "ends"):
        before = (batch.ids.flatten()[getattr(batch, name)].tolist() for batch in (row, rows))
        assert next(before) == next(before)
    assert row.ids.numel() == sum(t.tokens for t in trees), "nothing is computed twice, and nothing is padded"
