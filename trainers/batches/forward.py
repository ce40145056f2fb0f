"""One batch through a model: log-probabilities of the answers' tokens, or the answers' rewards, and nothing else.

A packed batch goes through the model's decoder once, with an attention that follows the trees; the vocabulary's
logits are computed only at the tokens that are read, a slice at a time. A padded one goes the model's own way, head and
all. Which of them a model can take is for `trainers.batches.proof` to say.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from critic.local.trees import attention
from critic.local.trees.flex import tree_plan
from critic.local.trees.normaliser import log_probabilities
from critic.local.trees.prefix_tree import Head, run, score_head, vocabulary_head
from trainers.batches.packing import Batch, Packed, Padded

_LOGITS_AT_ONCE = 1 << 26
"""Numbers in one slice of logits (256 MiB in float32)."""


def enable(model: PreTrainedModel) -> None:
    """Let ``model(batch=...)`` return what is read of a `Batch`; other calls stay as they were.

    It goes through ``forward`` so that wrappers (DDP, FSDP, DeepSpeed, PEFT, autocast) do their part.

    A language model gives the log-probability of each answer token, ``[M]``; a reward model the scores of each answer,
    ``[A, heads]``. Both in float32. ``read`` is another way than `logprobs` to read logits.
    """
    own: Callable[..., Any] = model.forward

    def forward(*args: Any, batch: Batch | None = None, read: "Read | None" = None, **kwargs: Any) -> Any:
        return own(*args, **kwargs) if batch is None else _read(model, own, batch, read)

    model.forward = forward


def values(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Return what `enable` describes, past autocast and whatever else has been put around the model."""
    own: Any = type(model).forward
    return _read(model, partial(own, model), batch, None)


def _read(model: PreTrainedModel, own: Callable[..., Any], batch: Batch, read: "Read | None") -> Tensor:
    if isinstance(batch, Packed):
        return _packed(model, batch, read or logprobs)
    assert isinstance(batch, Padded)
    return _padded(model, own, batch, read)


def hidden_states(model: PreTrainedModel, batch: Packed) -> Tensor:
    """Return the last hidden states of all tokens of a row, ``[N, hidden]``."""
    return run(model, batch.ids, batch.positions, tree_plan(list(batch.spans), batch.ids.device))


def _packed(model: PreTrainedModel, batch: Packed, read: "Read") -> Tensor:
    # Tokens are taken by index_select: the gradient of [...] adds up in another order from run to run.
    hidden_ND = hidden_states(model, batch)
    if is_reward_model(model):
        return _scores(model, hidden_ND.index_select(0, batch.ends))
    return token_logprobs(vocabulary_head(model), hidden_ND.index_select(0, batch.places), batch.targets, read)


def _padded(model: PreTrainedModel, own: Callable[..., Any], batch: Padded, read: "Read | None") -> Tensor:
    """Read the model's own output: for a reward model that of each row, which it takes off the last unpadded token."""
    reward, padding = is_reward_model(model), model.config.get_text_config().pad_token_id
    logits: Tensor
    if batch.apart or (reward and padding is None):
        logits = _apart(model, own, batch)
    else:
        ids = batch.ids.masked_fill(batch.visible == 0, padding) if reward else batch.ids
        logits = own(input_ids=ids, attention_mask=batch.visible, use_cache=False).logits
    if reward:
        return logits.float()
    return (read or logprobs)(logits.flatten(0, 1).index_select(0, batch.places), batch.targets)


def _apart(model: PreTrainedModel, own: Callable[..., Any], batch: Padded) -> Tensor:
    """Return the output of each row by itself, without what fills it up: ``[A, T, V]``, or ``[A, heads]``."""
    lengths = batch.visible.sum(-1).tolist()
    rows = [own(input_ids=ids[None, :n], use_cache=False).logits for ids, n in zip(batch.ids, lengths, strict=True)]
    if is_reward_model(model):
        return torch.cat(rows)
    width = batch.ids.shape[1]
    return torch.cat([pad(row, (0, 0, 0, width - row.shape[1])) for row in rows])


def is_reward_model(model: PreTrainedModel) -> bool:
    """Whether ``model`` has scores instead of a vocabulary's logits."""
    return "ForSequenceClassification" in type(model).__name__  # transformers' name for all of them


@contextlib.contextmanager
def attending(model: PreTrainedModel, kind: str | None = None) -> Iterator[None]:
    """Let ``model`` compute with the attention function ``kind``, its own by default, in evaluation mode."""
    training = model.training
    with attention.attending(model, kind or attention.own(model)):
        try:
            model.eval()
            yield
        finally:
            model.train(training)


def _scores(model: PreTrainedModel, hidden_AD: Tensor) -> Tensor:
    """Return the rewards of each answer, ``[A, heads]``, in float32."""
    scores: Tensor = score_head(model)(hidden_AD)
    return scores.float()


def logprobs(logits_MV: Tensor, targets_M: Tensor) -> Tensor:
    """Return the log-probability of each target, ``[M]``, in float32."""
    return log_probabilities(logits_MV, targets_M)


Read = Callable[[Tensor, Tensor], Tensor]
"""From the logits ``[M, V]`` and targets ``[M]`` of a slice of tokens to what is read of each, ``[M, ...]``."""


def token_logprobs(head: Head, hidden_MD: Tensor, targets_M: Tensor, read: Read = logprobs) -> Tensor:
    """Return what is ``read`` of each target after its hidden state: its log-probability, ``[M]``, in float32.

    Slices of logits are computed again for the gradient instead of being kept: with a large vocabulary they would
    take more memory than everything else.
    """
    rows = max(1, _LOGITS_AT_ONCE // head.linear.out_features)
    if len(targets_M) <= rows:
        return read(head(hidden_MD), targets_M)
    pieces = zip(hidden_MD.split(rows), targets_M.split(rows), strict=True)
    read_pieces = [checkpoint(lambda h, t: read(head(h), t), hidden, t, use_reentrant=False) for hidden, t in pieces]
    return torch.cat(read_pieces)
