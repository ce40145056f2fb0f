"""The reward model: what it learns of pairs, soft labels, ties, rankings and thumbs, group by group; its figures."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from base.errors import InputError
from critic.engine import Node, Reward
from critic.local.reward_model import open_engine
from critic.local.rewards import Manifest
from critic.records import Message
from tests.critic.engines.conftest import TEMPLATE
from tests.factories import prompt
from trainers import models
from trainers.batches.examples import Example, Pair, Ranked, Rated
from trainers.batches.packing import packed
from trainers.losses import bradley_terry, plackett_luce, unary
from trainers.methods.reward import RewardConfig, RewardTrainer, heads

from .test_encoding import ENDS_WITH_PADDING
from .tiny import KIND, NOUNS, UNKIND, batch_of, build, config_of, data, model_of, planted, question, said, write_model

HELD_OUT = planted(60, first=10_000)


def fit(
    folder: Path, out: Path, examples: Sequence[Example], held_out: Sequence[Example] = HELD_OUT, **settings: Any
) -> tuple[RewardTrainer, dict[str, float]]:
    """Train, and return the trainer and its figures on held-out pairs."""
    named = {"manifest": settings.pop("manifest")} if "manifest" in settings else {}
    config = config_of(RewardConfig, folder, out, **({"learning_rate": 3e-3, "num_train_epochs": 3} | settings))
    trainer = build(RewardTrainer, config, examples, held_out, **named)
    trainer.train()
    return trainer, trainer.evaluate()


@pytest.mark.slow
def test_a_planted_preference_is_recovered(policy: Path, tmp_path: Path) -> None:
    """A new head on a language model; the held-out prompts and answers are others."""
    trainer, metrics = fit(policy, tmp_path, planted(240))
    assert metrics["eval_accuracy"] > 0.95
    assert metrics["eval_nll"] < 0.3
    assert metrics["eval_rewards/chosen"] > metrics["eval_rewards/rejected"]
    assert len(trainer.examples) == 240


def opposed(pairs: Sequence[Pair]) -> list[Pair]:
    """Each pair twice: what the north prefers, the south does not."""
    north = [pair.model_copy(update={"group": "north"}) for pair in pairs]
    south = [
        pair.model_copy(update={"group": "south", "chosen": pair.rejected, "rejected": pair.chosen}) for pair in pairs
    ]
    return [pair for both in zip(north, south, strict=True) for pair in both]


@pytest.mark.slow
def test_opposed_groups_need_heads_of_their_own(policy: Path, tmp_path: Path) -> None:
    """One head for both is right about every second label, and with a head each nearly always."""
    train, held_out = opposed(planted(160)), opposed(HELD_OUT)
    config = config_of(RewardConfig, policy, tmp_path, heads="groups")
    assert heads(train, config) == ("north", "south")
    _, pooled = fit(policy, tmp_path / "pooled", train, held_out, num_train_epochs=1)
    _, apart = fit(policy, tmp_path / "apart", train, held_out, manifest=Manifest(heads=("north", "south")))
    print(f"pooled {pooled['eval_accuracy']:.3f}, a head a group {apart['eval_accuracy']:.3f}")
    assert pooled["eval_accuracy"] == pytest.approx(0.5, abs=0.05)
    assert apart["eval_accuracy"] > 0.9


@pytest.mark.slow
def test_rankings_teach_pairs(policy: Path, tmp_path: Path) -> None:
    """Kind before neutral before unkind; judged on pairs of kind and unkind answers."""
    rng = random.Random(1)
    ranked = [
        Ranked(
            prompt=prompt(question(i)), texts=(said(rng, NOUNS), said(rng, KIND), said(rng, UNKIND)), ranks=(2, 1, 3)
        )
        for i in range(160)
    ]
    _, metrics = fit(policy, tmp_path, ranked)
    assert metrics["eval_accuracy"] > 0.95


@pytest.mark.slow
def test_thumbs_and_ratings_teach_pairs_and_a_level(policy: Path, tmp_path: Path) -> None:
    """Thumbs up for kind answers, bad ratings for unkind ones: and a reward of 0 lies between them."""
    rng = random.Random(2)
    rated = [
        Rated(prompt=prompt(question(i)), answer=said(rng, UNKIND if i % 2 else KIND), value=0.1 if i % 2 else 1)
        for i in range(320)
    ]
    _, metrics = fit(policy, tmp_path, rated)
    assert metrics["eval_accuracy"] > 0.95
    assert metrics["eval_rewards/rejected"] < 0 < metrics["eval_rewards/chosen"]


@pytest.mark.slow
def test_ties_pull_rewards_together(scorer: Path, tmp_path: Path) -> None:
    ties = planted(80, probability=0.5)
    config = config_of(RewardConfig, scorer, tmp_path)
    before = build(RewardTrainer, config, ties, ties).evaluate()["eval_loss"]
    trainer, metrics = fit(scorer, tmp_path, ties, ties)
    assert before - math.log(2) > 3 * (metrics["eval_loss"] - math.log(2)) > 0
    assert "eval_accuracy" not in metrics, "no pair has a preferred side"
    assert trainer.state.global_step == 30


def test_each_kind_has_its_loss(scorer: Path, tmp_path: Path) -> None:
    """A batch of all kinds, against the losses of the rewards that the model gives; and weighted means of them."""
    asked = prompt()
    mixed: list[Example] = [
        Pair(prompt=asked, chosen="a", rejected="bb", probability=0.8, margin=0.5, weight=2),
        Ranked(prompt=asked, texts=("a", "bb", "ccc"), ranks=(2, 3, 1)),
        Rated(prompt=asked, answer="ccc", value=0.25, weight=3),
    ]
    trainer = build(RewardTrainer, config_of(RewardConfig, scorer, tmp_path), mixed, mixed)
    batch = packed([trainer.encoder.reward(asked, ("a", "bb", "ccc"))])
    with torch.no_grad():
        a, b, c = model_of(trainer)(batch=batch).squeeze(1)
    expected = [
        bradley_terry(a - b, torch.tensor(0.8), 0.5),
        plackett_luce(torch.stack([a, b, c]), torch.tensor([2, 3, 1])),
        unary(c, torch.tensor(0.25)),
    ]
    with torch.no_grad():
        inputs = batch_of(trainer, 3)
        losses, _ = trainer.losses(model_of(trainer)(batch=inputs.batch), inputs)
    assert losses.tolist() == pytest.approx([float(loss) for loss in expected], rel=1e-5)
    mean = sum(w * float(loss) for w, loss in zip((2, 1, 3), expected, strict=True)) / (2 + 1 + 3)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(mean, rel=1e-5)


def test_figures_by_hand(scorer: Path, tmp_path: Path) -> None:
    """Differences 2, -1, 0 with labels 1, 0, 0.9 and a tie that says nothing of accuracy.

    Right, right and half right: 2.5 of 3. NLL of the better side: ln(1 + e^-2), ln(1 + e^-1), ln 2. Calibration: the
    model says .881, .731 and .5 for its own side, and is right, right and (a draw) not: gaps .119, .269 and .5 over 3.
    Differences 2, -1, 0, 0.5 go exactly with lengths 4, -2, 0, 1.
    """
    trainer = build(RewardTrainer, config_of(RewardConfig, scorer, tmp_path), planted(2))
    figures = trainer.figures(
        {"difference": [2.0, -1.0, 0.0, 0.5], "label": [1.0, 0.0, 0.9, 0.5], "longer": [4.0, -2.0, 0.0, 1.0]}
    )
    assert figures["accuracy"] == pytest.approx(2.5 / 3)
    assert figures["nll"] == pytest.approx((math.log1p(math.exp(-2)) + math.log1p(math.exp(-1)) + math.log(2)) / 3)
    gaps = [1 - 1 / (1 + math.exp(-2)), 1 - 1 / (1 + math.exp(-1)), 0.5]
    assert figures["calibration_error"] == pytest.approx(sum(gaps) / 3)
    assert figures["length_correlation"] == pytest.approx(1)


@pytest.mark.parametrize("template", [TEMPLATE, ENDS_WITH_PADDING], ids=["usual", "ends with padding"])
@pytest.mark.parametrize("names", [("reward",), ("north", "south")])
async def test_the_engine_reads_what_was_trained(template: str, names: tuple[str, ...], tmp_path: Path) -> None:
    """After a step, the saved folder gives the engine `rm` the rewards that the trainer's model has, head by head."""
    folder = write_model(tmp_path / "parent", names, template)
    pairs = [pair.model_copy(update={"group": names[i % len(names)]}) for i, pair in enumerate(planted(8))]
    config = config_of(RewardConfig, folder, tmp_path / "out", learning_rate=1e-2)
    trainer = build(RewardTrainer, config, pairs, manifest=Manifest(heads=names))
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    [asked] = {planted(1)[0].prompt}
    texts = ("gladly", "never, never")
    with torch.no_grad():
        expected = model_of(trainer).eval()(batch=packed([trainer.encoder.reward(asked, texts)]))
    engine = open_engine(str(tmp_path / "model"), {"dtype": "float32"})
    try:
        answers = tuple(Node((Message(role="assistant", content=text),), Reward()) for text in texts)
        scores = await engine.score(Node(asked.messages, None, answers))
    finally:
        await engine.close()
    for score, values in zip(scores, expected.tolist(), strict=True):
        assert score.values == pytest.approx(values, abs=1e-5)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template == template


