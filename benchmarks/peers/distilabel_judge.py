"""distilabel's own judge tasks, timed in the environment of `make peers`. The job comes on standard input, as JSON.

``url``, ``model``, ``task`` (``UltraFeedback`` or ``PrometheusEval``), ``max_tokens``, ``rubric`` (what PrometheusEval
judges by) and ``pairs`` of ``instruction`` and ``generations``. The last line of standard output is JSON: the seconds
that the task took, and how many of its verdicts it could parse.
"""

import json
import sys
import time
from typing import Any

# Installed beside the benchmarks' own environment, not in it.
from distilabel.models import OpenAILLM  # type: ignore[import-not-found]
from distilabel.steps.tasks import PrometheusEval, UltraFeedback  # type: ignore[import-not-found]


def main() -> None:
    """Judge all pairs at once: the client sends as many requests as a batch has rows."""
    job = json.load(sys.stdin)
    llm = OpenAILLM(
        model=job["model"],
        base_url=job["url"],
        api_key="none",
        timeout=600,
        generation_kwargs={"max_new_tokens": job["max_tokens"]},
    )
    if job["task"] == "UltraFeedback":
        task = UltraFeedback(llm=llm, use_default_structured_output=False)
    else:
        task = PrometheusEval(llm=llm, mode="relative", rubric="principle", rubrics={"principle": job["rubric"]})
    task.load()
    began = time.perf_counter()
    rows = next(task.process(job["pairs"]))
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "parsed": sum(map(parsed, rows))}))


def parsed(row: dict[str, Any]) -> bool:
    """Whether a verdict can be read: the better response, or a rating of each."""
    if "result" in row:
        return row["result"] is not None
    ratings = row["ratings"]
    return ratings is not None and len(ratings) == len(row["generations"]) and None not in ratings


if __name__ == "__main__":
    main()
