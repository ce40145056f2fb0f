"""Whether a judge and a policy are kin: models favour their own family's answers (Panickssery et al. 2024)."""

import re
from typing import Literal

from critic.engine import Identity

Kinship = Literal["same model", "same family", "unknown"]

# Words by which names tell a family; a distilled model can belong to two.
_FAMILIES = {
    "claude": "claude",
    "command": "command",
    "deepseek": "deepseek",
    "falcon": "falcon",
    "gemini": "gemini",
    "gemma": "gemini",
    "glm": "glm",
    "gpt": "gpt",
    "granite": "granite",
    "grok": "grok",
    "kimi": "kimi",
    "llama": "llama",
    "minimax": "minimax",
    "ministral": "mistral",
    "mistral": "mistral",
    "mixtral": "mistral",
    "nemotron": "nemotron",
    "olmo": "olmo",
    "phi": "phi",
    "qwen": "qwen",
    "qwq": "qwen",
    "smollm": "smollm",
    "tulu": "llama",
    "vicuna": "llama",
    "yi": "yi",
    "zephyr": "mistral",
}


def kinship(policy: Identity, judge: Identity) -> Kinship:
    """Say what the names and weights tell; a name can hide where a model comes from, so the rest is ``unknown``."""
    if (policy.name, policy.revision) == (judge.name, judge.revision):
        return "same model"
    return "same family" if families(policy.name) & families(judge.name) else "unknown"


def families(name: str) -> frozenset[str]:
    """Return the families that a model's name, with or without its organisation, tells."""
    words = re.split(r"[^a-z]+", name.lower())
    return frozenset(family for word in words for known, family in _FAMILIES.items() if _is(word, known))


def _is(word: str, known: str) -> bool:
    # Short names only as whole words: "phi" is in "philosopher".
    return word == known if len(known) <= 3 else word.startswith(known) or word.endswith(known)