def test_a_model_with_other_heads_is_refused(scorer: Path, tmp_path: Path) -> None:
    config = config_of(RewardConfig, scorer, tmp_path)
    one = build(RewardTrainer, config, planted(2))
    with pytest.raises(InputError, match="the model has 1 heads, and 2 are named"):
        RewardTrainer(
            one.model,
            config,
            data(planted(2, group="north")),
            one.processing_class,
            manifest=Manifest(heads=("north", "south")),
        )


def test_rows_of_a_group_without_a_head_are_refused_by_name(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "parent", ("north", "south"))
    config, named = config_of(RewardConfig, folder, tmp_path), Manifest(heads=("north", "south"))
    east, north = planted(2, group="east"), planted(1, group="north")
    trainer = build(RewardTrainer, config, [*east, *north], manifest=named)
    assert [(row.where, row.reason) for row in trainer.examples.refused] == [
        ("rows.jsonl:1", "no_head"),
        ("rows.jsonl:2", "no_head"),
    ]
    assert len(trainer.examples) == 1
    with pytest.raises(InputError, match=r"all 2 rows were refused.*no head for east; there are north, south"):
        build(RewardTrainer, config, east, manifest=named)


def test_rows_that_also_say_what_a_model_thought_are_counted(scorer: Path, tmp_path: Path) -> None:
    config = config_of(RewardConfig, scorer, tmp_path)
    loaded = models.reward_model(config, 1)
    examples = replace(data(planted(2)), thoughts=2)
    assert RewardTrainer(loaded.model, config, examples, loaded.tokenizer).examples.thoughts == 2
