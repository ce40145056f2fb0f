"""Trees of tokens: what a tree of chats becomes, how several are packed into one sequence, and what is read where.

Nothing here knows a model. A pack is one long row of token ids with their positions; its spans say which tokens see
which: a token sees its own span up to itself, and all of its span's ancestors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from critic.chats.chat import Chat, End, WholeChat
from critic.engine import Choices, EngineError, Node, OwnTokens, Read, Reward
from critic.records import Message


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens that follow those of segment ``parent`` (an index into the tree's segments; -1 for the root)."""

    ids: tuple[int, ...]
    parent: int


@dataclass(frozen=True, slots=True)
class TokenRead:
    """Log-probabilities to read: of token ``targets[i]`` after the token at ``places[i]``, a (segment, offset).

    A reward has one place, its chat's last token, and no targets: there is one value a head of the model.

    ``segment`` is the one that the read belongs to (the places may lie in its ancestors). ``summed`` where only the
    sum is wanted; ``tokens`` is the number of the node's own content tokens.
    """

    segment: int
    places: tuple[tuple[int, int], ...]
    targets: tuple[int, ...]
    summed: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class TokenTree:
    """Segments, parents before children and each subtree in one stretch, and reads in `Engine.score`'s order."""

    segments: tuple[Segment, ...]
    reads: tuple[TokenRead, ...]

    @property
    def tokens(self) -> int:
        """How many tokens the tree holds, each counted once."""
        return sum(len(segment.ids) for segment in self.segments)

    @property
    def longest(self) -> int:
        """How many tokens its longest path holds."""
        ends: list[int] = []
        for segment in self.segments:
            ends.append(len(segment.ids) + (ends[segment.parent] if segment.parent >= 0 else 0))
        return max(ends)


@dataclass(frozen=True, slots=True)
class SegmentSpan:
    """Where one segment lies in a pack, and where its ancestors' tokens lie, from the root down."""

    start: int
    end: int
    ancestors: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Pack:
    """Several trees in one row: ``ids`` and ``positions`` of all tokens, and one span a segment, tree after tree."""

    ids: list[int]
    positions: list[int]
    spans: list[SegmentSpan]


def from_chats(tree: Node, chat: Chat) -> TokenTree:
    """Encode a tree of chats: the path to each read has the tokens of the whole chat that it is.

    Raises `EngineError` where a read of it is impossible.
    """
    builder = _TreeBuilder(chat)
    builder.add(_Encoder(chat).place(tree, ()), 0, ())
    return TokenTree(tuple(builder.segments), tuple(builder.reads))


def from_ids(ids: Sequence[int]) -> TokenTree:
    """Return a tree of one segment, with nothing to read: a prompt."""
    return TokenTree((Segment(tuple(ids), -1),), ())


def pack(trees: Sequence[TokenTree]) -> Pack:
    """Lay ``trees`` one after another. Positions continue from the parent's last token; each root starts at 0."""
    ids: list[int] = []
    positions: list[int] = []
    spans: list[SegmentSpan] = []
    for tree in trees:
        first = len(spans)
        for segment in tree.segments:
            above: tuple[tuple[int, int], ...] = ()
            if segment.parent >= 0:
                parent = spans[first + segment.parent]
                above = (*parent.ancestors, (parent.start, parent.end))
            depth = sum(end - start for start, end in above)
            spans.append(SegmentSpan(len(ids), len(ids) + len(segment.ids), above))
            ids += segment.ids
            positions += range(depth, depth + len(segment.ids))
    return Pack(ids, positions, spans)


def split(tree: TokenTree, limit: int) -> Iterator[TokenTree]:
    """Yield ``tree`` in pieces of at most ``limit`` tokens, or of a single path where that is longer already.

    Each piece repeats the ancestors it needs. Every read is in exactly one piece, and their order is kept.
    """
    if tree.tokens <= limit:
        yield tree
        return
    parents = {segment.parent for segment in tree.segments}
    piece: dict[int, int] = {}
    size, done = 0, 0
    for leaf in (i for i in range(len(tree.segments)) if i not in parents):
        whole = path(tree, leaf)
        new = [i for i in whole if i not in piece]
        added = sum(len(tree.segments[i].ids) for i in new)
        if piece and size + added > limit:
            yield _subtree(tree, piece, done)
            done = max(piece) + 1
            piece, size, new = {}, 0, whole
            added = sum(len(tree.segments[i].ids) for i in whole)
        piece |= {i: len(piece) + k for k, i in enumerate(new)}
        size += added
    yield _subtree(tree, piece, done)


def path(tree: TokenTree, leaf: int) -> list[int]:
    """Return the segments from the root down to ``leaf``."""
    segments = [leaf]
    while (parent := tree.segments[segments[-1]].parent) >= 0:
        segments.append(parent)
    return segments[::-1]


