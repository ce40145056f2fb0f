"""Feedback of every kind, by people and by models: one record, `Feedback`, whose ``kind`` says what its label is.

A kind is one file here with a subclass of `critic.feedback.base.Label`: its fields, how a person gives it (``form``),
what of the responses it must fit (``check``) and what it gives trainers (``rows``). To add one, write the file, name
it in `critic.feedback.base.Kind`, and the class in `AnyLabel` and `KINDS`; the contract tests run over `KINDS`.
"""

from critic.feedback.base import FormField, Kind, Label, storable
from critic.feedback.feedback import KINDS, AnyLabel, Feedback, Source
from critic.feedback.from_run import from_row
from critic.feedback.kinds.comparison import ComparisonLabel
from critic.feedback.kinds.correction import CorrectionLabel
from critic.feedback.kinds.critique import CritiqueLabel, Span
from critic.feedback.kinds.demonstration import DemonstrationLabel
from critic.feedback.kinds.ranking import RankingLabel
from critic.feedback.kinds.rating import RatingLabel, Scale
from critic.feedback.kinds.thumbs import ThumbsLabel

__all__ = [
    "KINDS",
    "AnyLabel",
    "ComparisonLabel",
    "CorrectionLabel",
    "CritiqueLabel",
    "DemonstrationLabel",
    "Feedback",
    "FormField",
    "Kind",
    "Label",
    "RankingLabel",
    "RatingLabel",
    "Scale",
    "Source",
    "Span",
    "ThumbsLabel",
    "from_row",
    "storable",
]
