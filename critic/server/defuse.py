"""Text for a server that tokenises on its own side: what looks like a chat template's control token is broken up.

A chat server finds control tokens in contents too, so that an answer could close its turn and open another. Here one
space goes in after the first character of whatever has the form of such a token: ``<|im_end|>`` becomes
``< |im_end|>``. A space, and nothing invisible, because some tokenizers delete invisible characters before they look.

Broken up are: every ``<|`` (and DeepSeek's, with a full-width bar); tags whose name holds an underscore, and those of a
list (``<s>``, ``</s>``, ``<bos>``, ``<think>``, ``<<SYS>>``); the bracketed tokens of Mistral and GLM (``[INST]``);
MiniMax's ``]~b]`` and EXAONE's ``[|user|]``. A template that marks its turns with plain words (``USER:``) has no such
tokens, and nothing here helps against those. Engines that tokenise in this process need none of it: see
`critic.chats.chat`.
"""

import re

_TAGS = (
    "s|bos|eos|eod|eot|pad|unk|mask|cls|sep|sop|eop|sys|inst|think|thought|tool|tools|image|img|audio|video|"
    r"unused\d+|fim|function|role|seed:\w+|mask:\d+"
)
_BRACKETED = (
    "INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|ARGS|CALL_ID|THINK|PREFIX|MIDDLE|SUFFIX|"
    "IMG|IMG_BREAK|IMG_END|AUDIO|BEGIN_AUDIO|TRANSCRIBE|MODEL_SETTINGS|BOS|EOS|PAD|UNK|CLS|SEP|[gs]?MASK|"
    r"UNUSED_TOKEN_\d+|UNUSED\d+"
)
# Only the first character is consumed, so tokens that overlap are all found.
_OPENINGS = re.compile(
    r"<(?=[|\uff5c])"
    rf"|<(?=/?(?:{_TAGS}|\w*_\w*)>)"
    rf"|\[(?=/?(?:{_BRACKETED})\])"
    r"|\](?=~!?b[\[\]]|<\])"
    r"|\[(?=\|\w+\|\])"
    r"|\[(?=e~\[)",
    re.IGNORECASE,
)


def defuse(text: str) -> str:
    """Return ``text`` with every control token's form broken up by a space. Doing it twice changes no more."""
    return _OPENINGS.sub(lambda opening: opening[0] + " ", text)
