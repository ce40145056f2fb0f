"""How a model's batches are computed: packed where that is proven to be the model's own arithmetic, padded where not.

Before the first step a few short trees, cut from the run's own data, go through the model both ways, without dropout:
what is read of them must be equal, and so must the gradient. What packing can't do for some models, among others:
states that run over the whole row, attention that can't be replaced, and dropout of attention, where it is asked for.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from base.errors import InputError
from critic.chats.tokens import Segment, TokenTree
from critic.local.loading import first_line, unstretched
from critic.local.trees import attention
from trainers.batches import forward
from trainers.batches.dropout import not_computed
from trainers.batches.packing import Batch, packed, padded

Path = Literal["packed", "padded", "apart"]
"""All trees in one row; a padded row an answer; or such rows one at a time, for models whose rows change each other."""

VALUES, GRADIENT = 2e-3, 1e-2
"""How far apart two ways may be: in nats or rewards, and as a share of the gradient. Rounding is far less."""
_PROMPTS, _ANSWERS = (28, 19), (11, 6)
"""The most tokens of the trees' prompts and answers: lengths that differ, so that padding and branches are tried."""

_GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, less their whole parts, lie apart from each other: the weights of what is read."""
_SAME = 1e-6
"""Rewards that differ by no more, as a share of the greatest, differ by rounding alone."""
_WHOLE = 512
"""Tokens, as many as a row of the run's own trees has in the proof."""

log = logging.getLogger(__name__)

