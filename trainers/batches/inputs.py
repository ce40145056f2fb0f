"""What a trainer's batches are made of: examples, each encoded once."""

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from base.errors import InputError
from critic.chats.tokens import Segment, TokenTree
from critic.engine import EngineError
from critic.files.inputs import RowError
from critic.records import Prompt, Quarantined
from trainers.batches import proof
from trainers.batches.data import Data
from trainers.batches.examples import Example
from trainers.batches.packing import Batch, packed, padded


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example, its tokens, and the reference's log-probability of each answer where one was computed."""

    example: Example
    tree: TokenTree
    reference: tuple[float, ...] = ()


Encode = Callable[[Prompt, Sequence[str]], TokenTree]


class KeptTree:
    """A prompt's tokens and those of its answers, in four bytes each: Python's numbers take nine times as many."""

    __slots__ = ("_ends", "_ids")

    def __init__(self, tree: TokenTree) -> None:
        self._ids, self._ends = array("i"), array("i")
        for segment in tree.segments:
            self._ids.extend(segment.ids)
            self._ends.append(len(self._ids))

    @property
    def tree(self) -> TokenTree:
        """The tree itself."""
        return TokenTree(tuple(self._segments()), ())

    def _segments(self) -> Iterator[Segment]:
        start = 0
        for number, end in enumerate(self._ends):
            yield Segment(tuple(self._ids[start:end]), 0 if number else -1)
            start = end


class Examples(torch.utils.data.Dataset[Encoded]):
    """Examples and their tokens. Those that can't be encoded, or are too long, are in ``refused``."""

    def __init__(self, data: Data, encode: Encode) -> None:
        self.examples: list[Example] = []
        self.trees: list[KeptTree] = []
        self.refused: list[Quarantined] = list(data.refused)
        self.thoughts = data.thoughts
        self.references: list[tuple[float, ...]] | None = None
        self.longest = self.widest = self.highest = self.tokens = 0
        """The tokens of the longest prompt with an answer, those of the largest example with all of its answers, the
        highest id of all tokens, and how many there are."""
        tokens = hashlib.sha256()
        for row, example in enumerate(data.examples):
            try:
                tree = encode(example.prompt, example.answers)
            except (RowError, EngineError) as error:
                reason = error.reason if isinstance(error, RowError) else "cannot_encode"
                self.refused.append(Quarantined(row=row, where=example.where, reason=reason, detail=str(error)))
            else:
                self.examples.append(example)
                self.trees.append(KeptTree(tree))
                tokens.update(repr(tree.segments).encode())
                root, *branches = tree.segments
                self.longest = max(self.longest, len(root.ids) + max(len(branch.ids) for branch in branches))
                size = sum(len(segment.ids) for segment in tree.segments)
                self.tokens += size
                self.widest = max(self.widest, size)
                self.highest = max(self.highest, *(max(s.ids, default=0) for s in tree.segments))
        self.sha256 = tokens.hexdigest()
        """A hash of all tokens."""
        self.require_some()

    def require_some(self) -> None:
        """Raise `InputError` where no example is left."""
        if not self.examples:
            raise InputError(
                f"all {len(self.refused)} rows were refused; the last: {self.refused[-1].detail}",
                where=self.refused[-1].where,
                fix="raise max_length, or give other data",
            )

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Encoded:
        reference = self.references[index] if self.references else ()
        return Encoded(self.examples[index], self.trees[index].tree, reference)


@dataclass(frozen=True, eq=False)
class Inputs:
    """A batch of examples as a trainer gets it."""

    batch: Batch
    rows: list[Encoded]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Inputs":
        """Return it with its tensors on ``device``."""
        return Inputs(self.batch.to(device, non_blocking), self.rows)

    @property
    def examples(self) -> list[Example]:
        """Its examples, in the order of the batch."""
        return [row.example for row in self.rows]

    def column(self, name: str, device: torch.device) -> Tensor:
        """Return a number of each example: ``[E]`` in float32."""
        return torch.tensor([getattr(example, name) for example in self.examples], device=device)


class Collator:
    """Makes a batch of encoded examples."""

    def __init__(self, path: proof.Path) -> None:
        self._path = path

    def __call__(self, rows: Sequence[Encoded]) -> Inputs:
        """Return the batch of ``rows``, packed or padded."""
        return Inputs(self.batch([row.tree for row in rows]), list(rows))

    def batch(self, trees: Sequence[TokenTree]) -> Batch:
        """Return the batch of ``trees``."""
        if self._path == "packed":
            return packed(trees)
        return padded(trees, apart=self._path == "apart")
