"""Trees of tokens: what a tree of chats becomes, how several are packed into one sequence, and what is read where.

Nothing here knows a model. A pack is one long row of token ids with their positions; its spans say which tokens see
which: a token sees its own span up to itself, and all of its span's ancestors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from critic.engines.base import Choices, EngineError, Node, OwnTokens, Reward
from critic.engines.chat import Chat, Turns


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
class Span:
    """Where one segment lies in a pack, and where its ancestors' tokens lie, from the root down."""

    start: int
    end: int
    ancestors: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Pack:
    """Several trees in one row: ``ids`` and ``positions`` of all tokens, and one span a segment, tree after tree."""

    ids: list[int]
    positions: list[int]
    spans: list[Span]


def from_chats(tree: Node, chat: Chat) -> TokenTree:
    """Encode a tree of chats. Raises `EngineError` where a read of it is impossible."""
    builder = _Builder(chat)
    builder.add(tree, parent=-1, turns=())
    return TokenTree(tuple(builder.segments), tuple(builder.reads))


def from_ids(ids: Sequence[int]) -> TokenTree:
    """Return a tree of one segment, with nothing to read: a prompt."""
    return TokenTree((Segment(tuple(ids), -1),), ())


def pack(trees: Sequence[TokenTree]) -> Pack:
    """Lay ``trees`` one after another. Positions continue from the parent's last token; each root starts at 0."""
    ids: list[int] = []
    positions: list[int] = []
    spans: list[Span] = []
    for tree in trees:
        first = len(spans)
        for segment in tree.segments:
            above: tuple[tuple[int, int], ...] = ()
            if segment.parent >= 0:
                parent = spans[first + segment.parent]
                above = (*parent.ancestors, (parent.start, parent.end))
            depth = sum(end - start for start, end in above)
            spans.append(Span(len(ids), len(ids) + len(segment.ids), above))
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
    found = [leaf]
    while (parent := tree.segments[found[-1]].parent) >= 0:
        found.append(parent)
    return found[::-1]


def _subtree(tree: TokenTree, piece: dict[int, int], done: int) -> TokenTree:
    """Return the segments of ``piece`` (old index to new), with the reads that end in segments from ``done`` on."""
    segments = tuple(Segment(tree.segments[i].ids, piece.get(tree.segments[i].parent, -1)) for i in piece)
    reads = []
    for read in tree.reads:
        if read.segment in piece and read.segment >= done:
            places = tuple((piece[segment], offset) for segment, offset in read.places)
            reads.append(TokenRead(piece[read.segment], places, read.targets, read.summed, read.tokens))
    return TokenTree(segments, tuple(reads))


class _Builder:
    """Walks a tree of chats and collects its segments and reads."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.segments: list[Segment] = []
        self.reads: list[TokenRead] = []

    def add(self, node: Node, parent: int, turns: Turns) -> None:
        """Add ``node``, which follows segment ``parent`` of a chat with ``turns``, and everything under it."""
        part = self.chat.extend(turns, node.messages)
        here = len(self.segments)
        self.segments.append(Segment(part.ids, parent))
        if isinstance(node.read, OwnTokens):
            self._read_own(here, part.content)
        elif isinstance(node.read, Choices):
            self._read_choices(here, node.read, part.turns, sum(part.content), is_leaf=not node.children)
        elif isinstance(node.read, Reward):
            self._read_reward(here, part.turns, sum(part.content), is_leaf=not node.children)
        for child in node.children:
            self.add(child, here, part.turns)

    def _read_own(self, here: int, content: tuple[bool, ...]) -> None:
        """Read every content token of segment ``here`` at the token before it."""
        offsets = [offset for offset, own in enumerate(content) if own]
        if not offsets:
            raise EngineError("there is nothing to read: the text is empty")
        places = tuple((here, offset - 1) if offset else self._last(self.segments[here].parent) for offset in offsets)
        targets = tuple(self.segments[here].ids[offset] for offset in offsets)
        self.reads.append(TokenRead(here, places, targets, True, len(offsets)))

    def _read_choices(self, here: int, read: Choices, turns: Turns, tokens: int, is_leaf: bool) -> None:
        """Read the choices where the assistant speaks: after the markup that opens its turn, if it isn't open yet."""
        here = self._go_on(here, self.chat.opening(turns), is_leaf)
        targets = tuple(self.chat.choice(text) for text in read.texts)
        self.reads.append(TokenRead(here, (self._last(here),) * len(targets), targets, False, tokens))

    def _read_reward(self, here: int, turns: Turns, tokens: int, is_leaf: bool) -> None:
        """Read the reward where the chat ends: after the markup that closes the assistant's turn."""
        if turns[-1:] != ("assistant",):
            raise EngineError("a reward is that of a chat that ends with the assistant's turn; this one does not")
        here = self._go_on(here, self.chat.closing(turns), is_leaf)
        self.reads.append(TokenRead(here, (self._last(here),), (), False, tokens))

    def _go_on(self, here: int, markup: tuple[int, ...], is_leaf: bool) -> int:
        """Put ``markup`` after segment ``here``, and return the segment that then is the last."""
        if is_leaf:
            self.segments[here] = Segment(self.segments[here].ids + markup, self.segments[here].parent)
        elif markup:  # the children go on without it, so it is a branch of its own
            self.segments.append(Segment(markup, here))
            return len(self.segments) - 1
        return here

    def _last(self, segment: int) -> tuple[int, int]:
        """Return the place of the last token of ``segment``, or of its nearest ancestor that has one."""
        while segment >= 0:
            if ids := self.segments[segment].ids:
                return segment, len(ids) - 1
            segment = self.segments[segment].parent
        raise EngineError("the first token of a chat can't be read: nothing stands before it")
