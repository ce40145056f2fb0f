"""Questions in MMLU's form as a task of the UK AI Security Institute's inspect_ai, with a scorer for written letters::

    inspect eval critic/evaluation/harnesses/inspect_task.py@multiple_choice -T folder=mmlu --model hf/...

Here the model writes its answer, which works with any server; `critic.evaluation.policy.tax` reads probabilities. An
answer without a letter of its own is wrong by chance there, and plainly wrong here: the explanation says so.
"""

import re
from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, grouped, scorer, stderr
from inspect_ai.solver import TaskState, generate

from critic.evaluation.policy.tax import LETTERS, prompt_of, read_exam

ASKED = "\nWrite the letter of the right answer, and nothing else."

_LETTER = re.compile(r"(?:^|answer(?:\s+is)?\s*:?\s*)[\s(*\"']*([A-D])(?![\w'])", re.IGNORECASE)
# A letter alone at the very start may be a word: "A river ..." is no answer.
_WORD = re.compile(r"^\s*A\s+[a-z]")


@task  # type: ignore[untyped-decorator]  # typed only where the harness is installed
def multiple_choice(folder: str, shots: int = 0, limit: int | None = None) -> Task:
    """Ask a folder's questions; a subject is a group of the score."""
    exam = read_exam(Path(folder), shots, limit)
    samples = [
        Sample(
            input=prompt_of(one, exam.shots.get(one.subject, ()))[0].content + ASKED,
            target=LETTERS[one.right],
            metadata={"subject": one.subject},
        )
        for one in exam.questions
    ]
    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=letter())


@scorer(metrics=[grouped(accuracy(), "subject"), stderr()])  # type: ignore[untyped-decorator]  # likewise
def letter() -> Scorer:
    """Score whether the letter that was written is the right one."""

    async def score(state: TaskState, target: Target) -> Score:
        text = state.output.completion
        written = letter_of(text)
        said = "no letter was written" if written is None else text
        return Score(value=CORRECT if written == target.text else INCORRECT, answer=written, explanation=said)

    return score


def letter_of(text: str) -> str | None:
    """Return the letter that an answer begins with, or names as its answer; None where there is none."""
    letter = _LETTER.search(text)
    if letter is None or _WORD.match(text):
        return None
    return letter.group(1).upper()