def _subtree(tree: TokenTree, piece: dict[int, int], done: int) -> TokenTree:
    """Return the segments of ``piece`` (old index to new), with the reads that end in segments from ``done`` on."""
    segments = tuple(Segment(tree.segments[i].ids, piece.get(tree.segments[i].parent, -1)) for i in piece)
    reads = []
    for read in tree.reads:
        if read.segment in piece and read.segment >= done:
            places = tuple((piece[segment], offset) for segment, offset in read.places)
            reads.append(TokenRead(piece[read.segment], places, read.targets, read.summed, read.tokens))
    return TokenTree(segments, tuple(reads))


@dataclass(frozen=True, slots=True)
class _TreeNode:
    """A node of a tree: the tokens of its whole chat where something is read there, and its children."""

    ids: tuple[int, ...]
    own: tuple[int, ...]
    """Which of ``ids`` come from the node's own messages."""
    read: Read | None
    children: tuple["_TreeNode", ...]

    def chats(self) -> Iterator[tuple[int, ...]]:
        """Yield the tokens of all chats that end here or below."""
        if self.ids:
            yield self.ids
        for child in self.children:
            yield from child.chats()


class _Encoder:
    """Encodes each chat of a tree whole, with what it has in common with the chat before encoded once."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._before: WholeChat | None = None

    def place(self, node: Node, above: tuple[Message, ...]) -> _TreeNode:
        """Encode the chats that end at ``node`` and below it; ``above`` are the messages before it."""
        messages = above + node.messages
        ids: tuple[int, ...] = ()
        own: tuple[int, ...] = ()
        if node.read is not None or not node.children:
            whole = self._before = self._chat.whole(messages, _end(node.read, messages), self._before)
            ids, own = whole.ids, tuple(whole.own(len(above)))
        return _TreeNode(ids, own, node.read, tuple(self.place(child, messages) for child in node.children))


class _TreeBuilder:
    """Collects the segments and reads of a tree: chats that begin alike share the segments of these tokens."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self.segments: list[Segment] = []
        self.reads: list[TokenRead] = []

    def add(self, place: _TreeNode, start: int, line: tuple[int, ...]) -> None:
        """Add what follows the first ``start`` tokens, which the segments ``line`` hold from the root down."""
        chats = list(place.chats())
        # A chat keeps at least its last token to itself, so that reads come in the order of their segments.
        shared = len(chats[0]) if len(chats) == 1 else min(shared_length(chats), *(len(ids) - 1 for ids in chats))
        if shared > start:
            line = (*line, self._segment(chats[0][start:shared], line))
            start = shared
        if place.ids:
            here = line if start == len(place.ids) else (*line, self._segment(place.ids[start:], line))
            if place.read is not None:
                self.reads.append(self._read(place, place.read, here))
        for child in place.children:
            self.add(child, start, line)

    def _segment(self, ids: tuple[int, ...], line: tuple[int, ...]) -> int:
        self.segments.append(Segment(ids, line[-1] if line else -1))
        return len(self.segments) - 1

    def _read(self, place: _TreeNode, read: Read, line: tuple[int, ...]) -> TokenRead:
        """Return where ``read`` is read: at the chat's last token, or at the one before each of the node's own."""
        where = [(segment, offset) for segment in line for offset in range(len(self.segments[segment].ids))]
        if isinstance(read, OwnTokens):
            if not place.own:
                raise EngineError("there is nothing to read: the text is empty")
            if place.own[0] == 0:
                raise EngineError("the first token of a chat can't be read: nothing stands before it")
            places = tuple(where[k - 1] for k in place.own)
            return TokenRead(line[-1], places, tuple(place.ids[k] for k in place.own), True, len(place.own))
        texts = read.texts if isinstance(read, Choices) else ()
        targets = tuple(self._chat.choice(text) for text in texts)
        return TokenRead(line[-1], (where[-1],) * max(1, len(targets)), targets, False, len(place.own))


def _end(read: Read | None, messages: tuple[Message, ...]) -> End:
    """Return how a chat ends for what is read of it."""
    is_answer = bool(messages) and messages[-1].role == "assistant"
    if isinstance(read, Reward):
        if not is_answer:
            raise EngineError("a reward is that of a chat that ends with the assistant's turn; this one does not")
        return "closed"
    return "opened" if isinstance(read, Choices) and not is_answer else "continued"


def shared_length(chats: Sequence[tuple[int, ...]]) -> int:
    """Return how many tokens all of ``chats`` begin with."""
    least, greatest = min(chats), max(chats)
    for k, (one, other) in enumerate(zip(least, greatest, strict=False)):
        if one != other:
            return k
    return min(len(least), len(greatest))
