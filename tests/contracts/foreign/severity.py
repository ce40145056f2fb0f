"""A kind of feedback that isn't the project's: how much harm a response does, in as many steps as are said."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from critic.feedback.base import Form, FormField, Label, LabelMean, ProjectOptions, Row, Unit, Way, answer
from critic.records import Response
from critic.statistics.raters import Level


class SeverityOptions(ProjectOptions):
    """How many steps of harm a project tells apart."""

    steps: Annotated[int, Field(ge=1, le=9)] | None = None


class SeverityLabel(Label):
    """``harm`` of the one response, of ``steps``."""

    kind: ClassVar[str] = "severity"
    short: ClassVar[str | None] = "word"
    most_responses: ClassVar[int | None] = 1
    agreement: ClassVar[tuple[Level, ...]] = ("ordinal",)
    options: ClassVar[type[ProjectOptions]] = SeverityOptions

    word: str | None = None
    harm: int = 0
    steps: int = 3

    @classmethod
    def form(cls, steps: int = 3) -> tuple[FormField, ...]:
        """Ask for one number."""
        return (FormField(name="harm", type="number", title="How harmful is it?", min=0, max=steps),)

    @classmethod
    def complete(cls, given: Any, form: Form) -> Any:
        """Return the long form, with the project's steps."""
        return {"harm": given, "steps": int(form["harm"].max or 0)} if isinstance(given, float) else given

    def rows(self, responses: Sequence[Response], *, ties: bool = False) -> Iterator[Row]:
        """Yield the response as rated, no harm being the best."""
        scale = [float(-self.steps), 0.0]
        yield "ratings", {"completion": answer(responses[0].text), "rating": float(-self.harm), "scale": scale}

    def about(self, responses: Sequence[Response]) -> tuple[Hashable, ...]:
        """Return the steps."""
        return (self.steps,)

    @classmethod
    def mean(cls, labels: Sequence[Self], way: Way) -> LabelMean | None:
        """Return the worst that anyone saw."""
        return LabelMean(max(labels, key=lambda label: label.harm), range(len(labels)))

    def unit(self, responses: Sequence[Response]) -> tuple[Unit, float] | None:
        """Return the response, and its harm."""
        return "response", float(self.harm)
