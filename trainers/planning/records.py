"""What the arithmetic of memory takes and gives: a model, a method, its work, how it is computed; and the plan.

Sizes are in numbers (weights, features, tokens), but for a plan's, which are bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FLOAT = 4
"""Bytes of a number in float32."""
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes: four bits, and of each 64 numbers a scale in a byte, and of each 256 scales one in float32 (QLoRA's)."""


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What the arithmetic needs of a model. All are counts of numbers but ``layers`` and ``stored``.

    ``multiplied`` are the weights of linear layers, the output's table included; ``layer`` are those of the largest
    layer, ``embedding`` those of the input's table, and ``table`` those of the output's: they are counted once where
    both are one (``tied``). ``queries`` and ``keys`` are what a token has of them in one layer, ``inner`` the features
    between a layer's two products, of all experts that a token goes to. ``stored`` are the bytes of a number in the
    model's folder, and ``linear`` the weights that QLoRA keeps in four bits.
    """

    weights: int
    multiplied: int
    layer: int
    embedding: int
    table: int
    tied: bool
    layers: int
    hidden: int
    queries: int
    keys: int
    inner: int
    vocabulary: int
    stored: float = 2
    linear: int = 0


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a training method needs, beside a model that learns. A method says it of itself.

    ``answers`` is how many a prompt of its rows has, ``scored`` that rewards are read instead of the vocabulary's
    logits, and ``compared`` that answers are compared with what the model said of them before the first step, which is
    computed once and kept on the disk. ``reference`` is a frozen copy, ``critic`` a model of values, ``writes`` a copy
    that writes the answers: adapters share one base for the first two.
    """

    answers: int = 1
    scored: bool = False
    compared: bool = False
    reference: bool = False
    critic: bool = False
    writes: bool = False


NOTHING = Needs()
"""What a method needs that says nothing else."""


@dataclass(frozen=True, kw_only=True)
class StepWork:
    """What a method puts through its model: ``examples`` prompts at a time, with ``answers`` each, in tokens.

    ``slots`` answers are written at a time, ``rewards`` are the bytes of other models on the device, ``values`` the
    weights of the model of values, where it begins as another model than the policy, and ``evaluated`` the tokens of a
    row that nothing is learnt from: of references, and of an evaluation.
    ``accumulates``: whether a step's gradient is added up over several such batches.
    """

    examples: int
    answers: int
    prompt: int
    answer: int
    packed: bool = True
    accumulates: bool = False
    slots: int = 0
    rewards: int = 0
    values: int = 0
    evaluated: int = 0


Offloads = Literal["nothing", "optimiser", "all"]
"""What lies in main memory instead of on a device: the optimiser and its gradients, or the weights as well."""


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """What processes share out among themselves: Rajbhandari et al.'s stages.

    1 is the optimiser, 2 gradients as well, 3 weights as well, as FSDP does. ``stays_gathered``: weights are gathered
    once for forward and backward pass. ``one_reads``: one process of a machine reads the model for all.
    """

    stage: int = 3
    offloads: Offloads = "nothing"
    stays_gathered: bool = False
    one_reads: bool = True


ALL_SHARED = Sharing()
"""As trainers/configs/fsdp.yaml does it."""


@dataclass(frozen=True, kw_only=True)
class ComputeSetting:
    """How it is computed. ``adapters`` are the numbers of LoRA's; None where all weights learn.

    ``frozen`` are the bytes of a number in a frozen base's linear layers: `NF4` where it is quantised.
    ``compute`` are the bytes of a number in matrix products, ``optimizer`` the bytes that the optimiser keeps of each
    weight that learns; with ``wide_tables`` it keeps four times as many of an embedding's. ``on_cpu``: attention copies
    a prompt's keys for each of its answers there, and the finished model is read again into the same memory.
    """

    adapters: int | None = None
    frozen: float = FLOAT
    compute: int = 2
    optimizer: float = 8
    wide_tables: bool = False
    checkpointing: bool = False
    processes: int = 1
    sharded: bool = False
    shared: Sharing = ALL_SHARED
    on_cpu: bool = False
    checkpoints: int = 3

    @property
    def stage(self) -> int:
        """What is shared out: see `Sharing`; 0 where nothing is."""
        return self.shared.stage if self.sharded else 0

    @property
    def offloads(self) -> Offloads:
        """What is not on the device."""
        return self.shared.offloads if self.sharded else "nothing"


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes by name: what is there ``always``, what each of the ``phases`` adds, and what is written to ``disk``."""

    always: Mapping[str, int]
    phases: Mapping[str, Mapping[str, int]]
    disk: Mapping[str, int]
    host: int = field(default=0)
    """Main memory of a machine's first process, beside a device's, for loading the model, and for saving it."""
    others: int = field(default=0)
    """Main memory of each other process, beside a device's, for loading the model."""
    offloaded: int = field(default=0)
    """Main memory of each process, beside a device's, for what a device has no room for."""

    @property
    def peak(self) -> int:
        """The most that a device needs at a time."""
        return sum(self.always.values()) + max(sum(parts.values()) for parts in self.phases.values())

    @property
    def fullest(self) -> str:
        """The phase that needs the most."""
        return max(self.phases, key=lambda name: sum(self.phases[name].values()))

    @property
    def written(self) -> int:
        """The most that lies on the disk at a time."""
        return sum(self.disk.values())
