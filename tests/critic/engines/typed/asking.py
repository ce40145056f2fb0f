"""Short names for typed questions."""

from critic.engine import Decision, DecisionOption, Node
from critic.records import Message

WHICH = Decision("choice", "Which is kinder?", (DecisionOption("first"), DecisionOption("second", "the later one")))
KIND = Decision("predicate", "It is kind.")
HOW = Decision(
    "score",
    "How kind is it?",
    (DecisionOption("not"), DecisionOption("partly"), DecisionOption("wholly", "without a fault")),
)


def about(text: str, *questions: Decision) -> Node:
    """Questions about one text."""
    asked = tuple(Node((), question) for question in questions)
    return Node((Message(role="user", content=text),), children=asked)