_Gradient = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class BatchProof:
    """How batches are computed, and how far the packed way is from the model's own.

    ``why`` says what speaks against packing, where it is not done. The differences are None where they can't be told.
    """

    path: Path
    why: str = ""
    values: float | None = None
    gradient: float | None = None

    def tell(self) -> None:
        """Say on the console how batches are computed."""
        if self.path == "packed":
            log.info("Batches are packed: that gives what the model's own attention gives.")
        else:
            log.warning("Batches are padded, a row an answer, which takes more time than packing: %s.", self.why)

    def facts(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


def prove(
    model: PreTrainedModel,
    trees: Sequence[TokenTree],
    longest: int,
    wanted: bool | None,
    where: str,
    whole: Sequence[TokenTree] = (),
) -> BatchProof:
    """Say how ``model``'s batches are computed: the first process finds out for all.

    ``trees`` are `samples` of the run's, ``whole`` its first trees as they are, of which some are computed, too;
    ``longest`` are the tokens of its longest chat. ``wanted`` is what ``prefix_packing`` says: None for what is proven,
    True for packed or not at all, False for padded. Raises `InputError` where packing is wanted and not proven, and for
    models that can't be trained.
    """
    shared: list[Any] = [None]
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        try:
            shared = [_prove(model, trees, _first_of(whole), longest, wanted, where)]
        except InputError as error:
            shared = [error]
    [proof] = broadcast_object_list(shared)
    if isinstance(proof, InputError):
        raise proof
    assert isinstance(proof, BatchProof)
    return proof


def needed(config: PreTrainedConfig, longest: int) -> int:
    """Return how many tokens a prompt needs for the proof to see all that chats of ``longest`` tokens make of a model.

    Where those leave the window that a layer attends within, the proof has to leave it, too.
    """
    window = reach(config)
    return window + _ANSWERS[0] if window is not None and longest > window else 0


def samples(trees: Sequence[TokenTree], least: int = 0) -> list[TokenTree]:
    """Cut two short trees of two answers each out of a run's first trees; a prompt has ``least`` tokens or more."""
    roots = [tree.segments[0].ids for tree in trees]
    answers = [branch.ids for tree in trees for branch in tree.segments[1:]]
    trees_of_pairs = []
    for number, most in enumerate(_PROMPTS):
        root = roots[number % len(roots)][-most:]
        root *= 1 + least // len(root)
        chosen = (answers[(2 * number + i) % len(answers)][:length] for i, length in enumerate(_ANSWERS))
        trees_of_pairs.append(TokenTree((Segment(root, -1), *(Segment(ids, 0) for ids in chosen)), ()))
    return trees_of_pairs


def of_prompts(prompts: Sequence[tuple[int, ...]], config: PreTrainedConfig, longest: int) -> list[TokenTree]:
    """Return `samples` for a run whose answers are not written yet: of prompts' tokens alone."""
    trees = [TokenTree((Segment(ids, -1), Segment(ids, 0)), ()) for ids in prompts[: len(_PROMPTS)]]
    return samples(trees, needed(config, longest))


def reach(config: PreTrainedConfig) -> int | None:
    """Return how many tokens back all layers of a model see; None where that is all of its context.

    A sliding window limits a layer's attention, not the context.
    """
    inner = config.get_text_config()
    kinds = set(getattr(inner, "layer_types", None) or ("sliding_attention", "chunked_attention"))
    windows = []
    if "sliding_attention" in kinds and getattr(inner, "use_sliding_window", True):
        windows.append(getattr(inner, "sliding_window", None))
    if "chunked_attention" in kinds:
        windows.append(getattr(inner, "attention_chunk_size", None))
    bounded = [int(window) for window in windows if window]
    return min(bounded) if bounded else None


def _first_of(whole: Sequence[TokenTree]) -> list[TokenTree]:
    """Return the first of ``whole``, as long as their row is of no more than `_WHOLE` tokens; one at least."""
    chosen: list[TokenTree] = []
    tokens = 0
    for tree in whole:
        tokens += tree.tokens
        if chosen and tokens > _WHOLE:
            break
        chosen.append(tree)
    return chosen


def _prove(
    model: PreTrainedModel,
    trees: Sequence[TokenTree],
    whole: Sequence[TokenTree],
    longest: int,
    wanted: bool | None,
    where: str,
) -> BatchProof:
    if any(weight.is_meta or not weight.numel() for weight in model.parameters()):
        return _unpacked("padded", "the weights are spread over processes before they can be compared", wanted, where)
    bound = unstretched(model.config)
    if bound is not None and longest > bound:
        why = f"a chat of {longest} tokens changes the rotary embeddings of all chats beside it from {bound} tokens on"
        return _unpacked("apart", why, wanted, where)
    with forward.attending(model):
        try:
            values, gradient = _alone(model, trees)
        except Exception as error:  # whatever a foreign model does with a plain chat
            raise not_computed(model, where, error) from error
        _check_causal(model, trees[0], where)
        _check_reads(model, values, where)
    proof = (
        _packs(model, trees, whole, values, gradient) if wanted is not False else BatchProof("padded", "as was asked")
    )
    if proof.path == "packed":
        return proof
    with forward.attending(model):
        beside = _apart(_read(model, padded(trees)), (values, gradient))
    return _unpacked("padded" if _equal(*beside) else "apart", proof.why, wanted, where, proof)


def _packs(
    model: PreTrainedModel,
    trees: Sequence[TokenTree],
    whole: Sequence[TokenTree],
    values: Tensor,
    gradient: _Gradient,
) -> BatchProof:
    """Compare short trees with their gradient, and whole ones, for models that change what they do in long rows."""
    try:
        with forward.attending(model, attention.NAME):
            differences = _apart(_read(model, packed(trees)), (values, gradient))
            _check_training(model, trees)
        if whole and _equal(*differences):
            differences = max(differences[0], _longer(model, whole)), differences[1]
    except Exception as error:  # whatever a foreign model does with a plan that it knows nothing of
        return BatchProof(
            "padded", f"models of type {model.config.model_type!r} don't take packed rows ({first_line(error)})"
        )
    if _equal(*differences):
        return BatchProof("packed", "", *differences)
    in_values, in_gradient = differences
    why = (
        f"models of type {model.config.model_type!r} differ, when packed, by {in_values:.2g} in what is read and by "
        f"{100 * in_gradient:.2g} % in the gradient"
    )
    return BatchProof("padded", why, *differences)


@torch.no_grad()
def _check_training(model: PreTrainedModel, trees: Sequence[TokenTree]) -> None:
    """Raise `attention.Unpackable` where a layer asks for more in training mode, as for dropout of its attention."""
    batch = packed(trees).to(model.device)
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        model.train()
        forward.values(model, batch)
        model.eval()


@torch.no_grad()
def _longer(model: PreTrainedModel, whole: Sequence[TokenTree]) -> float:
    """Return the greatest difference of what is read of whole trees."""
    with forward.attending(model, attention.NAME):
        values = forward.values(model, packed(whole).to(model.device))
    with forward.attending(model):
        wanted = forward.values(model, padded(whole, apart=True).to(model.device))
    return float((values - wanted).abs().max())


def _unpacked(path: Path, why: str, wanted: bool | None, where: str, proof: BatchProof | None = None) -> BatchProof:
    if wanted:
        raise InputError(
            f"prefix_packing=true, and this model's batches can't be packed: {why}",
            where=where,
            fix="leave prefix_packing out: what is proven to be right is taken then",
        )
    return BatchProof(path, why, *((proof.values, proof.gradient) if proof else ()))


def _check_causal(model: PreTrainedModel, tree: TokenTree, where: str) -> None:
    """Raise `InputError` for a language model that sees what follows: it would learn to copy its targets."""
    if forward.is_reward_model(model):
        return
    own: Any = type(model).forward
    ids = torch.tensor([[*tree.segments[0].ids, *tree.segments[1].ids]], device=model.device)
    changed = ids.clone()
    changed[0, -1] = ids[0, 0] if ids[0, -1] != ids[0, 0] else (ids[0, 0] + 1) % 2
    with torch.no_grad():
        one, other = (own(model, input_ids=x, use_cache=False).logits[0, :-1].float() for x in (ids, changed))
    if float((one - other).abs().max()) > VALUES * (1 + float(one.abs().max())):
        raise InputError(
            f"models of type {model.config.model_type!r} see the tokens that they are to predict",
            where=where,
            fix="train a causal language model",
        )


def _check_reads(model: PreTrainedModel, values: Tensor, where: str) -> None:
    """Raise `InputError` for a reward model whose reward is the same whatever the answer: there is nothing to learn.

    BERT's classifiers read the first token; as decoders (``is_decoder``) they see nothing but it. A head of zeros, from
    which some begin, gives zeros.
    """
    if not forward.is_reward_model(model):
        return
    pairs = values.view(-1, len(_ANSWERS))  # the answers of each tree
    spread = float((pairs.amax(1) - pairs.amin(1)).max())
    greatest = float(values.abs().max())
    if greatest > 0 and spread <= _SAME * greatest:
        raise InputError(
            f"this classifier of type {model.config.model_type!r} gives different answers one reward "
            f"({float(values[0]):.6g}): what it reads of a chat comes before the answer",
            where=where,
            fix='set "is_decoder": false in its config.json if it is an encoder, or take a causal language model',
        )


def _alone(model: PreTrainedModel, trees: Sequence[TokenTree]) -> tuple[Tensor, _Gradient]:
    """Return what `_read` does of all answers, each read and differentiated by itself.

    Adapters on experts make these anew in each pass, and a gradient needs them: those of all answers would take more
    memory than training does.
    """
    values: list[Tensor] = []
    sums: _Gradient = {}
    for tree in trees:
        root, *branches = tree.segments
        for branch in branches:
            read, gradient = _read(model, padded([TokenTree((root, branch), ())], apart=True), sum(map(len, values)))
            values.append(read)
            for name, grad in gradient.items():
                sums[name] = sums[name] + grad if name in sums else grad
    return torch.cat(values), sums


def _read(model: PreTrainedModel, batch: Batch, before: int = 0) -> tuple[Tensor, _Gradient]:
    """Return what is read of ``batch``, and the gradient of a sum of it in which no two values count alike.

    ``before`` are the values of the same sum that were read earlier.
    """
    with _watched(model) as embedded, torch.enable_grad():
        values = forward.values(model, batch.to(model.device)).flatten()
        places = torch.arange(before, before + len(values), device=values.device)
        weights = 0.5 + (places * _GOLDEN).frac()
        table = [output for _, output in embedded]
        flat = {name: weight for name, weight in model.named_parameters() if weight.dim() == 1}
        wanted = [*table, *flat.values()]
        grads = torch.autograd.grad((values * weights).sum(), wanted, allow_unused=True)
    gradients = {
        name: torch.zeros_like(weight) if grad is None else grad
        for (name, weight), grad in zip(flat.items(), grads[len(table) :], strict=True)
    }
    return values.detach(), gradients | _by_token([ids for ids, _ in embedded], grads[: len(table)])


@contextmanager
def _watched(model: PreTrainedModel) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Collect what is embedded, and its ids; let gradients be taken of embeddings and of flat weights."""
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor:
        leaf = output.detach().requires_grad_()
        seen.append((given[0], leaf))
        return leaf.clone()  # which some models scale in place

    table = model.get_input_embeddings()
    assert isinstance(table, nn.Module)
    frozen = [weight for weight in model.parameters() if weight.dim() == 1 and not weight.requires_grad]
    hook = table.register_forward_hook(keep)
    try:
        for weight in frozen:
            weight.requires_grad_(True)
        yield seen
    finally:
        hook.remove()
        for weight in frozen:
            weight.requires_grad_(False)


def _by_token(ids: Sequence[Tensor], grads: Sequence[Tensor | None]) -> _Gradient:
    """Add up the gradients of a token's embedding over all its places: packed rows have a prompt once, others not."""
    pairs = [(i.flatten(), g.flatten(0, -2)) for i, g in zip(ids, grads, strict=True) if g is not None]
    if not pairs:
        return {}
    all_ids, rows = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    tokens, index = torch.unique(all_ids, return_inverse=True)
    sums = rows.new_zeros(len(tokens), rows.shape[-1]).index_add(0, index, rows)
    return {f"token {token}": row for token, row in zip(tokens.tolist(), sums, strict=True)}


def _apart(one: tuple[Tensor, _Gradient], other: tuple[Tensor, _Gradient]) -> tuple[float, float]:
    """Return how far apart two ways are: the largest difference of a value, and that of the gradients as a share."""
    values = float((one[0] - other[0]).abs().max())
    names = {*one[1], *other[1]}
    length = sum(float(grad.square().sum()) for grad in other[1].values()) ** 0.5
    squares = 0.0
    for name in names:
        mine, own = one[1].get(name), other[1].get(name)
        if mine is not None and own is not None:
            difference = mine - own
        else:  # the embedding of padding, of which nothing is read, has a gradient of one way alone
            difference = next(grad for grad in (mine, own) if grad is not None)
        squares += float(difference.square().sum())
    return values, squares**0.5 / max(length, 1e-30)


def _equal(values: float, gradient: float) -> bool:
    return values <= VALUES and gradient <= GRADIENT  # NaN is not
