"""What engines say of themselves in `Engine.capabilities`, as far as others decide by it.

What an engine does not name it has. ``none`` is said only where it is known to be lacking.
"""

from typing import Final

LOGPROBS: Final = "log-probabilities"
LIKELIHOODS: Final = "likelihoods of texts"
STRUCTURED: Final = "structured output"
THINKS: Final = "thinks first"
# What an engine's answers vary by between askings; one that does not name it gives the same each time.
VARIES: Final = "answers vary by"
LABEL_MASS: Final = "label mass"
# Engines that have it answer a `critic.engine.Decision`, and nothing else.
DECISIONS: Final = "typed decisions"
CHATS: Final = "chats"

NONE: Final = "none"
YES: Final = "yes"
NO: Final = "no"
NOT_TOLD: Final = "not told"
# Of chats: the template acts on strings in their contents in a way that can't be followed, and they are kept from it.
DIFFERENT: Final = "some are rendered otherwise than the template alone writes them, for it alters what messages say"
