"""A training run's page: what it draws, what it says, and that texts in it are only texts."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.critic.run.test_report import HOSTILE, Page
from trainers.report import pictures, report, write_report

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


def test_pictures_hold_what_was_logged_and_nothing_for_what_was_not() -> None:
    made = pictures(LOGS)
    assert set(made) == {"loss", "margins", "accuracy", "learning-rate", "gradient"}
    lines = {line["name"]: (line["x"], line["y"]) for line in made["loss"]["data"]}
    assert lines == {"loss": ([1, 2], [0.69, 0.5]), "eval_loss": ([2], [0.6])}
    assert made["gradient"]["data"][0]["x"] == [1], "null is no point"
    assert pictures([]) == {}


def test_rollouts_show_reward_against_kl() -> None:
    made = pictures(ROLLOUTS)
    assert set(made) == {"reward-kl", "reward", "kl", "entropy", "length"}
    [dots] = made["reward-kl"]["data"]
    assert (dots["x"][1], dots["y"][1], dots["customdata"][1]) == (0.2, 1.0, 2)


def test_the_page_says_what_it_was_made_of() -> None:
    page = Page(report(lineage(), LOGS, [sample("Why?")]))
    for said in ("Training by dpo", "1,200", "30 held out, 4 rows refused", "c" * 64, "d" * 64, "refused: too_long"):
        assert said in page.text
    assert "no answer" in page.text and "held-out prompts" in page.text
    assert "Nothing was logged." in Page(report(lineage(figures={}), [], [])).text


def test_texts_are_only_texts_and_only_the_pages_own_scripts_run() -> None:
    text = report(lineage(parent={"name": HOSTILE, "revision": "r"}), LOGS, [sample(HOSTILE)])
    page = Page(text)
    assert not any(name in ("src", "href") or name.startswith("on") for _, a in page.tags for name in a)
    assert [a.get("type") for tag, a in page.tags if tag == "script"] == ["application/json", None, None]
    policy = next(a["content"] or "" for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    script = re.search(r"script-src ([^;]*)", policy)
    assert policy.startswith("default-src 'none';") and script and "unsafe" not in script[1]
    assert "document.title='owned'" in page.text


@pytest.mark.slow
def test_a_browser_draws_every_picture(tmp_path: Path, chromium: Path) -> None:
    write_report(lineage(), [*LOGS, *ROLLOUTS], [sample(HOSTILE)], tmp_path)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    page = (tmp_path / "report.html").as_uri()
    shown = subprocess.run([chromium, *flags, page], capture_output=True, text=True, timeout=600, check=True).stdout
    drawn = re.findall(r'id="picture-([\w-]+)" class="picture js-plotly-plot"', shown)
    assert sorted(drawn) == sorted(pictures([*LOGS, *ROLLOUTS]))
    assert "<title>Training by dpo</title>" in shown, "no hostile script ran"
