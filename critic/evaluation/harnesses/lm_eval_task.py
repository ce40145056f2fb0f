"""Questions in MMLU's form as a task of EleutherAI's lm-evaluation-harness::

    from lm_eval import simple_evaluate
    from critic.evaluation.harnesses.lm_eval_task import multiple_choice

    simple_evaluate(model="hf", model_args="pretrained=runs/aligned/policy", tasks=[multiple_choice("mmlu", shots=5)])

What is compared are the log-likelihoods of the four letters after the question. Where it is asked with a chat template
(``apply_chat_template=True``) it is the open turn of the assistant, as in `critic.evaluation.policy.tax`.
"""

from pathlib import Path
from typing import Any

from datasets import Dataset
from lm_eval.api.task import ConfigurableTask

from critic.evaluation.policy.tax import LETTERS, Exam, prompt_of, read_exam

NAME = "cai_multiple_choice"


def multiple_choice(folder: str | Path, shots: int = 0, limit: int | None = None) -> ConfigurableTask:
    """Return the task of a folder's questions. Raises `InputError` for what isn't such a folder."""
    exam = read_exam(Path(folder), shots, limit)
    config: dict[str, Any] = {
        "task": NAME,
        "custom_dataset": lambda **_: {"test": Dataset.from_list(rows(exam))},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": list(LETTERS),
        "doc_to_target": "right",
        "target_delimiter": " ",
        "num_fewshot": 0,  # the shots are in the question's text: each subject has its own
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    return ConfigurableTask(config=config)


def rows(exam: Exam) -> list[dict[str, Any]]:
    """Return each question with its shots as text, its subject, and the right letter's place."""
    return [
        {
            "question": prompt_of(one, exam.shots.get(one.subject, ()))[0].content,
            "subject": one.subject,
            "right": one.right,
        }
        for one in exam.questions
    ]
