"""This service's rewards as verl's custom reward function. It needs only Python, so verl can load it by its path::

    reward.custom_reward_function.path=.../service/rewards/verl_reward.py
    reward.custom_reward_function.name=compute_score
    +reward.custom_reward_function.reward_kwargs.engine=models/rm-1

The service's address and key are ``CAI_URL`` and ``CAI_KEY`` in the environment, or ``url`` and ``key`` beside
``engine``. The prompt is what a row has in ``extra_info``: ``prompt`` (messages or a text), else ``question``.
"""

import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

TIMEOUT = 180.0  # seconds for an answer
# Doubling waits as in `base.backoff`, which can't be imported here: verl's environment has Python alone.
ATTEMPTS = 5
PASSING = (408, 429, 503)
OURS = "application/problem+json"  # other faults from 500 on are a proxy's, while the service starts again
SILENT_SECONDS = 5.0  # longer waits are told

log = logging.getLogger("cai.rewards")


class RewardError(RuntimeError):
    """There is no reward, and why. It is never 0 for want of one."""


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    **service: Any,
) -> float:
    """The reward of one answer. ``service`` holds ``url``, ``key``, ``engine``, ``constitution`` and ``group``.

    Whatever else verl passes plays no part. Raises `RewardError` where there is no reward.
    """
    return compute_scores([data_source], [solution_str], [ground_truth], [extra_info], **service)[0]


def compute_scores(
    data_sources: Sequence[str],
    solution_strs: Sequence[str],
    ground_truths: Sequence[Any],
    extra_infos: Sequence[Mapping[str, Any] | None],
    **service: Any,
) -> list[float]:
    """The rewards of several answers at once, for verl's reward manager ``batch``; see `compute_score`."""
    body = {"prompts": [_prompt(info) for info in extra_infos], "responses": list(solution_strs)}
    answer = _post(service, json.dumps(body).encode())
    if not isinstance(answer, dict) or not {"problems", "rewards"} <= set(answer):
        raise RewardError("what answers there is not the service: it sends no rewards")
    for number, problem in enumerate(answer["problems"]):
        if problem is not None:
            raise RewardError(f"answer {number} has no reward: {problem}")
    return [float(reward) for reward in answer["rewards"]]


def _prompt(extra_info: Mapping[str, Any] | None) -> Any:
    info = extra_info or {}
    prompt = info["prompt"] if info.get("prompt") is not None else info.get("question")
    if prompt is None:
        raise RewardError(
            "extra_info has neither `prompt` nor `question`: the reward is that of an answer to something"
        )
    # Parquet gives lists as arrays.
    if isinstance(prompt, str):
        return prompt
    return [{"role": turn["role"], "content": turn["content"]} for turn in prompt]


def _post(service: Mapping[str, Any], body: bytes) -> Any:
    url, key = (service.get(name) or os.environ.get(f"CAI_{name.upper()}") for name in ("url", "key"))
    if not url or not key:
        raise RewardError("the service's address and key are not known: set CAI_URL and CAI_KEY")
    chosen = {name: service[name] for name in ("engine", "constitution", "group") if service.get(name)}
    address = f"{url.rstrip('/')}/v1/rewards?{urllib.parse.urlencode(chosen)}"
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(address, body, headers)
    for attempt in range(ATTEMPTS):
        wait = 2.0**attempt
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                problem, retry_after = error.read().decode(errors="replace"), error.headers.get("Retry-After", "")
            if error.code not in PASSING and (error.code < 500 or error.headers.get_content_type() == OURS):
                raise RewardError(problem) from None
            wait = float(retry_after) if retry_after.isdecimal() else wait
        except ValueError as error:  # an answer that is no JSON is not this service's
            raise RewardError(f"what answers there is not the service: {error}") from None
        except (OSError, http.client.HTTPException) as error:  # the latter where an answer broke off
            problem = f"the service can't be reached: {error}"
        if attempt + 1 < ATTEMPTS:
            if wait > SILENT_SECONDS:
                log.warning("waiting: %s; next try in %.0f s", problem, wait)
            time.sleep(wait)
    raise RewardError(problem)
