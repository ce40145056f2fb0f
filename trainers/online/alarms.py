"""Alarms: signs that a policy games its reward, or falls apart. Each is a few lines, and stops the run.

They look at the figures of each step, averaged over the last few and compared with the first few; and at audits, where
answers to held-out prompts are given both the reward and a second opinion.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Any

from base.errors import InputError
from trainers.online.config import OnlineConfig

_N = 4
_PHRASE = (1, 2, 3)
"""Lengths of phrases, in words."""
_COMMON = 0.2
"""A phrase of fewer answers counts as one of none."""
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
    phrases: list[dict[str, float]] = field(default_factory=list)
    """By step: the phrases that many answers hold, and the share that does."""

    def add(self, figures: Mapping[str, float], texts: Sequence[str]) -> None:
        """Add a step: its ``figures``, and the ``texts`` of its answers."""
        self.steps.append({name: figures[name] for name in FIGURES})
        self.phrases.append(common_phrases(texts))

    def first(self, name: str, window: int) -> float:
        """The mean of figure ``name`` over the first ``window`` steps."""
        return fmean(step[name] for step in self.steps[:window])

    def last(self, name: str, window: int) -> float:
        """The mean of figure ``name`` over the last ``window`` steps."""
        return fmean(step[name] for step in self.steps[-window:])

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"steps": self.steps, "audits": [asdict(audit) for audit in self.audits], "phrases": self.phrases}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "History":
        """Make it of what `plain` has returned."""
        return cls(plain["steps"], [Audit(**audit) for audit in plain["audits"]], plain["phrases"])


FIGURES = ("kl", "length", "repetition", "refusals", "entropy", "reward_std")
"""What each step must tell."""


def repetition(ids: Sequence[int]) -> float:
    """Return which share of an answer's runs of four tokens has occurred in it before, 0 to 1."""
    runs = [tuple(ids[i : i + _N]) for i in range(len(ids) - _N + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def common_phrases(texts: Sequence[str]) -> dict[str, float]:
    """Return the phrases of one to three words that many of ``texts`` hold, with the share that does."""
    counts: Counter[str] = Counter()
    for text in texts:
        words = _WORD.findall(text.lower())
        counts.update({" ".join(words[i : i + n]) for n in _PHRASE for i in range(len(words) - n + 1)})
    return {phrase: count / len(texts) for phrase, count in counts.items() if count >= _COMMON * len(texts)}


def refuses(text: str) -> bool:
    """Whether an answer begins as refusals in English do."""
    return _REFUSAL.match(text.replace("\u2019", "'")) is not None


def alarms(history: History, config: OnlineConfig) -> list[str]:
    """Return what is wrong, in words for people; nothing where all is well."""
    if not history.steps:
        return []
    return [message for look in _LOOKS for message in look(history, config)]


def _kl(history: History, config: OnlineConfig) -> Iterator[str]:
    kl = history.last("kl", config.alarm_window)
    if config.alarm_kl is not None and kl > config.alarm_kl:
        yield f"the policy is {kl:.3g} nats an answer away from the reference (alarm_kl {config.alarm_kl:g})"


def _length(history: History, config: OnlineConfig) -> Iterator[str]:
    before, now = (look("length", config.alarm_window) for look in (history.first, history.last))
    limit = config.alarm_length
    if limit is not None and not before / limit <= now <= before * limit:
        yield f"answers have {now:.0f} tokens, and had {before:.0f} in the first steps (alarm_length {limit:g})"


def _repetition(history: History, config: OnlineConfig) -> Iterator[str]:
    yield from _risen(history, config, "repetition", "of the answers' runs of four tokens are repetitions")


def _refusals(history: History, config: OnlineConfig) -> Iterator[str]:
    yield from _risen(history, config, "refusals", "of the answers are refusals")


def _phrase(history: History, config: OnlineConfig) -> Iterator[str]:
    limit, window = config.alarm_phrase, config.alarm_window
    if limit is None:
        return
    before, now = _shares(history.phrases[:window]), _shares(history.phrases[-window:])
    rises = {phrase: share - before.get(phrase, 0.0) for phrase, share in now.items()}
    phrase = max(rises, key=lambda name: (rises[name], len(name)), default="")
    if phrase and rises[phrase] > limit:
        yield (
            f"{now[phrase]:.0%} of the answers hold {phrase!r}, and {before.get(phrase, 0.0):.0%} did in the first "
            f"steps (alarm_phrase {limit:g})"
        )


def _shares(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each phrase's mean share over ``steps``."""
    return {name: fmean(step.get(name, 0.0) for step in steps) for step in steps for name in step}


def _flat(history: History, config: OnlineConfig) -> Iterator[str]:
    limit = config.alarm_flat
    spreads = [step["reward_std"] for step in history.steps[-(limit or 1) :]]
    if limit is not None and len(spreads) == limit and not any(spreads):
        yield f"in {limit} steps in a row all rewards were the same (alarm_flat {limit})"


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


def _change(before: Mapping[str, float], now: Mapping[str, float]) -> float:
    """Return the mean change of the prompts that both have, in its standard errors; 0 for fewer than 2 prompts."""
    changes = [now[key] - before[key] for key in before if key in now]
    if len(changes) < 2:
        return 0.0
    mean, error = fmean(changes), stdev(changes) / math.sqrt(len(changes))
    return mean / error if error else math.copysign(math.inf, mean) if mean else 0.0


_LOOKS: tuple[Callable[[History, OnlineConfig], Iterator[str]], ...] = (
    _kl,
    _length,
    _repetition,
    _refusals,
    _entropy,
    _phrase,
    _flat,
    _heldout,
)
