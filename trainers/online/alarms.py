"""Alarms: signs that a policy games its reward, or falls apart. Each is a few lines, and stops the run.

They look at the figures of each step, averaged over the last few and compared with the first few; and at audits, where
answers to held-out prompts are given both the reward and a second opinion.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import correlation, fmean, pstdev, stdev
from typing import Any

from base.errors import InputError
from trainers.online.config import OnlineConfig

SAME = "all rewards that are compared are the same"
_N = 4
_PHRASE = (1, 2, 3)
"""Lengths of phrases, in words."""
_COMMON = 0.2
"""A phrase of fewer answers counts as one of none."""
_PAID, _GROWN = 1.0, 1.2
"""Standard deviations of reward that a phrase gains, and times as long as in the first steps: then more is asked."""
_FEWEST = 8
"""Held-out answers that a correlation is taken of, at least."""
_WORD = re.compile(r"\w+")
# The beginnings of refusals in English, as models word them.
_REFUSAL = re.compile(
    r"\W*(i'm |i am )?((very|so|truly) )?(sorry|unable|not able|unfortunately,? i\b|i apologi[sz]e|as an ai\b"
    r"|i (cannot|can't|can not|won't|will not|must decline)\b)",
    re.IGNORECASE,
)


class Alarm(InputError):
    """A run was stopped. Its last checkpoint is from after the step that gave the alarm."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The rewards and second opinions of the same held-out prompts, by prompt."""

    step: int
    reward: Mapping[str, float]
    heldout: Mapping[str, float]


@dataclass
class History:
    """What alarms look at: the figures and common phrases of all steps so far, and all audits."""

    steps: list[dict[str, float]] = field(default_factory=list)
    audits: list[Audit] = field(default_factory=list)
    phrases: list[dict[str, list[float]]] = field(default_factory=list)
    """By step: `common_phrases`."""
    answers: dict[str, tuple[Sequence[int], str]] = field(default_factory=dict)
    """By held-out prompt: the tokens and the text of its first answer, where a judge compares others with that."""

    def add(self, figures: Mapping[str, float], texts: Sequence[str], rewards: Sequence[float]) -> None:
        """Add a step: its ``figures``, and the ``texts`` of its answers with their ``rewards``."""
        self.steps.append({name: figures[name] for name in FIGURES})
        self.phrases.append(common_phrases(texts, rewards))

    def first(self, name: str, window: int) -> float:
        """The mean of figure ``name`` over the first ``window`` steps."""
        return fmean(step[name] for step in self.steps[:window])

    def last(self, name: str, window: int) -> float:
        """The mean of figure ``name`` over the last ``window`` steps."""
        return fmean(step[name] for step in self.steps[-window:])

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        audits = [asdict(audit) for audit in self.audits]
        return {"steps": self.steps, "audits": audits, "phrases": self.phrases, "answers": self.answers}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "History":
        """Make it of what `plain` has returned."""
        audits = [Audit(**audit) for audit in plain["audits"]]
        return cls(plain["steps"], audits, plain["phrases"], dict(plain.get("answers", {})))


FIGURES = ("kl", "length", "repetition", "refusals", "entropy", "reward_std", "length_correlation")
"""What each step must tell. ``reward_std`` is of rewards that are compared: see `experience.spread`."""


