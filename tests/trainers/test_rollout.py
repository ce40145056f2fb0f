"""Rollouts: drawn by seed alone, kept as tokens with their log-probabilities, whatever shares the batch."""

import random
from pathlib import Path

import pytest
import torch

from critic.chats.chat import Chat
from critic.engine import Completion
from critic.local.loading import Loaded, load
from critic.local.trees import attention
from tests.critic.engines.conftest import TEMPLATE
from tests.factories import prompt
from trainers.online.prompts import Ask
from trainers.online.writing import rollout
from trainers.online.writing.rollout import HfWriter, RolloutTask, Sample

from .tiny import question, write_model


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = write_model(tmp_path_factory.mktemp("models") / "writer", initializer_range=0.4)
    return load(str(folder), torch.float32, torch.device("cpu"), attention.NAME)


def writer(loaded: Loaded, slots: int = 4) -> HfWriter:
    end = loaded.tokenizer.eos_token_id
    return HfWriter(loaded.model, torch.float32, Chat(loaded.tokenizer, "tiny"), frozenset([end]), slots)


def tasks(loaded: Loaded, count: int, samples: int = 2, most: int = 12) -> list[RolloutTask]:
    chat = Chat(loaded.tokenizer, "tiny")
    asks = [Ask(p, f"here:{i}", chat.encode(p.messages)) for i in range(count) if (p := prompt(question(i)))]
    rng = random.Random(1)
    return [
        RolloutTask(ask, 10 * i + k, rng.randint(1, most), 0.9) for i, ask in enumerate(asks) for k in range(samples)
    ]


def alike(one: list[Sample], other: list[Sample]) -> None:
    expected = [sample.ids for sample in other]
    assert [sample.ids for sample in one] == expected
    for a, b in zip(one, other, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


@pytest.mark.parametrize("slots", [1, 3, 64])
def test_what_is_written_depends_on_seeds_and_not_on_the_batch(loaded: Loaded, slots: int) -> None:
    wanted = tasks(loaded, 5)
    alike(writer(loaded, slots).write(wanted), [writer(loaded).write([task])[0] for task in wanted])


def test_prompts_that_fill_a_row_are_read_in_turns(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = tasks(loaded, 5)
    together = writer(loaded, 64).write(wanted)
    monkeypatch.setattr(rollout, "_PROMPT_TOKENS", 1)
    alike(writer(loaded, 64).write(wanted), together)


def test_tokens_end_with_the_end_or_at_the_limit(loaded: Loaded) -> None:
    samples = writer(loaded).write(tasks(loaded, 12, most=40))
    end = loaded.tokenizer.eos_token_id
    ended = [sample for sample in samples if sample.ids[-1] == end]
    assert ended and len(ended) < len(samples)
    for sample in samples:
        assert end not in sample.ids[:-1]
        assert len(sample.ids) == len(sample.logprobs) <= sample.task.max_tokens
        body = sample.ids[:-1] if sample in ended else sample.ids
        assert sample.text == loaded.tokenizer.decode(list(body), skip_special_tokens=True)


THINKING = TEMPLATE.replace("assistant\n{%", "assistant\n<think>\n{%")


def test_a_sample_that_is_all_thoughts_has_no_answer(tmp_path: Path) -> None:
    """The template opens the thoughts, and chance closes none: such a sample is told, and no empty answer."""
    folder = write_model(tmp_path / "thinker", template=THINKING, initializer_range=0.4)
    thinker = load(str(folder), torch.float32, torch.device("cpu"), attention.NAME)
    samples = writer(thinker).write(tasks(thinker, 4, most=6))
    cut = [sample for sample in samples if len(sample.ids) == sample.task.max_tokens]
    assert cut and all(sample.text == "" and sample.ids for sample in samples)
    for sample in cut:
        assert sample.problem == f"the limit of {sample.task.max_tokens} tokens was reached before an answer"


@pytest.mark.parametrize(
    ("text", "reasoning", "problem"),
    [
        ("An answer.", "hm", ""),
        ("", None, ""),  # the policy ended at once: that is its answer
        (" \n", "hm", "the model thought, and gave no answer"),
        ("", "", "the model thought, and gave no answer"),
    ],
)
def test_only_thoughts_without_an_answer_are_none(text: str, reasoning: str | None, problem: str) -> None:
    assert rollout.without_answer(Completion(text, "stop", reasoning=reasoning)) == problem


def test_log_probabilities_are_those_of_what_was_drawn(loaded: Loaded) -> None:
    """Against the model's own forward pass, at the sampling's temperature."""
    [sample] = writer(loaded).write(tasks(loaded, 1, samples=1, most=12))
    plain = load(str(loaded.folder), torch.float32, torch.device("cpu"), "eager").model
    ids = torch.tensor([[*sample.task.ask.ids, *sample.ids]])
    with torch.no_grad():
        logp = (plain(ids).logits[0, len(sample.task.ask.ids) - 1 : -1] / 0.9).log_softmax(-1)
    assert sample.logprobs == pytest.approx(logp[range(len(sample.ids)), list(sample.ids)].tolist(), abs=1e-4)


def test_it_writes_with_the_weights_that_it_was_given_last(loaded: Loaded) -> None:
    wanted, one = tasks(loaded, 3), writer(loaded)
    before = one.write(wanted)
    weights = {name: weight + 0.3 * torch.randn_like(weight) for name, weight in loaded.model.named_parameters()}
    one.refresh(weights.items())
    changed = one.write(wanted)
    expected = [s.ids for s in before]
    assert [s.ids for s in changed] != expected
    one.refresh(loaded.model.named_parameters())
    alike(one.write(wanted), before)


def test_logits_that_are_no_numbers_are_a_problem_and_no_answer(loaded: Loaded) -> None:
    broken = writer(loaded)
    broken.refresh((n, w * torch.nan) for n, w in loaded.model.named_parameters() if "norm" in n)
    samples = broken.write(tasks(loaded, 2))
    assert all(sample.problem == "the model's arithmetic failed: its logits are not numbers" for sample in samples)
    assert all(sample.reward is None for sample in samples)
