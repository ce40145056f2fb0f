"""One batch through a model: what is read equals transformers' own, one sequence at a time, and so do gradients."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from critic.chats.tokens import TokenTree
from critic.local.loading import load
from critic.local.trees import attention
from tests.critic.engines.conftest import make_tokenizer
from trainers.batches import forward
from trainers.batches.encoding import Encoder
from trainers.batches.packing import Batch, packed, padded

from .tiny import farthest, planted, said, weights, write_model

Make = Callable[[Sequence[TokenTree]], Batch]


def trees(reward: bool = False, count: int = 5) -> list[TokenTree]:
    """Prompts of different lengths, with two answers of different lengths each."""
    encoder = Encoder(make_tokenizer(), "tiny", 512, make_tokenizer().pad_token_id)
    encode = encoder.reward if reward else encoder.policy
    return [encode(pair.prompt, (pair.chosen * (1 + i % 3), pair.rejected)) for i, pair in enumerate(planted(count))]


def packing(folder: Path, reward: bool = False) -> PreTrainedModel:
    """The model with this project's attention."""
    auto = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    model = load(str(folder), torch.float32, torch.device("cpu"), attention.NAME, auto).model
    forward.enable(model)
    return model


def plain(folder: Path, reward: bool = False) -> PreTrainedModel:
    """The model with an attention of transformers."""
    auto = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    model: PreTrainedModel = auto.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    forward.enable(model)
    return model


def sequences(trees: Sequence[TokenTree]) -> list[tuple[Tensor, int]]:
    """Each answer with its prompt before it, ``[1, T]``, and the prompt's length."""
    return [
        (torch.tensor([[*tree.segments[0].ids, *branch.ids]]), len(tree.segments[0].ids))
        for tree in trees
        for branch in tree.segments[1:]
    ]


def reference(folder: Path, trees: Sequence[TokenTree], reward: bool = False) -> tuple[PreTrainedModel, Tensor]:
    """What transformers' own model says of one sequence after the other: log-probabilities, or rewards."""
    auto = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    model: PreTrainedModel = auto.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    values = []
    for ids, start in sequences(trees):
        logits = model(input_ids=ids).logits
        if reward:
            values.append(logits)
            continue
        logprobs = logits[0, start - 1 : -1].log_softmax(-1)
        values.append(logprobs.gather(-1, ids[0, start:, None])[:, 0])
    return model, torch.cat(values)


def apart(one: Tensor, other: Tensor) -> float:
    """The greatest difference."""
    return float((one - other).detach().abs().max())


def gradients(model: torch.nn.Module, values: Tensor) -> dict[str, Tensor]:
    """Gradients of a weighted sum of what was read, in which no two values count the same."""
    model.zero_grad()
    (values.flatten() * torch.linspace(-1, 1, values.numel())).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("reward", [False, True], ids=["log-probabilities", "rewards"])
@pytest.mark.parametrize(("build", "make"), [(packing, packed), (plain, padded)], ids=["packed", "padded"])
def test_values_and_gradients_are_those_of_separate_sequences(
    build: Callable[[Path, bool], PreTrainedModel], make: Make, reward: bool, policy: Path, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "two", ("north", "south")) if reward else policy
    batch, model = trees(reward), build(folder, reward)
    values = model(batch=make(batch))
    theirs, expected = reference(folder, batch, reward)
    assert values.dtype == torch.float32 and values.shape == expected.shape
    assert apart(values, expected) < 1e-5
    assert expected.std() > 0.01, "values that are all alike would show nothing"
    ours, own = gradients(model, values), gradients(theirs, expected)
    assert max(float(grad.abs().max()) for grad in own.values()) > 0.1
    assert farthest(ours, own) < 1e-4


