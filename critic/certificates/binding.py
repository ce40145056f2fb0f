"""What a certificate is bound to, as it is here and now: templates, code, what the labelled texts are like."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np

from base.digest import digest
from critic import prompts
from critic.certificates.certificate import Coverage
from critic.records import Prompt

# What turns texts into votes, and votes into a probability: a change of it can change any figure.
_CODE = ("judging", "prompts.py", "templates", "chats")
_SHARE = 0.05  # of all texts, from which on a script is said to be there
_WORDS = 12
_WORD = re.compile(r"[^\W\d_]{4,}")


def templates_digest() -> str:
    """Hash of all templates, as rows and manifests name it."""
    return digest(prompts.template_digests())


def code() -> dict[str, str]:
    """The package's version, and the hash of the files that judge."""
    total = hashlib.sha256()
    root = Path(str(files("critic")))
    for file in sorted(_files(root)):
        total.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return {"version": version("cai-feedback"), "sha256": total.hexdigest()}


def _files(root: Path) -> Iterator[Path]:
    for name in _CODE:
        path = root / name
        yield from (file for file in path.rglob("*") if file.suffix in (".py", ".j2")) if path.is_dir() else (path,)


def coverage(prompts: Iterable[Prompt], answers: Iterable[str]) -> Coverage:
    """Return what the labelled texts are like."""
    asked, texts = list(prompts), list(answers)
    words = [prompt.messages[-1].content for prompt in asked]
    scripts = Counter(script(text) for text in [*words, *texts])
    total = max(1, scripts.total())
    lengths = np.percentile([len(text) for text in texts], (5, 95)) if texts else np.zeros(2)
    turns = max((len(prompt.messages) for prompt in asked), default=0)
    return Coverage(
        scripts=tuple(sorted(name for name, count in scripts.items() if name and count / total >= _SHARE)),
        characters=(int(lengths[0]), int(np.ceil(lengths[1]))),
        turns=turns,
        words=tuple(_common(words)),
    )


def script(text: str) -> str:
    """The writing system that most of a text's letters are of, by their Unicode names; empty without letters."""
    letters = Counter(unicodedata.name(character, "?").split()[0] for character in text[:2000] if character.isalpha())
    return letters.most_common(1)[0][0].capitalize() if letters else ""


def _common(texts: Iterable[str]) -> list[str]:
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update(set(_WORD.findall(text.lower())))
    return [word for word, _ in seen.most_common(_WORDS)]


def not_covered(covers: Coverage, tags: Iterable[str]) -> tuple[str, ...]:
    """Say what nothing is known of, as sentences."""
    low, high = covers.characters
    scripts = " or ".join(covers.scripts) or "any script that was seen"
    topics = ", ".join(sorted(set(tags))) or "not named in the data"
    several = f"chats of more than {covers.turns} turns" if covers.turns > 1 else "chats of more than one turn"
    return (
        f"Texts that are not written in {scripts}, and languages that the labelled texts are not in: a script is all "
        "that is told from the texts.",
        f"Answers much shorter than {low:,} or longer than {high:,} characters, and {several}.",
        f"Topics unlike those of the labelled prompts (tags: {topics}; frequent words: {', '.join(covers.words)}).",
        "People other than those who labelled, and answers by models unlike those whose answers were labelled.",
        "Labels by some of the principles alone, or by votes that were pooled otherwise than by their log-odds.",
    )
