"""The arithmetic of memory: sizes in, bytes out. Nothing is loaded, and no device is asked.

Weights are float32 while they are learnt, whatever the folder has, as in mixed precision training (Micikevicius et al.
2018); Adam keeps two more float32 numbers of each, and a gradient is one: 16 bytes a weight (Rajbhandari et al. 2020,
section 3.1), divided among processes where FSDP shards them (its stage 3). What layers keep for the backward pass is
counted as Korthikanti et al. (2022, section 4) count it, for what is computed here: trees in one row, RMS norms, gated
layers, a residual stream in float32, and under autocast a copy of its input in bfloat16 for each linear layer.

Sizes are in numbers (weights, features, tokens), results in bytes of one device, but for the disk.
"""

from dataclasses import replace

from trainers.planning.records import FLOAT, ComputeSetting, MemoryPlan, ModelShape, Needs, StepWork

OVERHEAD = 150_000_000
"""Bytes: what libraries and kernels take once they run. Measured: see `benchmarks.memory`."""
_BLOCK = 128
"""Tokens: the cache of keys and values grows by so many (`critic.local.trees.kv_cache`)."""
_PREFILL = 4096
"""Tokens of prompts that are read in one row (`trainers.online.writing.rollout`)."""
LOGITS_AT_ONCE = 1 << 26
"""Numbers in a slice of logits (`trainers.batches.forward`)."""
_DRAWN = 3
"""Copies in float32 of an answer's logits while a token is drawn: the logits, what they are less the best, shares."""
_READ = 4
"""The same while log-probabilities and entropies are read: logits, log-softmax, exponentials, and their product."""
_LEARNT = 3
"""The same while a loss with an entropy goes backward: log-softmax, its gradient, and that of the logits."""
WIDENED_AT_ONCE = 1 << 20
"""Numbers of logits that are made float32 at a time on a CPU where log-probabilities alone are read; elsewhere all.

See `critic.local.trees.normaliser`.
"""


def plan(shape: ModelShape, needs: Needs, work: StepWork, setting: ComputeSetting) -> MemoryPlan:
    """Return what a run takes on each of its devices."""
    learnt = _learnt(shape, needs, work, setting)
    learning = _learning(shape, needs, work, setting, learnt)
    phases = {"learning": learning}
    if work.evaluated:
        phases["evaluating"] = {"activations": _evaluating(shape, needs, work, setting)}
    if needs.writes:
        phases["writing"] = _writing(shape, work, setting)
        phases["scoring"] = _scoring(shape, work, setting)
    if setting.on_cpu:
        phases["saving"] = {"the finished model, read again": int((FLOAT + shape.stored) * shape.weights)}
        if setting.frozen < FLOAT:
            phases["saving"]["the finished model"] = FLOAT * shape.weights
    return MemoryPlan(
        _always(shape, needs, work, setting, learnt),
        phases,
        _disk(shape, setting, learnt),
        _host(shape, setting),
        _read(shape, setting),
        _offloaded(shape, setting, learnt),
    )


def _learnt(shape: ModelShape, needs: Needs, work: StepWork, setting: ComputeSetting) -> int:
    """Return how many numbers learn."""
    if setting.adapters is not None:
        return setting.adapters
    return shape.weights + (max(_values(shape), work.values) if needs.critic else 0)


def _values(shape: ModelShape) -> int:
    """Return the weights of a model of values: the same without the output's table, with a row and a bias for it."""
    return shape.weights - (0 if shape.tied else shape.table) + shape.hidden + 1


