"""Keys and values of the answers that are being written: one slot an answer, in tensors that are allocated rarely."""

from torch import Tensor

_GRAIN = 128


class KeyValueCache:
    """``slots`` answers of up to ``capacity`` tokens, a pair of ``[slots, K, capacity, D]`` tensors a layer.

    Layers differ in K and D where the model's do, and so may the D of keys and values.

    The slots in use are always the first ones: `move` fills the hole that a finished answer leaves.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.capacity = 0
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def reserve(self, tokens: int, in_use: int) -> None:
        """Make room for ``tokens`` in every slot, keeping what the first ``in_use`` slots hold."""
        wanted = -(-tokens // _GRAIN) * _GRAIN
        if in_use and wanted <= self.capacity:
            return
        if not in_use and wanted <= self.capacity <= 2 * wanted:
            return
        if not in_use:
            self._layers = {}
        for layer, (keys, values) in self._layers.items():
            self._layers[layer] = (self._grown(keys, wanted, in_use), self._grown(values, wanted, in_use))
        self.capacity = wanted  # not before: where memory ends half way, the layers that are left have less

    def layer(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of ``layer``; ``key`` and ``value``, ``[K, N, D]``, give the sizes."""
        if layer not in self._layers:
            # Zeros, for what is masked out must still be finite: 0 times NaN is NaN.
            self._layers[layer] = (self._empty(key), self._empty(value))
        return self._layers[layer]

    @property
    def bytes_per_token(self) -> int:
        """How many bytes one token of an answer takes, over the layers used so far."""
        tensors = [kept for pair in self._layers.values() for kept in pair]
        return sum(kept.shape[1] * kept.shape[3] * kept.element_size() for kept in tensors)

    def store(self, layer: int, slot: int, key: Tensor, value: Tensor) -> None:
        """Put a prompt's ``key`` and ``value``, ``[K, n, D]``, at the start of ``slot``."""
        for kept, new in zip(self.layer(layer, key, value), (key, value), strict=True):
            kept[slot, :, : new.shape[1]] = new

    def move(self, source: int, target: int, tokens: int) -> None:
        """Copy the first ``tokens`` of slot ``source`` over slot ``target``."""
        for pair in self._layers.values():
            for kept in pair:
                kept[target, :, :tokens] = kept[source, :, :tokens]

    def _empty(self, like: Tensor) -> Tensor:
        return like.new_zeros(self.slots, like.shape[0], self.capacity, like.shape[2])

    def _grown(self, old: Tensor, capacity: int, in_use: int) -> Tensor:
        if old.shape[2] >= capacity:  # it grew before memory ended at another layer
            return old
        new = old.new_zeros(old.shape[0], old.shape[1], capacity, old.shape[3])
        new[:in_use, :, : old.shape[2]] = old[:in_use]
        return new
