"""A planted reward on held-out prompts, while the embedded model learns by GRPO or by online DPO.

``python -m benchmarks.learning_curve [grpo] [online-dpo]``: half an hour of training each at most, on two cores. The
planted reward is 4 for an answer of ten words, and halves with every ten words more and every three less: it wants
short answers, but not empty ones. At first and every ten steps the policy answers the held-out prompts, from the
same seeds, and each answer gets that reward. What it costs is the KL to the policy as it was, in nats per answer, which
stands beside it.

A run that was killed goes on; one that is done is only drawn again. The section of RESULTS.md and the picture
``docs/learning-curves.svg`` are of all runs in ``runs/learning-curve``.
"""

import inspect
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any
from xml.etree import ElementTree

from scipy import stats
from transformers import TrainerCallback, TrainerControl

from benchmarks.figures import Measurement
from benchmarks.run import render, write_section
from critic.local.loading import default_device
from critic.rewarding.grade import Grade
from critic.run.folder.results import replace_text
from trainers.method import load as method_of
from trainers.methods.grpo import GRPOTrainer
from trainers.methods.online_dpo import OnlineDPOTrainer
from trainers.online.alarms import Alarm
from trainers.online.loop import OnlineTrainer
from trainers.online.run import load_policy, read_prompts
from trainers.online.writing.rollout import Sample

TITLE = "A planted reward, learnt"
NAME = "learning_curve"
MINUTES, EVERY, STEPS = 30, 10, 400
WORDS = 10
ROOT = Path(__file__).parents[1]
RUNS, PICTURE = ROOT / "runs" / "learning-curve", ROOT / "docs" / "learning-curves.svg"
PROMPTS = ROOT / "examples" / "questions.jsonl"
METHODS: dict[str, type[OnlineTrainer]] = {"grpo": GRPOTrainer, "online-dpo": OnlineDPOTrainer}
OWN: dict[str, dict[str, Any]] = {
    "grpo": {"samples_per_prompt": 8, "kl_coef": 0.02, "rule": "dapo"},
    "online-dpo": {"samples_per_prompt": 4, "prompts_per_step": 16, "beta": 0.1, "scale": 0.5},
}
"""What the methods have apart from each other: 64 answers a step both."""
WIDTH, HEIGHT, LEFT, TOP = 640, 200, 56, 24
COLORS = {"grpo": "#2f6f9f", "online-dpo": "#c2573a"}


def wanted(words: int) -> float:
    """Return the planted reward of an answer of so many ``words``."""
    return 4 * float(math.exp2(-max((words - WORDS) / 10, (WORDS - words) / 3)))


@dataclass(frozen=True)
class Point:
    """Held-out answers after so many steps: the mean reward, its standard error over prompts, and the KL."""

    step: int
    minutes: float
    reward: float
    error: float
    kl: float


@dataclass(frozen=True)
class Curve:
    """One run. ``gain`` is how much the reward of the same prompts rose, between ``low`` and ``high`` with 95 %.

    ``stopped`` is what an alarm said that ended it.
    """

    method: str
    points: tuple[Point, ...]
    gain: float
    low: float
    high: float
    stopped: str = ""


class Brief:
    """The planted reward."""

    identity = {"name": "planted: brief", "revision": "2"}  # noqa: RUF012  # the protocol has it so

    async def grade(self, samples: Sequence[Sample]) -> list[Grade]:
        """Halve 4 with every ten words beyond `WORDS`, and with every three that are missing."""
        return [Grade(wanted(len(sample.text.split()))) for sample in samples]

    async def close(self) -> None:
        """There is nothing to close."""


