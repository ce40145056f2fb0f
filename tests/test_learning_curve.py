"""The benchmark of learning curves at a tiny size: a run, that it goes on, and what is drawn of it."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import learning_curve
from benchmarks.learning_curve import Curve, Point
from tests.trainers.tiny import question, write_model


@pytest.mark.slow
@pytest.mark.parametrize("method", list(learning_curve.METHODS))
def test_a_run_has_a_point_for_each_look_and_is_taken_once(method: str, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    data = tmp_path / "prompts.jsonl"
    data.write_text("".join(json.dumps({"prompt": question(i)}) + "\n" for i in range(12)))
    small = {"model": str(model), "data": [str(data)], "max_steps": 2, "eval_steps": 1, "prompts_per_step": 2}
    small |= {"samples_per_prompt": 2, "max_new_tokens": 6, "bf16": False, "alarm_phrase": None}
    curve = learning_curve.learn(method, tmp_path / "run", 5.0, **small)
    assert [point.step for point in curve.points] == [0, 1, 2] and not curve.stopped
    assert curve.low <= curve.gain <= curve.high and all(0 < point.reward <= 4 for point in curve.points)
    assert learning_curve.learn(method, tmp_path / "run", 5.0, model="no such folder") == curve


def test_a_picture_has_a_line_a_method_and_a_bar_an_error() -> None:
    points = tuple(Point(step, step / 2, 1 + step / 20, 0.1, step / 10) for step in (0, 10, 20))
    curves = [Curve(method, points, 1.0, 0.5, 1.5) for method in learning_curve.METHODS]
    root = ElementTree.fromstring(learning_curve.picture(curves))
    name = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{name}polyline")) == 4  # reward and KL
    bars = [line for line in root.findall(f"{name}line") if line.get("stroke") != "#ddd"]
    assert len(bars) == 6
    figures = learning_curve.figures(curves)
    assert all(figure.reached for figure in figures) and "2.0 nats of KL" in figures[1].note


def test_a_reward_that_did_not_rise_misses() -> None:
    points = (Point(0, 0.0, 1.0, 0.1, 0.0), Point(10, 5.0, 1.0, 0.1, 0.2))
    rise = learning_curve.figures([Curve("grpo", points, 0.0, -0.1, 0.1, "an alarm")])
    assert [figure.reached for figure in rise] == [True, True, False, True] and "an alarm" in rise[1].note
