"""The models of online methods: the policy, the reference that it must stay near, and for some the value of what is
written so far.

Whole: policy and value model are trained apart, and a frozen copy of the policy is the reference. Adapted: all are one
frozen base, with the policy's adapter, with the value's adapter, and with none.

Shapes: M answer tokens of a batch.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from base.errors import InputError
from critic.chats.tokens import TokenTree
from critic.local.loading import load
from critic.local.trees import attention
from critic.local.trees.prefix_tree import output_head
from trainers import quantized
from trainers.batches import dropout, forward
from trainers.batches.forward import Read
from trainers.batches.packing import Packed, packed
from trainers.batches.proof import VALUES, BatchProof, prove
from trainers.folder import finish
from trainers.folder.finish import Row
from trainers.models import start_of
from trainers.online.config import OnlineConfig, reward_folder

_POLICY, _VALUE = "policy", "value"
_LORA = (
    "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
    "rank_pattern", "alpha_pattern", "fan_in_fan_out", "use_rslora", "use_dora", "init_lora_weights",
)  # fmt: skip
"""The settings of `peft.LoraConfig` that are taken here: others train, or change, more than adapters."""
_ROWS = 4
"""How often the short trees stand in a long row of the proof."""


class ActorCritic(Protocol):
    """What methods ask of their models; of values only those with a critic.

    ``heat`` is the temperature of the policy that is meant.
    """

    def policy(self, batch: Packed, heat: float, entropy: bool = False) -> Tensor:
        """Return the log-probability of each token, ``[M]``; with ``entropy`` that, too: ``[M, 2]``."""
        ...

    def reference(self, batch: Packed, heat: float) -> Tensor:
        """Return the log-probability of each token by the reference, ``[M]``, without a gradient."""
        ...

    def values(self, batch: Packed) -> Tensor:
        """Return the value before each token is written, ``[M]``."""
        ...

    def shift_values(self, by: float) -> None:
        """Add ``by`` to all values."""
        ...

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the weights that are learnt, by names that do not change."""
        ...

    def written(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the policy's weights that learning changes, by their names in the model alone."""
        ...

    def train(self, mode: bool) -> object:
        """Turn dropout on or off."""
        ...

    def finished(self, folder: Path, row: Row) -> PreTrainedModel:
        """Return the policy as an ordinary model; adapters go to ``folder``, too. It is the last thing that is asked.

        ``row`` is a short chat to compare the policy on before and after its adapters are merged.
        """
        ...


class WholeModels:
    """See the module's docstring. ``value``, where there is one, is a sequence classifier with one label."""

    def __init__(self, policy: PreTrainedModel, value: PreTrainedModel | None = None) -> None:
        self._reference = copy.deepcopy(policy).requires_grad_(False).eval()
        self._policy, self._value = policy, value
        self._trained = {_POLICY: policy} | ({_VALUE: value} if value is not None else {})
        for model in (self._reference, *self._trained.values()):
            forward.enable(model)

    def policy(self, batch: Packed, heat: float, entropy: bool = False) -> Tensor:
        """See `ActorCritic`."""
        read: Tensor = self._policy(batch=batch, read=_read(heat, entropy))
        return read

    @torch.no_grad()
    def reference(self, batch: Packed, heat: float) -> Tensor:
        """See `ActorCritic`."""
        read: Tensor = self._reference(batch=batch, read=_read(heat))
        return read

    def values(self, batch: Packed) -> Tensor:
        """See `ActorCritic`."""
        assert self._value is not None
        values: Tensor = self._value(batch=replace(batch, ends=batch.places))
        return values.squeeze(-1)

    @torch.no_grad()
    def shift_values(self, by: float) -> None:
        """See `ActorCritic`."""
        assert self._value is not None
        output_head(self._value).bias.add_(by)

    def trainable(self) -> dict[str, nn.Parameter]:
        """See `ActorCritic`."""
        models = self._trained.items()
        return {f"{kind}.{name}": weight for kind, model in models for name, weight in model.named_parameters()}

    def written(self) -> Iterator[tuple[str, Tensor]]:
        """See `ActorCritic`."""
        return iter(self._policy.named_parameters())

    def train(self, mode: bool) -> None:
        """See `ActorCritic`."""
        for model in self._trained.values():
            model.train(mode)

    def finished(self, folder: Path, row: Row) -> PreTrainedModel:
        """See `ActorCritic`."""
        return self._policy


class Adapted(nn.Module):
    """See the module's docstring. ``lora`` has the settings of `peft.LoraConfig`; the value's head starts at 0."""

    def __init__(self, base: PreTrainedModel, lora: dict[str, Any], where: str, critic: bool) -> None:
        super().__init__()
        check_settings(lora, where)
        try:
            configs = [LoraConfig(task_type="CAUSAL_LM", **copy.deepcopy(lora)) for _ in (_POLICY, _VALUE)]
            model = get_peft_model(base, configs[0], adapter_name=_POLICY)
            if critic:
                model.add_adapter(_VALUE, configs[1])
        except (TypeError, ValueError) as error:
            raise InputError(f"lora: {error}", where=where, fix="lora takes the settings of peft.LoraConfig") from error
        assert isinstance(model, PeftModel)
        finish.check_adapters(model, where)
        self.model, self._base = model, base
        self.head: nn.Linear | None = None
        if critic:
            self.head = nn.Linear(base.config.get_text_config().hidden_size, 1, device=base.device)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        forward.enable(base)

    def policy(self, batch: Packed, heat: float, entropy: bool = False) -> Tensor:
        """See `ActorCritic`."""
        self.model.set_adapter(_POLICY)
        read: Tensor = self._base(batch=batch, read=_read(heat, entropy))
        return read

    @torch.no_grad()
    def reference(self, batch: Packed, heat: float) -> Tensor:
        """See `ActorCritic`."""
        with self.model.disable_adapter():
            read: Tensor = self._base(batch=batch, read=_read(heat))
        return read

    def values(self, batch: Packed) -> Tensor:
        """See `ActorCritic`."""
        assert self.head is not None
        self.model.set_adapter(_VALUE)
        hidden_ND = forward.hidden_states(self._base, batch)
        values: Tensor = self.head(hidden_ND.index_select(0, batch.places))
        return values.squeeze(-1).float()

    @torch.no_grad()
    def shift_values(self, by: float) -> None:
        """See `ActorCritic`."""
        assert self.head is not None
        self.head.bias.add_(by)

    def trainable(self) -> dict[str, nn.Parameter]:
        """See `ActorCritic`."""
        # An adapter's name comes last but for "weight"; some models have layers of these names, too.
        adapters = {n: p for n, p in self.model.named_parameters() if {_POLICY, _VALUE} & set(n.split(".")[-2:])}
        return adapters | (dict(self.head.named_parameters("head")) if self.head is not None else {})

    @torch.no_grad()
    def written(self) -> Iterator[tuple[str, Tensor]]:
        """See `ActorCritic`."""
        for name, module in list(self._base.named_modules()):
            if isinstance(module, LoraLayer):
                layer: Any = module  # it is a torch module as well, whose attributes have no types
                if quantized.is_quantized(layer.get_base_layer()):
                    whole = quantized.whole(layer.get_base_layer())
                    yield f"{name}.weight", whole + layer.get_delta_weight(_POLICY).to(whole)
                    continue
                weight = layer.get_base_layer().weight
                kept = weight.data.clone()
                layer.merge(adapter_names=[_POLICY])
                yield f"{name}.weight", weight.data.clone()
                layer.unmerge()
                weight.data.copy_(kept)  # what merging and taking back rounds must not gather in the base

    def finished(self, folder: Path, row: Row) -> PreTrainedModel:
        """See `ActorCritic`. The adapter alone goes to ``adapter/policy``."""
        self.model.save_pretrained(str(folder / "adapter"), selected_adapters=[_POLICY])
        self.model.set_adapter(_POLICY)
        return finish.merge(self.model, row, folder, adapter_names=[_POLICY])


def check_settings(lora: Mapping[str, Any], where: str) -> None:
    """Raise `InputError` for what is not learnt here, written with, or left out where the base is the reference."""
    if others := [name for name, value in lora.items() if value and name not in _LORA]:
        raise InputError(
            f"lora: {', '.join(others)} has no place here: a method whose policy writes trains adapters of its "
            "linear layers, and takes the base without them for the reference",
            where=where,
            fix="leave it out",
        )


def _check_start(adapted: Adapted, trees: list[TokenTree], where: str) -> None:
    """Raise `InputError` where the policy with its new adapters isn't the reference, which is the base without them."""
    row = packed(trees).to(adapted.model.device)
    adapted.train(False)
    with torch.no_grad():
        apart = float((adapted.policy(row, 1.0) - adapted.reference(row, 1.0)).abs().max())
    if not apart <= VALUES:  # NaN is not
        raise InputError(
            f"lora: the new adapters already change what the policy says, by {apart:.2g} nats, and the reference is "
            "the base without them",
            where=where,
            fix="leave init_lora_weights out",
        )


def build(
    config: OnlineConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device,
    trees: list[TokenTree],
    longest: int,
    critic: bool,
) -> ActorCritic:
    """Return the models on ``device``; with a ``critic``, values started from the reward model of the same tokens.

    ``trees`` and ``longest`` are for `trainers.batches.proof.prove`. Raises `InputError` for models that can't be
    packed.
    """
    torch.nn.Module.to(model, device)
    trained = [model]
    if critic and not config.lora:
        trained.append(_value_model(config, tokenizer, device, trees, longest))
    for one in trained:
        if config.gradient_checkpointing:
            one.gradient_checkpointing_enable({"use_reentrant": False})
    if not config.lora:
        return WholeModels(*trained)
    adapted = Adapted(model, config.lora, config.model, critic)
    _check_start(adapted, trees, config.model)
    return adapted


def _value_model(
    config: OnlineConfig,
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device,
    trees: list[TokenTree],
    longest: int,
) -> PreTrainedModel:
    if folder := reward_folder(config.reward):
        loaded = load(folder, torch.float32, device, None, AutoModelForSequenceClassification)
        if loaded.tokenizer.get_vocab() == tokenizer.get_vocab() and loaded.model.config.num_labels == 1:
            prepare(loaded.model, config, trees, longest, "the reward model, which the values start from")
            return _with_bias(loaded.model)
    start = start_of(config)
    try:
        model = load(start, torch.float32, device, None, AutoModelForSequenceClassification, heads=1).model
    except InputError as error:
        raise InputError(
            f"no model of values can be made of it: {error.problem}",
            where=config.model,
            fix="give lora, with which values are a layer beside the policy, or take grpo, which needs none",
        ) from error
    nn.init.zeros_(output_head(model).weight)
    prepare(model, config, trees, longest, "the model of the values")
    return _with_bias(model)


def _with_bias(model: PreTrainedModel) -> PreTrainedModel:
    """Give the values' head a bias of 0, where it has none: their level is that of the rewards, which need not be 0."""
    head = output_head(model)
    if head.bias is None:
        head.bias = nn.Parameter(torch.zeros(head.out_features, device=head.weight.device, dtype=head.weight.dtype))
    return model


def prepare(
    model: PreTrainedModel, config: OnlineConfig, trees: list[TokenTree], longest: int, what: str
) -> BatchProof:
    """Prove that ``model``'s batches can be packed, as all that online methods compute is, and let it attend so.

    Raises `InputError` where they can't: before the first step.
    """
    if not config.dropout and forward.is_reward_model(model):  # the policy's was turned off when it was loaded
        dropout.turn_off(model, config.model, config.gradient_checkpointing)
    proof = prove(model, trees, longest, None, config.model, trees * _ROWS)
    if proof.path != "packed":
        raise InputError(
            f"each prompt is computed once for all of its answers here, and {what} can't be: {proof.why}",
            where=config.model,
            fix="choose another model; SFT, DPO and reward models pad the batches of this one",
        )
    attention.attend_by(model, attention.NAME)
    return proof


def _read(heat: float, entropy: bool = False) -> Read:
    return partial(_with_entropy if entropy else _tempered, heat=heat)


def _tempered(logits_MV: Tensor, targets_M: Tensor, heat: float) -> Tensor:
    return forward.logprobs(logits_MV if heat == 1 else logits_MV.float() / heat, targets_M)


def _with_entropy(logits_MV: Tensor, targets_M: Tensor, heat: float) -> Tensor:
    """Return log-probability and entropy of each token, ``[M, 2]``; in nats."""
    logp_MV = (logits_MV.float() / heat).log_softmax(-1)
    entropy_M = -(logp_MV.exp() * logp_MV).sum(-1)
    return torch.stack([_tempered(logits_MV, targets_M, heat), entropy_M], -1)
