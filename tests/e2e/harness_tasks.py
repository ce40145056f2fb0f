"""Runs in `.venv-harnesses`: ``python harness_tasks.py lm_eval|inspect_ai FOLDER`` prints an accuracy as JSON.

Models are pretended: one that likes the letter of the option that says "right", so nothing is fetched.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

RIGHT = re.compile(r"([A-D])\. [^\n]*right")


def liked(text: str) -> str:
    """The letter of the last question's option that says so."""
    return str(RIGHT.findall(text)[-1])


def by_lm_eval(folder: str) -> float:
    """The task's accuracy by likelihoods."""
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM

    from critic.evaluation.harnesses.lm_eval_task import NAME, multiple_choice

    class Pretended(LM):  # type: ignore[misc]  # typed only where the harness is installed
        def loglikelihood(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
            return [(0.0 if r.args[1].strip() == liked(r.args[0]) else -5.0, True) for r in requests]

        def loglikelihood_rolling(self, requests: Any, **_: Any) -> list[float]:
            raise NotImplementedError  # the task asks for likelihoods of letters alone

        def generate_until(self, requests: Any, **_: Any) -> list[str]:
            raise NotImplementedError  # the task asks for likelihoods of letters alone

    evaluated = simple_evaluate(model=Pretended(), tasks=[multiple_choice(folder, shots=1)], bootstrap_iters=0)
    return float(evaluated["results"][NAME]["acc,none"])


def by_inspect(folder: str) -> float:
    """The task's accuracy by written letters."""
    from inspect_ai import eval
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    from critic.evaluation.harnesses.inspect_task import multiple_choice

    def answer(messages: Any, *_: Any) -> ModelOutput:
        said = ModelOutput.from_content("pretended", f"{liked(messages[-1].text)}.")
        # Else it counts tokens, by a table that it would fetch.
        said.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return said

    model = get_model("mockllm/model", custom_outputs=answer)
    (log,) = eval(multiple_choice(folder, shots=1), model=model, log_dir=str(Path(folder) / "logs"), display="none")
    assert log.status == "success", log.error
    scores = {sample.scores["letter"].value for sample in log.samples or []}
    assert scores == {"C"} or scores == {"C", "I"}, scores
    values = [float(sample.scores["letter"].value == "C") for sample in log.samples or []]
    return sum(values) / len(values)


if __name__ == "__main__":
    ways = {"lm_eval": by_lm_eval, "inspect_ai": by_inspect}
    print(json.dumps({"accuracy": ways[sys.argv[1]](sys.argv[2])}))
