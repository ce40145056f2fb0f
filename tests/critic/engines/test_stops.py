"""Texts that end an answer end no thoughts, on an engine that stops at them wherever they are."""

from collections.abc import Sequence

import pytest

from critic.chats.stops import Piece, beyond_thoughts
from critic.engine import Sampling

THOUGHTS_END = 0


class Writing:
    """Writes the numbers of ``whole`` one by one, up to the first that is a stop, or to the limit."""

    def __init__(self, whole: Sequence[int], stop: int, limit: int) -> None:
        self.whole, self.stop, self.limit = tuple(whole), stop, limit
        self.asked: list[int] = []

    async def go_on(self, before: Sequence[int]) -> Piece:
        self.asked.append(len(before))
        assert tuple(before) == self.whole[: len(before)]
        left = self.whole[len(before) : self.limit]
        if self.stop in left:
            return Piece(left[: left.index(self.stop) + 1], True, True)
        return Piece(left, len(self.whole) <= self.limit, False)

    def is_thinking(self, ids: Sequence[int]) -> bool:
        return THOUGHTS_END not in ids or self.stop not in ids[ids.index(THOUGHTS_END) :]


@pytest.mark.parametrize(
    ("whole", "limit", "written", "ended", "asked"),
    [
        ((1, 2, 9, 3), 10, (1, 2, 9, 3), True, [0, 3]),  # in thoughts that never end
        ((1, 9, 2, 9, 0, 3, 9, 4), 10, (1, 9, 2, 9, 0, 3, 9), True, [0, 2, 4]),
        ((1, 0, 3, 9, 4), 10, (1, 0, 3, 9), True, [0]),
        ((1, 0, 3, 4), 3, (1, 0, 3), False, [0]),
        ((1, 9, 2, 3), 2, (1, 9), False, [0]),  # the limit is reached at the very stop
    ],
)
async def test_a_stop_in_the_thoughts_is_written_on_from(
    whole: Sequence[int], limit: int, written: Sequence[int], ended: bool, asked: Sequence[int]
) -> None:
    writing = Writing(whole, 9, limit)
    assert await beyond_thoughts(writing.go_on, writing.is_thinking, limit) == (written, ended)
    assert writing.asked == asked


def test_the_first_of_the_texts_is_where_an_answer_ends() -> None:
    assert Sampling(8, stop=("x", "ab")).stop_in("..ab..x") == 2
    assert Sampling(8, stop=("x",)).stop_in("none") is None
    assert Sampling(8).stop_in("any") is None