def _share(size: float, setting: ComputeSetting, stage: int) -> int:
    """Return a process's part of what is shared out from ``stage`` on."""
    return -(-int(size) // (setting.processes if setting.stage >= stage else 1))


def _weights(shape: ModelShape, setting: ComputeSetting, learnt: int) -> int:
    """Return the bytes of all weights that are trained, or that adapters are put on."""
    frozen = setting.adapters is not None
    weights = FLOAT * (shape.weights + learnt if frozen else learnt)
    if frozen:
        weights -= int((FLOAT - setting.frozen) * shape.linear)
    return weights


def _optimiser(shape: ModelShape, setting: ComputeSetting, learnt: int) -> int:
    """Return the bytes of the optimiser in one process. DeepSpeed's stages below 3 keep the float32 weights in it."""
    master = FLOAT * learnt if 0 < setting.stage < 3 and setting.compute < FLOAT else 0
    return _share(master + _states(shape, setting, learnt), setting, 1)


def _states(shape: ModelShape, setting: ComputeSetting, learnt: int) -> float:
    """Return the bytes of what the optimiser keeps of all weights that learn."""
    tables = shape.embedding if setting.wide_tables and setting.adapters is None else 0
    return setting.optimizer * (learnt + (FLOAT - 1) * tables)


def _always(shape: ModelShape, needs: Needs, work: StepWork, setting: ComputeSetting, learnt: int) -> dict[str, int]:
    frozen = setting.adapters is not None
    weights = _weights(shape, setting, learnt)
    if 0 < setting.stage < 3:  # DeepSpeed computes with whole weights in the narrow type
        weights = weights * setting.compute // FLOAT
    return {
        "weights": 0 if setting.offloads == "all" else _share(weights, setting, 3),
        "optimiser": 0 if setting.offloads != "nothing" else _optimiser(shape, setting, learnt),
        "references": FLOAT * shape.weights if needs.reference and not frozen else 0,
        "rollouts: the copy that writes": setting.compute * shape.weights if needs.writes else 0,
        "reward models": work.rewards,
        "libraries": OVERHEAD,
    }


def _learning(shape: ModelShape, needs: Needs, work: StepWork, setting: ComputeSetting, learnt: int) -> dict[str, int]:
    """Return what the update adds: the larger of forward pass, backward pass, and step.

    Gradients appear as activations go, so both are never there in full, unless earlier batches have left theirs.
    """
    gradients = 0 if setting.offloads != "nothing" else _share(FLOAT * learnt, setting, 2)
    copied = gradients if setting.processes > 1 and not setting.sharded and not needs.writes else 0  # DDP's buckets
    left = gradients if work.accumulates or needs.critic else 0
    kept, forth, back = activations(shape, needs, work, setting)
    casts = _casts(shape, setting)
    passes = [("activations", kept + casts[0] + forth), ("activations", kept + casts[1] + back)]
    own = FLOAT * shape.table if setting.adapters is None else 0  # the output's, which is there first
    during = max(passes, key=lambda part: part[1])[1]
    first = max(left, min(gradients, _share(own, setting, 2)))
    if first + during >= gradients:
        return {"gradients": first + copied, "activations": during}
    return {"gradients": gradients + copied, "activations": 0}


def _casts(shape: ModelShape, setting: ComputeSetting) -> tuple[int, int]:
    """Return the bytes of weights in the type that is computed in, at the end of the forward pass and in the backward.

    Autocast keeps its copies of weights that learn until the forward pass is over, and the graph keeps all that it
    needs; with gradient checkpointing that is one layer's. FSDP gathers two layers at a time, and the tables.
    """
    if setting.stage == 3:
        gathered = setting.compute * (2 * shape.layer + shape.embedding + (0 if shape.tied else shape.table))
        if setting.shared.stays_gathered:
            gathered = setting.compute * shape.weights
        return gathered, gathered + FLOAT * shape.layer
    if setting.frozen < FLOAT:  # made whole for one product at a time, and again for its gradient
        matrix = setting.compute * max(shape.layer, shape.table)
        return matrix, matrix
    if setting.compute == FLOAT or setting.stage:  # what DeepSpeed computes with is narrow already
        return 0, 0
    one, everything = setting.compute * (shape.layer + shape.table), setting.compute * shape.multiplied
    if not setting.checkpointing:
        return everything, everything
    return (one if setting.adapters is not None else everything), one


def activations(shape: ModelShape, needs: Needs, work: StepWork, setting: ComputeSetting) -> tuple[int, int, int]:
    """Return what a batch keeps for the backward pass, and what is there besides at the end of forward and in backward.

    With gradient checkpointing each layer keeps its input, and one at a time is computed again.
    """
    tokens = _tokens(work)
    layer = _layer(shape, work, setting)
    passing = tokens * (FLOAT * 2 * shape.hidden + setting.compute * 2 * shape.inner)  # gradients inside of a layer
    copies = _LEARNT if needs.writes else 0
    head = 0 if needs.scored else _head(shape, work, setting, copies)
    if setting.checkpointing:
        kept = FLOAT * tokens * shape.hidden * shape.layers
        return kept, max(layer, head), max(layer + passing, head)
    return layer * shape.layers, head, max(head, passing)


def _tokens(work: StepWork) -> int:
    """Return the tokens of one batch: packed, a prompt is there once for all of its answers."""
    if work.packed:
        return work.examples * (work.prompt + work.answers * work.answer)
    return work.examples * work.answers * (work.prompt + work.answer)


def _keys(work: StepWork, on_cpu: bool) -> int:
    """Return how many tokens' keys are kept: on a CPU an answer's span has its own copy of the prompt's."""
    if work.packed and on_cpu:
        return work.examples * (work.prompt + work.answers * (work.prompt + work.answer))
    return _tokens(work)


def _layer(shape: ModelShape, work: StepWork, setting: ComputeSetting) -> int:
    """Return what one layer keeps of a batch: see the module's docstring."""
    tokens, keys, narrow = _tokens(work), _keys(work, setting.on_cpu), setting.compute < FLOAT
    streams = 2 if setting.adapters is not None else 4  # a frozen norm needs its input alone, another its output, too
    norms = FLOAT * streams * shape.hidden
    inputs = setting.compute * (5 if narrow else 2) * shape.hidden  # of q, k, v, gate and up: one a cast
    attended = setting.compute * 3 * shape.queries  # queries, and twice what comes out
    between = setting.compute * 4 * shape.inner  # gate, its activation, up, and their product
    wide = shape.queries if narrow and setting.on_cpu else shape.keys  # casts of keys spread them over all heads
    return tokens * (norms + inputs + attended + between) + keys * setting.compute * (wide + shape.keys)


def _head(shape: ModelShape, work: StepWork, setting: ComputeSetting, copies: int, learnt: bool = True) -> int:
    """Return what reading log-probabilities takes, a slice of logits at a time; a padded row has all of its logits.

    Their gradient is in the type of the logits. ``copies``: in float32, where entropies are read as well.
    """
    numbers = (_tokens(work) if not work.packed else work.examples * work.answers * work.answer) * shape.vocabulary
    if work.packed:
        numbers = min(numbers, max(LOGITS_AT_ONCE, shape.vocabulary))
    if work.packed and copies:
        return numbers * (FLOAT * copies + setting.compute)
    times = (1 if work.packed else 2) * (1 + learnt)  # padded: logits of all tokens, and of those that are read
    return numbers * setting.compute * times + FLOAT * (min(numbers, WIDENED_AT_ONCE) if setting.on_cpu else numbers)


def _writing(shape: ModelShape, work: StepWork, setting: ComputeSetting) -> dict[str, int]:
    """Return what writing adds to the copy that writes: keys and values of all answers under way, and logits."""
    longest = -(-(work.prompt + work.answer) // _BLOCK) * _BLOCK
    cache = work.slots * longest * shape.layers * 2 * shape.keys * setting.compute
    logits = work.slots * shape.vocabulary * (FLOAT * _DRAWN + setting.compute)
    read = _within(shape, setting, min(max(_PREFILL, work.prompt), work.slots * work.prompt))
    return {"rollouts: keys and values": cache, "rollouts: logits": logits, "activations": read}


def _scoring(shape: ModelShape, work: StepWork, setting: ComputeSetting) -> dict[str, int]:
    """Return what reading log-probabilities and entropies of the answers adds: no layer keeps anything."""
    return {"activations": _passing(shape, setting, _tokens(work)) + _head(shape, work, setting, _READ)}


def _evaluating(shape: ModelShape, needs: Needs, work: StepWork, setting: ComputeSetting) -> int:
    """Return what a row takes that nothing is learnt from, and what is read of its answers."""
    row = replace(work, examples=1, answers=1, prompt=0, answer=work.evaluated)
    return _passing(shape, setting, work.evaluated) + (
        0 if needs.scored else _head(shape, row, setting, 0, learnt=False)
    )


def _passing(shape: ModelShape, setting: ComputeSetting, tokens: int) -> int:
    """Return what a pass without a gradient takes: one layer at a time, and casts of weights."""
    return _within(shape, setting, tokens) + _casts(shape, setting)[0]


def _within(shape: ModelShape, setting: ComputeSetting, tokens: int) -> int:
    """Return what is there at a time inside of a layer: a few copies of the stream, and of what lies between."""
    return tokens * (4 * FLOAT * shape.hidden + 3 * setting.compute * shape.inner)


def _disk(shape: ModelShape, setting: ComputeSetting, learnt: int) -> dict[str, int]:
    """Return what is written: checkpoints of what learns and of its optimiser, and the finished model."""
    one = int(FLOAT * learnt + _states(shape, setting, learnt))
    finished = int(shape.stored * shape.weights) + (FLOAT * learnt if setting.adapters is not None else 0)
    return {"checkpoints": setting.checkpoints * one, "the finished model": finished}


def _host(shape: ModelShape, setting: ComputeSetting) -> int:
    """Return the most main memory of a machine's first process, which reads the model and writes the finished one.

    It holds the whole in float32 when it has read it. What was shared out is gathered in float32 to be written, beside
    a copy in the type that it is written in. A base in four bits goes to the device at once, and comes back whole in
    the end, for its adapters to be added; it is there then while the finished model is read again.
    """
    if setting.on_cpu:
        return 0
    if setting.frozen < FLOAT:
        return 2 * FLOAT * shape.weights
    return FLOAT * shape.weights + (int(shape.stored * shape.weights) if setting.stage == 3 else 0)


def _read(shape: ModelShape, setting: ComputeSetting) -> int:
    """Return the main memory of each other process while it loads: nothing where it receives its part."""
    if setting.on_cpu or setting.frozen < FLOAT or (setting.sharded and setting.shared.one_reads):
        return 0
    return FLOAT * shape.weights


def _offloaded(shape: ModelShape, setting: ComputeSetting, learnt: int) -> int:
    """Return what each process keeps in main memory, because its device is not to."""
    if setting.offloads == "nothing":
        return 0
    weights = _share(_weights(shape, setting, learnt), setting, 3) if setting.offloads == "all" else 0
    return weights + _share(FLOAT * learnt, setting, 2) + _optimiser(shape, setting, learnt)