class TimeLimit(TrainerCallback):
    """Stops training after so many minutes of this and earlier starts, and notes when steps end."""

    def __init__(self, file: Path, minutes: float) -> None:
        self.file, self.minutes = file, minutes
        self.ends: dict[str, float] = json.loads(file.read_text()) if file.is_file() else {}
        self._began = time.monotonic() - 60 * max(self.ends.values(), default=0.0)

    def on_step_end(self, args: Any, state: Any, control: TrainerControl, **named: Any) -> None:
        """See the class."""
        self.ends[str(state.global_step)] = (time.monotonic() - self._began) / 60
        replace_text(self.file, json.dumps(self.ends))
        taken = self.ends[str(state.global_step)]
        # Held-out prompts are looked at every few steps: one more round of them must have time to end.
        is_last = taken * (1 + state.eval_steps / state.global_step) > self.minutes
        control.should_training_stop = is_last and state.global_step % state.eval_steps == 0


def learn(method: str, folder: Path, minutes: float, **settings: Any) -> Curve:
    """Train, or go on with it; return the curve."""
    done = folder / "curve.json"
    if done.is_file():
        return _of_json(json.loads(done.read_text()))
    chosen: dict[str, Any] = {
        "output_dir": str(folder), "data": [str(PROMPTS)], "eval_share": 1 / 3, "eval_steps": EVERY,
        "reward": "verify:max-words=10", "heldout_reward": "verify:max-words=10", "max_steps": STEPS,
        "prompts_per_step": 8, "max_new_tokens": 48, "max_length": 256, "rollout_batch": 64, "learning_rate": 2e-5,
        "per_device_train_batch_size": 4, "lr_scheduler_type": "constant", "save_steps": EVERY, "save_total_limit": 1,
        "use_cpu": default_device().type == "cpu", "report_to": "none", "disable_tqdm": True,
        "alarm_length": None, "alarm_disagreement": None, "alarm_heldout": None,
    }  # fmt: skip
    config = method_of(method).config(**(chosen | OWN[method] | settings))
    trainee = load_policy(config)
    model: Any = trainee.model  # without adapters it is transformers' own
    asks, held_out = read_prompts(config, trainee.tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    clock = TimeLimit(folder / "minutes.json", minutes)
    trainer = METHODS[method](model, config, asks, trainee.tokenizer, held_out, Brief(), Brief(), callbacks=[clock])
    stopped = ""
    try:
        trainer.train()
    except Alarm as alarm:  # what was learnt until then is the curve
        stopped = str(alarm)
    finally:
        trainer.close()
    curve = curve_of(method, trainer, clock.ends, stopped)
    replace_text(done, json.dumps(_json(curve)))
    return curve


def curve_of(method: str, trainer: OnlineTrainer, ends: dict[str, float], stopped: str) -> Curve:
    """Return what a trainer has seen of the held-out prompts."""
    steps, points = trainer.history.steps, []
    for audit in trainer.history.audits:
        rewards = list(audit.reward.values())
        error = stdev(rewards) / math.sqrt(len(rewards))
        kl = steps[audit.step - 1]["kl"] if audit.step else 0.0
        points.append(Point(audit.step, ends.get(str(audit.step), 0.0), fmean(rewards), error, kl))
    first, last = trainer.history.audits[0].reward, trainer.history.audits[-1].reward
    changes = [last[key] - first[key] for key in first if key in last]
    half = float(stats.t.ppf(0.975, len(changes) - 1)) * stdev(changes) / math.sqrt(len(changes))
    gain = fmean(changes)
    return Curve(method, tuple(points), gain, gain - half, gain + half, stopped)


def figures(curves: Sequence[Curve]) -> list[Measurement]:
    """Return what the section says."""
    made = []
    for curve in curves:
        first, last = curve.points[0], curve.points[-1]
        note = f"{last.step} steps, {last.minutes:.0f} minutes, {last.kl:.1f} nats of KL per answer"
        note += f"; stopped: {curve.stopped}" if curve.stopped else ""
        made += [
            Measurement(f"{curve.method}: held-out reward before", first.reward, "", note=f"± {first.error:.2f}"),
            Measurement(f"{curve.method}: held-out reward after", last.reward, "", note=note),
            Measurement(
                f"{curve.method}: its rise, lower bound", curve.low, "", 0.0, f"{curve.gain:.2f} to {curve.high:.2f}"
            ),
            Measurement(f"{curve.method}: minutes", last.minutes, "min", MINUTES + 1, "two cores", "at most"),
        ]
    return made


def picture(curves: Sequence[Curve]) -> str:
    """Return held-out reward, with standard errors, and KL below it, over steps, as an SVG page of its own."""
    root = ElementTree.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {2 * HEIGHT + 20}",
        attrib={"font-family": "sans-serif", "font-size": "12"},
    )  # fmt: skip
    ElementTree.SubElement(root, "rect", width="100%", height="100%", fill="white")
    last = max((point.step for curve in curves for point in curve.points), default=1)
    rewards = {}
    for curve in curves:
        rewards[curve.method] = [(p.step, p.reward, p.error) for p in curve.points]
    apart = {}
    for curve in curves:
        apart[curve.method] = [(p.step, p.kl, 0.0) for p in curve.points]
    _panel(root, 0, "planted reward of held-out answers", rewards, last)
    _panel(root, HEIGHT, "KL to the policy as it was, nats per answer", apart, last)
    for number, method in enumerate(rewards):
        _text(root, WIDTH - 100, HEIGHT - 40 - 14 * number, method, fill=COLORS[method])
    _text(root, WIDTH / 2, 2 * HEIGHT + 14, "steps of 64 answers")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _panel(
    root: ElementTree.Element, top: int, title: str, lines: dict[str, list[tuple[int, float, float]]], last: int
) -> None:
    """Draw one panel: a line a method over steps up to ``last``, from 0 to the highest value."""
    high = max((value + error for line in lines.values() for _, value, error in line), default=1.0) or 1.0
    floor, room = top + HEIGHT - 16, HEIGHT - TOP - 16

    def at(step: float, value: float) -> tuple[float, float]:
        return LEFT + (WIDTH - LEFT - 16) * step / max(last, 1), floor - room * max(value, 0.0) / high

    _text(root, LEFT, top + 14, title)
    for share in (0.0, 0.5, 1.0):
        x, y = at(0, share * high)
        ElementTree.SubElement(root, "line", x1=f"{x}", x2=f"{WIDTH - 16}", y1=f"{y:.1f}", y2=f"{y:.1f}", stroke="#ddd")
        _text(root, 8, y + 4, f"{share * high:.2f}")
    for share in (0.0, 0.5, 1.0):
        _text(root, at(share * last, 0)[0] - 4, floor + 13, f"{share * last:.0f}")
    for method, line in lines.items():
        color = COLORS[method]
        for step, value, error in line:
            if error:
                (x, y), (_, end) = at(step, value - error), at(step, value + error)
                ElementTree.SubElement(
                    root, "line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=f"{y:.1f}", y2=f"{end:.1f}", stroke=color
                )
        places = " ".join("{:.1f},{:.1f}".format(*at(step, value)) for step, value, _ in line)
        ElementTree.SubElement(root, "polyline", points=places, fill="none", stroke=color, attrib={"stroke-width": "2"})


def _text(root: ElementTree.Element, x: float, y: float, text: str, **look: str) -> None:
    ElementTree.SubElement(root, "text", x=f"{x:.1f}", y=f"{y:.1f}", attrib=look).text = text


def _json(curve: Curve) -> dict[str, Any]:
    return vars(curve) | {"points": [vars(point) for point in curve.points]}


def _of_json(content: dict[str, Any]) -> Curve:
    return Curve(**(content | {"points": tuple(Point(**point) for point in content["points"])}))


def main(methods: Sequence[str]) -> int:
    """Learn by ``methods``, all by default, and write section and picture."""
    for method in methods or METHODS:
        learn(method, RUNS / method, MINUTES)
    finished = [method for method in METHODS if (RUNS / method / "curve.json").is_file()]
    curves = [learn(method, RUNS / method, MINUTES) for method in finished]
    replace_text(PICTURE, picture(curves))
    measured = figures(curves)
    about = " ".join((inspect.getdoc(sys.modules[__name__]) or "").split("\n\n")[1].partition(": ")[2].split())
    about = about[:1].upper() + about[1:]
    section = render(TITLE, about, measured)
    print(section)
    write_section(NAME, section)
    return 0 if all(figure.reached for figure in measured) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
