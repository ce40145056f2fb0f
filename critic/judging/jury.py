"""Who judges: one model, or several that each vote in a mode of their own, and whose votes are kept apart."""

from dataclasses import dataclass

from base.together import together
from critic.engine import Engine, Lane
from critic.judging.base import Mode, Question
from critic.records import Vote


@dataclass(frozen=True, slots=True)
class Juror:
    """A judge and how it is asked."""

    engine: Engine
    mode: Mode


@dataclass(frozen=True, slots=True)
class Jury:
    """One juror or more. `critic.judging.aggregate` pools their votes, juror by juror."""

    jurors: tuple[Juror, ...]

    @property
    def judge(self) -> str:
        """The judges' names."""
        return ", ".join(dict.fromkeys(juror.engine.identity.name for juror in self.jurors))

    @property
    def mode(self) -> str:
        """The mode's name, or ``jury``."""
        return self.jurors[0].mode.name if len(self.jurors) == 1 else "jury"

    async def votes(self, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Ask every juror."""
        votes = await together(juror.mode.votes(juror.engine, question, lane) for juror in self.jurors)
        return tuple(vote for of_juror in votes for vote in of_juror)
