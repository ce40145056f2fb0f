"""The prefix tree: every node's tokens are computed once, however many branches go on from them.

Trees are packed into one row (`tokens.pack`), the model runs over it once with an attention that follows the tree
(`flex.tree_plan`), and the vocabulary's logits, or a reward model's, are taken only where something is read.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from critic.chats.tokens import TokenRead, TokenTree, pack
from critic.engine import Score
from critic.local.trees import attention
from critic.local.trees.attention import AttentionPlan
from critic.local.trees.flex import tree_plan
from critic.local.trees.normaliser import log_sum_exp

_LOGITS_AT_ONCE = 1 << 25
"""Numbers in one chunk of logits (64 MiB in bfloat16): each chunk reads the whole head, so that few are better."""
_TARGETS_AT_ONCE = 4096


def score_trees(model: PreTrainedModel, trees: Sequence[TokenTree]) -> list[tuple[Score, ...]]:
    """Return the scores of each tree, in the order of its reads. All trees go through the model in one row."""
    row = pack(trees)
    places, targets = _flat_reads(trees, [span.start for span in row.spans])
    if not places:
        return [() for _ in trees]
    hidden_ND = run(model, row.ids, row.positions, tree_plan(row.spans, model.device))
    if not targets:
        read_values = iter(rewards(output_head(model), hidden_ND, places))
        return _by_tree(trees, lambda read: Score(next(read_values), read.tokens))
    values = iter(token_logprobs(vocabulary_head(model), hidden_ND, places, targets))
    return _by_tree(trees, lambda read: as_score([next(values) for _ in read.targets], read.summed, read.tokens))


def _by_tree(trees: Sequence[TokenTree], score: Callable[[TokenRead], Score]) -> list[tuple[Score, ...]]:
    return [tuple(map(score, tree.reads)) for tree in trees]


def run(
    model: PreTrainedModel, ids: Sequence[int] | Tensor, positions: Sequence[int] | Tensor, plan: AttentionPlan
) -> Tensor:
    """Return the last hidden states ``[N, hidden]`` of a row of N tokens.

    Layers that pass nothing on to their attention can be computed, but not trained: gradient checkpointing computes
    them again when this is over.
    """
    tokens = torch.as_tensor(ids, device=model.device)[None]
    with contextlib.nullcontext() if torch.is_grad_enabled() else attention.planned(plan):
        out = _decoder(model)(
            input_ids=tokens,
            position_ids=torch.as_tensor(positions, device=model.device)[None],
            # Without it transformers takes positions that start again for its own kind of packing, and masks by it.
            attention_mask=torch.ones_like(tokens),
            use_cache=False,
            plan=plan,
        )
    hidden = out.last_hidden_state[0]
    assert isinstance(hidden, Tensor)
    return hidden


def _decoder(model: PreTrainedModel) -> nn.Module:
    """Return the part from tokens to hidden states.

    Some types give the whole model as their own decoder (and as its base), others a layer that bears the name.
    """
    inner = (model.get_decoder(), model.base_model, *model.children())
    return next((part for part in inner if isinstance(part, PreTrainedModel) and part is not model), inner[0])


def output_head(model: PreTrainedModel) -> nn.Linear:
    """Return the layer from hidden states to the vocabulary's logits, or to a reward model's scores."""
    head = model.get_output_embeddings() or score_head(model)
    assert isinstance(head, nn.Linear)
    return head


def score_head(model: PreTrainedModel) -> nn.Module:
    """Return what makes a reward model's scores of hidden states: a linear layer, or what adapters put around it."""
    head = getattr(model, "score", None) or model.classifier  # CTRL's name
    assert isinstance(head, nn.Module)
    return head


@dataclass(frozen=True, slots=True)
class Head:
    """From hidden states to the vocabulary's logits: ``multiplier`` times ``linear``, held below ``softcap``."""

    linear: nn.Linear
    multiplier: float = 1.0
    softcap: float | None = None

    def __call__(self, hidden_RD: Tensor) -> Tensor:
        """Return the logits ``[R, V]``."""
        return self.finish(self.linear(hidden_RD))

    def finish(self, products: Tensor) -> Tensor:
        """Return logits for what the linear layer gives, one by one."""
        if self.multiplier != 1:
            products = products * self.multiplier
        return products if self.softcap is None else self.softcap * (products / self.softcap).tanh()


def vocabulary_head(model: PreTrainedModel) -> Head:
    """Return the head of a language model with what its configuration is known to put behind the linear layer.

    What else a type of model may put there shows when the engine proves itself (`critic.local.proving.proof`).
    """
    config = model.config.get_text_config()
    times = float(getattr(config, "logit_scale", None) or getattr(config, "lm_head_multiplier", None) or 1.0)
    over = float(getattr(config, "logits_scaling", None) or 1.0)
    return Head(output_head(model), times / over, getattr(config, "final_logit_softcapping", None))


def token_logprobs(head: Head, hidden_ND: Tensor, places: Sequence[int], targets: Sequence[int]) -> list[float]:
    """Return the log-probability of token ``targets[i]`` after the token at ``places[i]``.

    The targets' own logits are computed in float32, whatever the model's type: in bfloat16 they would come in steps
    of 1/16, and the log-odds of two choices with them.
    """
    rows, index = torch.unique(torch.tensor(places, device=hidden_ND.device), return_inverse=True)
    chosen = torch.tensor(targets, device=hidden_ND.device)
    normalisers, logits = [], []
    for part_RD in torch.split(hidden_ND[rows], max(1, _LOGITS_AT_ONCE // head.linear.out_features)):
        normalisers.append(log_sum_exp(head(part_RD)))
    for part_i, part_t in zip(torch.split(index, _TARGETS_AT_ONCE), torch.split(chosen, _TARGETS_AT_ONCE), strict=True):
        products = hidden_ND[rows[part_i]].float() * head.linear.weight[part_t].float()
        bias = 0.0 if head.linear.bias is None else head.linear.bias[part_t].float()
        logits.append(head.finish(products.sum(-1) + bias))
    values: list[float] = (torch.cat(logits) - torch.cat(normalisers)[index]).clamp(max=0.0).tolist()
    return values


def rewards(head: nn.Linear, hidden_ND: Tensor, places: Sequence[int]) -> list[tuple[float, ...]]:
    """Return the scores at each of ``places``, one a row of ``head``, computed in float32 whatever the model's type."""
    bias = None if head.bias is None else head.bias.float()
    values: list[list[float]] = nn.functional.linear(hidden_ND[places].float(), head.weight.float(), bias).tolist()
    return [tuple(scores) for scores in values]


def _flat_reads(trees: Sequence[TokenTree], starts: list[int]) -> tuple[list[int], list[int]]:
    """Return the places (in the row) and targets of all reads of all trees."""
    places: list[int] = []
    targets: list[int] = []
    first = 0
    for tree in trees:
        for read in tree.reads:
            places += [starts[first + segment] + offset for segment, offset in read.places]
            targets += read.targets
        first += len(tree.segments)
    return places, targets


def as_score(values: list[float], summed: bool, tokens: int) -> Score:
    """Return the score of a read of ``tokens`` own tokens, from its targets' log-probabilities."""
    return Score((sum(values),) if summed else tuple(values), tokens)
