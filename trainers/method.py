"""What a training method is. A new one is one file in `trainers.methods` with its settings and ``METHOD``.

    METHOD = Offline(config=MyConfig, trainer=MyTrainer, about="A language model, trained by ...", rows=("pairs",))

`trainers.offline.Offline` learns from rows, `trainers.online.run.Online` from answers that the policy writes to
prompts. All else follows: ``cai train NAME`` and its help, the train jobs of the service, the model's card, the folder
that a run leaves. ``NAME`` is that of the file, with hyphens. Give what is a literal as one: see `trainers.catalogue`.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar

from transformers import TrainerCallback

from base.errors import InputError
from trainers import catalogue
from trainers.catalogue import POLICY, REWARD_MODEL
from trainers.config import TrainConfig
from trainers.expected import expect_named
from trainers.folder import card
from trainers.folder.card import Made
from trainers.folder.results import Trained, TrainingCounts
from trainers.planning.records import NOTHING, Needs, StepWork

C = TypeVar("C", bound=TrainConfig)

Tell = Callable[[TrainingCounts], None]


@dataclass(frozen=True, kw_only=True)
class Method(ABC, Generic[C]):
    """See the module's docstring.

    ``about`` is a sentence for the model's card. ``rows`` names the kinds of rows that it takes
    (`trainers.batches.examples.NAMES`); without any it takes prompts. ``makes`` is a policy or a reward model;
    ``rewarded`` says that it needs a reward; ``samples``, whether answers before and after are kept. ``plan`` says what
    it needs of memory beside a model that learns.
    """

    config: type[C]
    about: str
    rows: tuple[str, ...] = ()
    makes: str = POLICY
    rewarded: bool = False
    samples: bool = True
    plan: Needs = NOTHING

    @property
    def name(self) -> str:
        """What the command line and requests call it."""
        return self.config.__module__.rpartition(".")[2].replace("_", "-")

    @property
    def made(self) -> Made:
        """What the model's card says of it."""
        return (card.reward_model if self.makes == REWARD_MODEL else card.policy)(self.about)

    @abstractmethod
    def work(self, config: C, processes: int) -> StepWork:
        """Return the largest batches that ``config`` lets each of ``processes`` put through the model."""

    def check(self, config: C) -> None:
        """Raise `InputError` for what a run would refuse only after it has loaded a model: dry runs ask it, too."""

    def expect(self, config: C) -> None:
        """Raise `InputError` where something that ``config`` names is missing: told before the first slow step."""
        expect_named(config)

    @abstractmethod
    def train(self, config: C, callbacks: Sequence[TrainerCallback], tell: Tell) -> Trained:
        """Train what ``config`` says, or go on with it: see `trainers.run.train`."""


def load(name: str) -> Method[Any]:
    """Import method ``name``. Raises `InputError` where there is none."""
    method: Method[Any] = import_module(catalogue.module(name)).METHOD
    return method


def of(config: TrainConfig) -> Method[Any]:
    """Return the method whose settings ``config`` are: the one of the file that its class is in."""
    method: Method[Any] | None = getattr(sys.modules[type(config).__module__], "METHOD", None)
    if method is None:
        raise InputError(
            f"{type(config).__name__} is the settings of no method",
            where="config",
            fix=f"expected those of {', '.join(catalogue.names())}",
        )
    return method
