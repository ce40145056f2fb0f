"""When two labels are the same: what one and the same person or model said of the same responses, however it came here.

A file may be imported twice, one run's labels come by its ``pairs`` and by its ``feedback``, and responses in either
order. Who is called the giver (``source``), names of models, votes, times, flags, places and tags make no other label
of it.
"""

from base.digest import digest
from critic.feedback.feedback import Feedback


def same_label(feedback: Feedback, annotator: str | None) -> str:
    """Return a SHA-256 that equal labels share; ``annotator`` is who gave it, as people call them."""
    turned = feedback.in_order_of(sorted(response.text for response in feedback.responses))
    bound = [feedback.group, feedback.constitution_hash, feedback.principle]
    return digest(["label", feedback.kind, feedback.item, annotator, *bound, turned.label.said()])
