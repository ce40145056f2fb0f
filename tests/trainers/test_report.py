"""A training run's page: what it draws, what it says, and that texts in it are only texts."""

import re
from pathlib import Path
from typing import Any

import pytest

from critic.pages.plots import Curves
from tests.critic.run.test_report import HOSTILE, Page, in_browser
from trainers.folder.report import pictures, report, write_report

LOGS: list[dict[str, Any]] = [
    {"step": 1, "loss": 0.69, "rewards/margins": 0.0, "rewards/accuracies": 0.5, "learning_rate": 1e-5, "grad_norm": 2},
    {
        "step": 2,
        "loss": 0.5,
        "rewards/margins": 0.4,
        "rewards/accuracies": 1.0,
        "learning_rate": 5e-6,
        "grad_norm": None,
    },
    {"step": 2, "eval_loss": 0.6, "eval_rewards/accuracies": 0.75},
    {"step": 2, "train_runtime": 3.0},
]
ROLLOUTS = [{"step": i, "reward": i / 2, "kl": i / 10, "entropy": 2 - i / 9, "length": 20} for i in range(1, 6)]


def lineage(**more: Any) -> dict[str, Any]:
    return {
        "trainer": "dpo",
        "settings": {"seed": 3},
        "data": "d" * 64,
        "parent": {"name": "embedded", "revision": "r" * 64},
        "constitutions": ["c" * 64],
        "ancestors": [],
        "counts": {"examples": 1200, "held_out": 30, "refused": {"too_long": 4}},
        "figures": {"eval_loss": 0.6, "rewards/margins": 0.4},
        "steps": 2,
    } | more


def sample(text: str) -> dict[str, Any]:
    return {"prompt": [{"role": "user", "content": text}], "before": text, "after": None}


def drawn(logs: list[dict[str, Any]]) -> dict[str, Curves]:
    made = pictures(logs)
    assert all(isinstance(picture, Curves) for picture in made.values())
    return {name: picture for name, picture in made.items() if isinstance(picture, Curves)}


def test_pictures_hold_what_was_logged_and_nothing_for_what_was_not() -> None:
    made = drawn(LOGS)
    assert set(made) == {"loss", "margins", "accuracy", "learning-rate"}, "of the norm one step was logged: no curve"
    lines = {line.name: line.points for line in made["loss"].lines}
    assert lines == {"loss": ((1, 0.69), (2, 0.5)), "held-out loss": ((2, 0.6),)}
    assert pictures([]) == {} and pictures(LOGS[:1]) == {}


def test_shares_stay_between_0_and_1_and_axes_have_titles_with_units() -> None:
    made = drawn([*LOGS, *ROLLOUTS])
    assert (made["accuracy"].y.low, made["accuracy"].y.high) == (0, 1)
    assert [made[name].y.title for name in ("loss", "kl", "entropy", "length")] == [
        "loss",
        "nats per answer",
        "nats a token",
        "tokens per answer",
    ]
    assert {curves.x.title for name, curves in made.items() if name != "reward-kl"} == {"step"}


def test_rollouts_show_reward_against_kl() -> None:
    made = drawn(ROLLOUTS)
    assert set(made) == {"reward-kl", "reward", "kl", "entropy", "length"}
    assert made["reward-kl"].lines[0].points[1] == (0.2, 1.0)


def test_the_page_says_what_it_was_made_of() -> None:
    page = Page(report(lineage(), LOGS, [sample("Why?")]))
    for said in ("Training by dpo", "1,200", "30 held out, 4 rows refused", "c" * 64, "d" * 64, "refused: too_long"):
        assert said in page.text
    assert "no answer" in page.text and "held-out prompts" in page.text
    assert "Nothing was logged." in Page(report(lineage(figures={}), [], [])).text
    assert "One step was logged" in Page(report(lineage(), LOGS[:1], [])).text


def test_texts_are_only_texts() -> None:
    page = Page(report(lineage(parent={"name": HOSTILE, "revision": "r"}), LOGS, [sample(HOSTILE)]))
    assert not any(name in ("src", "href") or name.startswith("on") for _, a in page.tags for name in a)
    assert not [tag for tag, _ in page.tags if tag in ("script", "img", "a")]
    assert "document.title='owned'" in page.text


@pytest.mark.slow
def test_a_browser_draws_every_picture(tmp_path: Path, chromium: Path) -> None:
    write_report(lineage(), [*LOGS, *ROLLOUTS], [sample(HOSTILE)], tmp_path)
    shown = in_browser(chromium, tmp_path)
    assert sorted(re.findall(r'id="picture-([\w-]+)"', shown)) == sorted(pictures([*LOGS, *ROLLOUTS]))
    assert "<title>Training by dpo</title>" in shown, "no hostile script ran"
