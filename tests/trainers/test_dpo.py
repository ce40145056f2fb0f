"""DPO, IPO and KTO: what moves which way and how far, and a reference that is computed once and kept."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor

from base.errors import InputError
from critic.chats.tokens import TokenTree
from critic.records import Prompt
from tests.factories import prompt
from trainers.batches.encoding import Encoder
from trainers.batches.examples import Example, Pair, Rated
from trainers.batches.packing import Packed, packed
from trainers.methods.dpo import DPOConfig, DPOTrainer, WithStrangers

from .tiny import build, config_of, model_of, planted, question

HELD_OUT = planted(40, first=10_000)


def trainer_of(
    folder: Path, out: Path, examples: Sequence[Example], held_out: Sequence[Example] | None = None, **settings: Any
) -> DPOTrainer:
    return build(DPOTrainer, config_of(DPOConfig, folder, out, **settings), examples, held_out)


def rated(pairs: Sequence[Pair]) -> list[Rated]:
    """Thumbs up for the chosen answers of even pairs, down for the rejected ones of odd pairs."""
    return [
        Rated(prompt=pair.prompt, answer=pair.answers[i % 2], value=float(i % 2 == 0)) for i, pair in enumerate(pairs)
    ]


def logprobs(trainer: DPOTrainer, examples: Sequence[Example]) -> Tensor:
    """Summed log-probabilities of all answers, one tree at a time: ``[E, 2]``."""
    sums = []
    with torch.no_grad():
        for example in examples:
            batch = packed([trainer.encoder.policy(example.prompt, example.answers)])
            sums.append(batch.sums(model_of(trainer)(batch=batch)))
    return torch.stack(sums)


def nudge(model: torch.nn.Module) -> None:
    """Move all weights a little, always the same way."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)


@pytest.mark.parametrize("normalised", [False, True], ids=["sums", "length-normalised"])
@pytest.mark.parametrize("loss", ["sigmoid", "ipo"])
def test_figures_and_loss_by_hand(loss: str, normalised: bool, policy: Path, tmp_path: Path) -> None:
    """Log-ratios to the model as it was, from separate passes before and after its weights have moved."""
    pairs = [
        pair.model_copy(update={"probability": 0.7 + 0.1 * (i % 3), "weight": 1 + i % 2})
        for i, pair in enumerate(planted(5))
    ]
    trainer = trainer_of(policy, tmp_path, pairs, pairs, loss=loss, length_normalised=normalised, beta=0.3)
    before = logprobs(trainer, pairs)
    assert trainer.evaluate()["eval_rewards/margins"] == pytest.approx(0, abs=1e-5)
    nudge(model_of(trainer))
    change = logprobs(trainer, pairs) - before
    counts = []
    for pair in pairs:
        _, *answers = trainer.encoder.policy(pair.prompt, pair.answers).segments
        counts.append([len(segment.ids) for segment in answers])
    lengths = torch.tensor(counts)
    ratio = change / lengths if normalised else change
    metrics = trainer.evaluate()
    assert metrics["eval_rewards/chosen"] == pytest.approx(float(0.3 * ratio[:, 0].mean()), rel=1e-3)
    assert metrics["eval_rewards/rejected"] == pytest.approx(float(0.3 * ratio[:, 1].mean()), rel=1e-3)
    per_token = float((change / lengths)[:, 0].mean())
    assert metrics["eval_logps/chosen_change_per_token"] == pytest.approx(per_token, rel=1e-3)
    total = 0.0
    for pair, h in zip(pairs, (ratio[:, 0] - ratio[:, 1]).tolist(), strict=True):
        p, target = pair.probability, 1 / 0.6
        sigmoid = p * math.log1p(math.exp(-0.3 * h)) + (1 - p) * math.log1p(math.exp(0.3 * h))
        squared = p * (h - target) ** 2 + (1 - p) * (h + target) ** 2
        total += pair.weight * (sigmoid if loss == "sigmoid" else squared)
    assert metrics["eval_loss"] == pytest.approx(total / sum(pair.weight for pair in pairs), rel=1e-4)


@pytest.mark.slow
def test_a_planted_preference_moves_the_margin_of_others(policy: Path, tmp_path: Path) -> None:
    """On prompts and answers that it was not trained on."""
    trainer = trainer_of(policy, tmp_path, planted(200), HELD_OUT, learning_rate=1e-3, num_train_epochs=2)
    assert trainer.evaluate()["eval_rewards/accuracies"] == pytest.approx(0.5, abs=1e-6), "nothing has moved yet"
    trainer.train()
    metrics = trainer.evaluate()
    assert metrics["eval_rewards/accuracies"] > 0.95
    assert metrics["eval_rewards/margins"] > 1


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "expected"), [("sigmoid", math.log(3)), ("ipo", 0.25)])
def test_soft_labels_say_how_far(loss: str, expected: float, policy: Path, tmp_path: Path) -> None:
    """p = 0.75: the sigmoid loss is least at a margin of log(.75/.25); IPO's at (2p - 1)/(2 beta), times beta 0.25."""
    pairs = planted(8, probability=0.75)
    trainer = trainer_of(policy, tmp_path, pairs, pairs, loss=loss, learning_rate=1e-3, num_train_epochs=80)
    trainer.train()
    with torch.no_grad():
        change = logprobs(trainer, pairs) - torch.tensor(trainer.examples.references)
    margins = 0.1 * (change[:, 0] - change[:, 1])
    assert margins.tolist() == pytest.approx([expected] * 8, abs=0.15)


