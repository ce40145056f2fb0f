"""Feedback of every kind, by people and by models: one record, `Feedback`, whose ``kind`` says what its label is.

A kind is one file in ``kinds/`` with a subclass of `critic.feedback.base.Label`, which is found by being there. It says
all that others ask: its fields, its short form, how a person gives it (``form``, with a project's ``options``), what of
the responses it must fit (``check``), what it gives trainers (``rows``), what several of one item say together
(``mean``), and what of it can agree (``unit`` or ``relation``). The contract tests run over `KINDS`.
"""

from critic.feedback.base import FormField, Label, storable
from critic.feedback.feedback import STORABLE, Feedback, Flag, Source
from critic.feedback.from_run import from_row
from critic.feedback.kinds import KINDS, AnyLabel, Kind
from critic.feedback.kinds.comparison import ComparisonLabel
from critic.feedback.kinds.correction import CorrectionLabel
from critic.feedback.kinds.critique import CritiqueLabel, Span
from critic.feedback.kinds.demonstration import DemonstrationLabel
from critic.feedback.kinds.ranking import RankingLabel
from critic.feedback.kinds.rating import RatingLabel, Scale
from critic.feedback.kinds.thumbs import ThumbsLabel

__all__ = [
    "KINDS",
    "STORABLE",
    "AnyLabel",
    "ComparisonLabel",
    "CorrectionLabel",
    "CritiqueLabel",
    "DemonstrationLabel",
    "Feedback",
    "Flag",
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