@pytest.mark.parametrize("reward", [False, True], ids=["log-probabilities", "rewards"])
def test_packing_and_order_change_nothing(reward: bool, policy: Path, scorer: Path) -> None:
    """All trees in one row, in any order, or each in a row of its own; an answer alone, or beside another."""
    batch, model = trees(reward), packing(scorer if reward else policy, reward)
    together = model(batch=packed(batch))
    separate = torch.cat([model(batch=packed([tree])) for tree in batch])
    backwards = [model(batch=packed([tree])) for tree in batch[::-1]][::-1]
    reversed_row = model(batch=packed(batch[::-1]))
    pieces = reversed_row.split([len(piece) for piece in backwards[::-1]])[::-1]
    alone = [TokenTree((tree.segments[0], branch), ()) for tree in batch for branch in tree.segments[1:]]
    single = model(batch=packed(alone))
    for other in (separate, torch.cat(list(pieces)), single):
        assert apart(together, other) < 1e-5


def test_sliced_logits_are_the_same(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of three rows, the last of them shorter; and their gradients."""
    batch, model = packed(trees()), packing(policy)
    expected = model(batch=batch)
    before = gradients(model, expected)
    vocabulary = model.get_output_embeddings().weight.shape[0]
    monkeypatch.setattr(forward, "_LOGITS_AT_ONCE", 3 * vocabulary)
    assert len(batch.targets) % 3 and len(batch.targets) > 30
    sliced = model(batch=batch)
    assert apart(sliced, expected) < 1e-6
    assert farthest(gradients(model, sliced), before) < 1e-4


@pytest.mark.parametrize("reward", [False, True], ids=["log-probabilities", "rewards"])
def test_gradient_checkpointing_gives_the_same_gradients(reward: bool, policy: Path, scorer: Path) -> None:
    batch, model = packed(trees(reward)), packing(scorer if reward else policy, reward)
    before = gradients(model.train(), model(batch=batch))
    model.gradient_checkpointing_enable()
    assert farthest(gradients(model, model(batch=batch)), before) < 1e-6


def test_adapters_learn_the_same_packed_and_padded(policy: Path) -> None:
    """LoRA with weights that are not zero: only adapters get gradients, and the same ones both ways."""
    learnt = []
    for build, make in ((packing, packed), (plain, padded)):
        torch.manual_seed(0)
        inner = build(policy)
        model = get_peft_model(inner, LoraConfig(task_type="CAUSAL_LM", r=4, init_lora_weights=False))
        values = model(batch=make(trees()))
        learnt.append((values.detach(), gradients(model, values)))
    (ours, our_grads), (theirs, their_grads) = learnt
    assert apart(ours, theirs) < 1e-4
    assert our_grads and all("lora_" in name for name in our_grads)
    assert farthest(our_grads, their_grads) < 1e-3


def test_other_calls_of_the_model_stay_as_they_were(policy: Path) -> None:
    model = plain(policy)
    ids = torch.tensor([[1, 2, 3]])
    untouched = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32)
    assert torch.equal(model(input_ids=ids).logits, untouched(input_ids=ids).logits)
    assert model.generate(ids, max_new_tokens=2, do_sample=False).shape == (1, 5)  # type: ignore[operator]  # its mixin is untyped


def test_weights_do_not_move_by_reading(policy: Path) -> None:
    model = packing(policy)
    before = weights(model)
    model(batch=packed(trees()))
    assert farthest(weights(model), before) == 0


@pytest.mark.slow
@pytest.mark.parametrize("reward", [False, True], ids=["log-probabilities", "rewards"])
def test_the_embedded_model_packed_equals_separate(reward: bool, embedded_model: Path, tmp_path: Path) -> None:
    """Per-token log-probabilities, and rewards of a new head, in float32."""
    folder = embedded_model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if reward:
        torch.manual_seed(0)
        made = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
        made.save_pretrained(folder := tmp_path / "scorer")
        tokenizer.save_pretrained(folder)
    rng = random.Random(0)
    encoder = Encoder(tokenizer, "embedded", 1024, tokenizer.pad_token_id)
    encode = encoder.reward if reward else encoder.policy
    batch = []
    for pair in planted(3):
        longer = []
        for answer in pair.answers:
            longer.append(" ".join(said(rng, [answer]) for _ in range(6)))
        batch.append(encode(pair.prompt, longer))
    with torch.no_grad():
        ours = packing(folder, reward)(batch=packed(batch))
        _, expected = reference(folder, batch, reward)
        theirs = plain(folder, reward)(batch=padded(batch))
    assert apart(ours, expected) < 1e-4
    assert apart(theirs, expected) < 1e-4