@pytest.mark.slow
def test_kto_moves_good_answers_up_and_bad_ones_down(policy: Path, tmp_path: Path) -> None:
    held_out = rated(HELD_OUT)
    trainer = trainer_of(
        policy, tmp_path, rated(planted(160)), held_out, loss="kto", learning_rate=1e-3, num_train_epochs=3
    )
    before = trainer.evaluate()
    assert before["eval_loss"] == pytest.approx(0.5, abs=1e-5)
    trainer.train()
    metrics = trainer.evaluate()
    assert metrics["eval_rewards/desirable"] - metrics["eval_rewards/undesirable"] > 0.5
    assert metrics["eval_loss"] < 0.4
    assert metrics["eval_kl"] >= 0


def test_strangers_belong_to_other_prompts_and_fit(policy: Path, tmp_path: Path) -> None:
    """Two answers to each prompt, one after the other; and an answer that is too long after the longest prompt."""
    asked = [prompt(question(0)), prompt(question(1) + " And" * 20)]
    examples = [Rated(prompt=asked[i // 2], answer=f"answer {i}" + "!" * 40 * (i == 0), value=i % 2) for i in range(4)]
    trainer = trainer_of(policy, tmp_path, examples, loss="kto", max_length=190)
    assert len(trainer.examples) == 4
    for i in range(4):
        assert isinstance(trainer.examples, WithStrangers)
        assert trainer.examples.strangers[i] in {e.answer for e in examples if e.prompt != examples[i].prompt}
        assert trainer.examples[i].tree.longest <= 190


@pytest.mark.parametrize(("loss", "each"), [("sigmoid", 1), ("kto", 2)])
def test_an_example_is_encoded_once_in_a_run(
    loss: str, each: int, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the check of its length, references, steps of two epochs and an evaluation; KTO's with its stranger, too."""
    own, encoded = Encoder.policy, list[str]()

    def policy_tree(encoder: Encoder, asked: Prompt, answers: Sequence[str]) -> TokenTree:
        encoded.append(asked.messages[-1].content)
        return own(encoder, asked, answers)

    monkeypatch.setattr(Encoder, "policy", policy_tree)
    examples, held_out = planted(6), planted(3, first=9)
    rows = [rated(part) if loss == "kto" else part for part in (examples, held_out)]
    trainer = trainer_of(policy, tmp_path, *rows, loss=loss, num_train_epochs=2)
    trainer.train()
    trainer.evaluate()
    assert len(encoded) == each * sum(map(len, rows))


def test_kto_needs_another_prompt(policy: Path, tmp_path: Path) -> None:
    examples = [Rated(prompt=prompt(), answer=f"answer {i}", value=i % 2) for i in range(3)]
    with pytest.raises(InputError, match="another prompt"):
        trainer_of(policy, tmp_path, examples, loss="kto")


def test_it_starts_at_the_reference_in_bfloat16_too(policy: Path, tmp_path: Path) -> None:
    """Reference and policy are computed in the same way, so that nothing has moved before the first step."""
    trainer = trainer_of(policy, tmp_path, planted(8), bf16=True)
    trainer.train()
    first = trainer.state.log_history[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-6)


def test_a_fall_of_chosen_answers_is_told_once(policy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = trainer_of(policy, tmp_path, planted(2))
    with caplog.at_level(logging.WARNING, "trainers.methods.dpo"):
        trainer.log({"logps/chosen_change_per_token": -0.09, "rewards/margins": 1.0})
        assert not caplog.records
        for _ in range(2):
            trainer.log({"logps/chosen_change_per_token": -0.25, "rewards/margins": 1.5})
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "Chosen answers have become less likely"
    ]
    assert "0.25 nats per token" in caplog.text and "+1.50" in caplog.text


@pytest.mark.slow
def test_a_fall_that_happens_is_seen(policy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Answers that differ in their last letter: pushing one down takes the other along."""
    pairs = [Pair(prompt=prompt(question(i)), chosen="seven rivers", rejected="seven riverz") for i in range(64)]
    with caplog.at_level(logging.WARNING, "trainers.methods.dpo"):
        trainer_of(policy, tmp_path, pairs, learning_rate=2e-2, num_train_epochs=4).train()
    assert "Chosen answers have become less likely" in caplog.text


def test_the_reference_is_computed_once_and_kept(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a trainer whose model has moved since: it reads the file."""
    pairs = planted(3)
    first = trainer_of(policy, tmp_path, pairs, pairs[:1])
    first.train()
    monkeypatch.setattr("trainers.methods.dpo._keep", lambda *_: pytest.fail("computed again"))
    again = trainer_of(policy, tmp_path, pairs, pairs[:1])
    nudge(model_of(again))
    again.evaluate()
    assert again.examples.references == first.examples.references
    assert torch.allclose(
        torch.tensor(first.examples.references), logprobs(trainer_of(policy, tmp_path, pairs), pairs), atol=1e-4
    )


def test_a_reference_that_was_cut_short_goes_on_where_it_was(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch after the other is kept; the process dies in the third, and the next one computes the rest."""
    monkeypatch.setattr("trainers.methods.dpo._KEPT_EVERY", 1)
    pairs = planted(10)
    whole = trainer_of(policy, tmp_path / "whole", pairs, per_device_eval_batch_size=3)
    whole.prepare_references()
    cut = trainer_of(policy, tmp_path / "cut", pairs, per_device_eval_batch_size=3)
    computed: list[int] = []
    sums = Packed.sums

    def dying(self: Packed, values: torch.Tensor) -> torch.Tensor:
        computed.append(self.answers // 2)
        if len(computed) == 3:
            raise KeyboardInterrupt
        return sums(self, values)

    with monkeypatch.context() as patched:
        patched.setattr(Packed, "sums", dying)
        with pytest.raises(KeyboardInterrupt):
            cut.prepare_references()
        again = trainer_of(policy, tmp_path / "cut", pairs, per_device_eval_batch_size=3)
        again.prepare_references()
    assert computed == [3, 3, 3, 3, 1], "two batches were kept, and four examples left"
    assert torch.allclose(torch.tensor(again.examples.references), torch.tensor(whole.examples.references))


def test_a_reference_is_computed_only_of_what_the_steps_take(policy: Path, tmp_path: Path) -> None:
    trainer = trainer_of(policy, tmp_path, planted(10), max_steps=2, per_device_train_batch_size=3)
    trainer.train()
    assert trainer.examples.references is not None
    known = [index for index, pair in enumerate(trainer.examples.references) if not math.isnan(pair[0])]
    assert len(known) == 6 and trainer.state.global_step == 2
    assert all(math.isfinite(row["loss"]) for row in trainer.state.log_history if "loss" in row)


@pytest.mark.parametrize("drop_last", [False, True])
def test_less_than_an_epoch_computes_the_references_of_its_steps_alone(
    drop_last: bool, policy: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "num_train_epochs": 0.4,
        "per_device_train_batch_size": 2,
        "dataloader_drop_last": drop_last,
    }
    trainer = trainer_of(policy, tmp_path, planted(11), **settings)
    trainer.train()
    assert trainer.state.global_step == (2 if drop_last else 3)  # of 5, or of 6 with the one that isn't full
    known = [pair for pair in trainer.examples.references or () if not math.isnan(pair[0])]
    assert len(known) == 2 * trainer.state.global_step
    assert trainer.state.log_history[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert trainer.args.max_steps == -1, "the settings stay as they were given"


def test_a_reference_that_could_not_be_written_is_told(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device")

    trainer = trainer_of(policy, tmp_path, planted(3))
    with monkeypatch.context() as disk:
        disk.setattr("trainers.methods.dpo.save_file", full)
        with pytest.raises(InputError, match=r"reference's log-probabilities could not be saved: .*No space left"):
            trainer.train()
    assert not (tmp_path / "reference-train.safetensors").exists()
    trainer_of(policy, tmp_path, planted(3)).train()


def test_a_reference_of_other_examples_is_refused(policy: Path, tmp_path: Path) -> None:
    """Others that were given, or others that are left because more are too long."""
    first, *rest = planted(3)
    pairs = [first.model_copy(update={"chosen": first.chosen * 3}), *rest]
    trainer_of(policy, tmp_path, pairs).train()
    for others in (
        trainer_of(policy, tmp_path, planted(3, first=7)),
        trainer_of(policy, tmp_path, [*pairs, planted(1, first=9)[0]]),
    ):
        with pytest.raises(InputError, match="reference's log-probabilities of other examples"):
            others.train()
    longest = others.examples[0].tree.longest
    fewer = trainer_of(policy, tmp_path, pairs, max_length=longest - 1)
    assert len(fewer.examples) == 2
    with pytest.raises(InputError, match="reference's log-probabilities of other examples"):
        fewer.train()
