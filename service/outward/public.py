"""What an administrator's terminal says, as a client may read it: without addresses, paths and variables' names.

Engines, trainers and libraries write their errors for whoever runs them. Whatever leaves the service passes here: every
problem document, what engines say, why a job failed, and the lines of its log.
"""

import os
import re
from pathlib import Path

_ROOTS = "|".join(sorted(re.escape(path.name) for path in Path("/").iterdir()))

# In this order: an address holds what looks like a path. Where parts of a rule may match the same characters, they have
# an end: what is looked through may be a client's, and made so that looking takes the square of its length.
_RULES = (
    (re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]{0,30}://[^\s'\",;)\]}>]*[^\s'\",;)\]}>:.]"), "(its address)"),
    (re.compile(r"\[[0-9a-fA-F:]{0,45}:[0-9a-fA-F:.]{0,45}\](?::\d+)?"), "(its address)"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+|', \d+)?"), "(its address)"),
    (re.compile(r"\blocalhost(?::\d+)?"), "(its address)"),
    (re.compile(r"(?<=\bhost=)'[^']*'(?:,? port=\d+)?"), "(its address)"),
    (re.compile(r"\b((?:environment )?variable) [A-Za-z_]\w*"), r"\1 (its name)"),
    (re.compile(r"\bkey_env=\w+"), "key_env=(its name)"),
    (re.compile(r"\b[A-Z][A-Z0-9_]*_(?:KEY|TOKEN|SECRET|PASSWORD|URL)\b"), "(its name)"),
)
# A path of this machine, and not a JSON pointer or a route: of those only what comes last is shown.
_PATH = re.compile(rf"(?<![\w./~-])(?:~|/(?:{_ROOTS}))(?:/[^\s/'\",;:()\[\]{{}}<>]+)+/?")


def public(text: str) -> str:
    """Return ``text`` without what says where things are: the last part of a path stays."""
    if not _may_hold(text):
        return text
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return _PATH.sub(lambda path: os.path.basename(path[0].rstrip("/")), text)


def _may_hold(text: str) -> bool:
    """Whether it is worth a closer look: most messages hold none of these."""
    return any(sign in text for sign in ("/", ".", "_", ":", "variable", "localhost"))