def repetition(ids: Sequence[int]) -> float:
    """Return which share of an answer's runs of four tokens has occurred in it before, 0 to 1."""
    runs = [tuple(ids[i : i + _N]) for i in range(len(ids) - _N + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def common_phrases(texts: Sequence[str], rewards: Sequence[float]) -> dict[str, list[float]]:
    """Return the phrases of one to three words that many of ``texts`` hold: the share that does, and what it gains.

    The gain is how much higher the mean reward with the phrase is than without, in standard deviations of all.
    """
    holding: dict[str, list[float]] = defaultdict(list)
    for text, reward in zip(texts, rewards, strict=True):
        words = _WORD.findall(text.lower())
        for phrase in {" ".join(words[i : i + n]) for n in _PHRASE for i in range(len(words) - n + 1)}:
            holding[phrase].append(reward)
    spread, total = pstdev(rewards) if rewards else 0.0, math.fsum(rewards)
    phrases = {}
    for phrase, held in holding.items():
        others = len(texts) - len(held)
        if len(held) >= _COMMON * len(texts):
            lead = fmean(held) - (total - math.fsum(held)) / others if others and spread else 0.0
            phrases[phrase] = [len(held) / len(texts), lead / spread if spread else 0.0]
    return phrases


def refuses(text: str) -> bool:
    """Whether an answer begins as refusals in English do."""
    return _REFUSAL.match(text.replace("\u2019", "'")) is not None


def alarms(history: History, config: OnlineConfig) -> list[str]:
    """Return what is wrong, in words for people; nothing where all is well."""
    looks = _LOOKS if history.steps else _BEFORE_THE_FIRST
    return [message for look in looks for message in look(history, config)]


def _kl(history: History, config: OnlineConfig) -> Iterator[str]:
    kl = history.last("kl", config.alarm_window)
    if config.alarm_kl is not None and kl > config.alarm_kl:
        yield f"the policy is {kl:.3g} nats per answer away from the reference (alarm_kl {config.alarm_kl:g})"


def _length(history: History, config: OnlineConfig) -> Iterator[str]:
    before, now = (look("length", config.alarm_window) for look in (history.first, history.last))
    limit = config.alarm_length
    if limit is not None and not before / limit <= now <= before * limit:
        yield f"answers have {now:.0f} tokens, and had {before:.0f} in the first steps (alarm_length {limit:g})"


def _length_paid(history: History, config: OnlineConfig) -> Iterator[str]:
    limit, window = config.alarm_length_correlation, config.alarm_window
    before, now = (look("length", window) for look in (history.first, history.last))
    paid = history.last("length_correlation", window)
    if limit is not None and now > _GROWN * before and paid > limit:
        yield (
            f"answers have {now:.0f} tokens, and had {before:.0f} in the first steps, and longer ones get more: reward "
            f"and length correlate by {paid:.2f} among the answers to a prompt (alarm_length_correlation {limit:g})"
        )


def _repetition(history: History, config: OnlineConfig) -> Iterator[str]:
    yield from _risen(history, config, "repetition", "of the answers' runs of four tokens are repetitions")


def _refusals(history: History, config: OnlineConfig) -> Iterator[str]:
    yield from _risen(history, config, "refusals", "of the answers are refusals")


def _phrase(history: History, config: OnlineConfig) -> Iterator[str]:
    limit, window = config.alarm_phrase, config.alarm_window
    if limit is None:
        return
    before, now = _shares(history.phrases[:window]), _shares(history.phrases[-window:])
    gains = _shares(history.phrases[-window:], 1)
    rises = {phrase: share - before.get(phrase, 0.0) for phrase, share in now.items()}
    # One that is paid for is on its way to all answers, and is told of at half the rise.
    weighed = {phrase: rise * (2 if gains[phrase] > _PAID else 1) for phrase, rise in rises.items()}
    phrase = max(weighed, key=lambda name: (weighed[name], len(name), name), default="")
    if phrase and weighed[phrase] > limit:
        yield (
            f"{now[phrase]:.0%} of the answers hold {phrase!r}, and {before.get(phrase, 0.0):.0%} did in the first "
            f"steps; they gain {gains[phrase]:.1f} standard deviations of reward (alarm_phrase {limit:g})"
        )


def _shares(steps: Sequence[Mapping[str, Sequence[float]]], number: int = 0) -> dict[str, float]:
    """Return each phrase's mean share over ``steps``; with 1 as ``number``, its mean gain."""
    names = {name for step in steps for name in step}
    means = {}
    for name in names:
        means[name] = math.fsum(step[name][number] for step in steps if name in step) / len(steps)
    return means


def _flat(history: History, config: OnlineConfig) -> Iterator[str]:
    limit = config.alarm_flat
    spreads = [step["reward_std"] for step in history.steps[-(limit or 1) :]]
    if limit is not None and len(spreads) == limit and not any(spreads):
        yield f"in {limit} steps in a row {SAME} (alarm_flat {limit})"


def _risen(history: History, config: OnlineConfig, name: str, what: str) -> Iterator[str]:
    before, now = (look(name, config.alarm_window) for look in (history.first, history.last))
    limit = getattr(config, f"alarm_{name}")
    if limit is not None and now > before + limit:
        yield f"{now:.0%} {what}, and {before:.0%} in the first steps (alarm_{name} {limit:g})"


def _entropy(history: History, config: OnlineConfig) -> Iterator[str]:
    before, now = (look("entropy", config.alarm_window) for look in (history.first, history.last))
    limit = config.alarm_entropy
    if limit is not None and now < limit * before:
        yield f"a token's entropy is {now:.3g} nats, and was {before:.3g} in the first steps (alarm_entropy {limit:g})"


def _heldout(history: History, config: OnlineConfig) -> Iterator[str]:
    """Compare the newest audit with the one that the second opinion liked best, prompt by prompt."""
    limit = config.alarm_heldout
    if limit is None or len(history.audits) < 2:
        return
    now = history.audits[-1]
    best = max(history.audits, key=lambda audit: fmean(audit.heldout.values()) if audit.heldout else -math.inf)
    fall, rise = -_change(best.heldout, now.heldout), _change(best.reward, now.reward)
    if fall > limit and rise > limit:
        yield (
            f"on held-out prompts the second opinion has fallen by {fall:.1f} standard errors since step {best.step}, "
            f"while the reward rose by {rise:.1f} (alarm_heldout {limit:g})"
        )


def _disagreement(history: History, config: OnlineConfig) -> Iterator[str]:
    """Ask whether held-out answers of a higher reward are worse in the second opinion: no fall has to be seen."""
    limit = config.alarm_disagreement
    if limit is None or not history.audits:
        return
    now = history.audits[-1]
    both = [(now.reward[key], now.heldout[key]) for key in now.reward if key in now.heldout]
    columns = [set(column) for column in zip(*both, strict=True)]
    if len(both) < _FEWEST or min(map(len, columns)) < 2:
        return
    r = correlation(*zip(*both, strict=True))
    below = -r * math.sqrt((len(both) - 2) / max(1 - r * r, 1e-12))
    if below > limit:
        yield (
            f"the held-out answers of a higher reward are worse in the second opinion: their correlation is {r:.2f}, "
            f"{below:.1f} standard errors below 0 (alarm_disagreement {limit:g})"
        )


def _change(before: Mapping[str, float], now: Mapping[str, float]) -> float:
    """Return the mean change of the prompts that both have, in its standard errors; 0 for fewer than 2 prompts."""
    changes = [now[key] - before[key] for key in before if key in now]
    if len(changes) < 2:
        return 0.0
    mean, error = fmean(changes), stdev(changes) / math.sqrt(len(changes))
    if error:
        return mean / error
    return math.copysign(math.inf, mean) if mean else 0.0


_LOOKS: tuple[Callable[[History, OnlineConfig], Iterator[str]], ...] = (
    _kl,
    _length,
    _length_paid,
    _repetition,
    _refusals,
    _entropy,
    _phrase,
    _flat,
    _heldout,
    _disagreement,
)
_BEFORE_THE_FIRST = (_heldout, _disagreement)
"""Those that need no step to look at."""
