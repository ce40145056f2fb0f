"""Servers of typed decisions on the loopback: both shapes of the API, with whatever answer a test wants.

``weigh`` says how probable each option of a question is, in the order of the request; ``spoil`` changes a reply before
it is sent; `FakeServer.queue` puts other answers first. The engine's own first question is answered, and not kept.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.critic.engines.fake_server import Answer, FakeServer, _Handler

Weigh = Callable[[str, str, list[str]], Sequence[float] | None]
Reply = dict[str, Any]

PATHS = {"/v1/decisions": "decisions", "/v1/systemone": "systemone"}
TRUE_FALSE = ["true", "false"]
PROBE = "The grass is green"


def to_the_first(text: str, instructions: str, options: list[str]) -> Sequence[float]:
    """The first option gets .8, the others share the rest."""
    return [0.8, *[0.2 / (len(options) - 1)] * (len(options) - 1)]


class DecisionServer(FakeServer):
    """Answers typed questions by ``weigh``; None from it is a refusal, in the shape that has one."""

    def __init__(self, weigh: Weigh = to_the_first) -> None:
        super().__init__()
        self.RequestHandlerClass = _DecisionHandler
        self.weigh = weigh
        self.spoil: Callable[[Reply], object] = lambda reply: reply
        self.mass: float | None = 0.97
        self.probe: Answer | None = None

    def decide(self, shape: str, body: dict[str, Any]) -> Answer:
        probed = PROBE in (body["input"] if "input" in body else body["state"])
        weigh = to_the_first if probed else self.weigh
        reply = decisions(weigh, body) if shape == "decisions" else systemone(weigh, self.mass, body)
        if probed:
            return self.probe or (200, {}, reply)
        with self._lock:
            self.asked.append(body)
            return self.queue.popleft() if self.queue else (200, {}, self.spoil(reply))


def decisions(weigh: Weigh, body: dict[str, Any]) -> Reply:
    """A reply in the shape of OpenAI's API."""
    answers: list[Reply] = []
    for question in body["questions"]:
        options = _options(question)
        shares = weigh(body["input"], question["instructions"], options)
        about = {"type": question["type"], "name": question["name"]}
        match question["type"]:
            case _ if shares is None:
                answers.append(about | {"type": "refusal"})
            case "predicate":
                answers.append(about | {"probability": shares[0]})
            case "choice":
                told = [{"value": o, "probability": p} for o, p in zip(options, shares, strict=True)]
                top = options[shares.index(max(shares))]
                answers.append(about | {"choice": top, "confidence": 0.6, "probabilities": told})
            case "score":
                levels = [
                    {"value": i, "label": o, "probability": p}
                    for i, (o, p) in enumerate(zip(options, shares, strict=True))
                ]
                answers.append(about | {"score": 1.5, "confidence": 0.6, "probabilities": levels})
    return {"model": body["model"], "answers": answers, "usage": {"input_tokens": 70, "output_tokens": len(answers)}}


def systemone(weigh: Weigh, mass: float | None, body: dict[str, Any]) -> Reply:
    """A reply in the shape of vLLM's API; other servers of it tell no label mass."""
    answers: dict[str, Reply] = {}
    for name, question in body["questions"].items():
        match question["type"]:
            case "noul":
                shares = weigh(body["state"], question["instructions"], TRUE_FALSE) or [0.5, 0.5]
                told = {"noul": shares[0], "probabilities": dict(zip(("yes", "no"), shares, strict=True))}
            case "choice":
                options = list(question["criteria"])
                shares = weigh(body["state"], question["instructions"], options) or [0.5, 0.5]
                told = {"choice": options[0], "probabilities": dict(zip(options, shares, strict=True))}
            case _:
                shares = weigh(body["state"], question["instructions"], question["criteria"]) or [0.5, 0.5]
                told = {"score": 1.5, "probabilities": {str(i): p for i, p in enumerate(shares)}}
        answers[name] = {"type": question["type"], "confidence": 0.6} | told
    reply = {"model": body["model"], "answers": answers, "usage": {"input_tokens": 70, "output_tokens": len(answers)}}
    if mass is None:
        return reply
    return reply | {"diagnostics": {name: {"label_mass": mass, "argmax_is_label": True} for name in answers}}


def _options(question: Reply) -> list[str]:
    if question["type"] == "predicate":
        return TRUE_FALSE
    if question["type"] == "choice":
        return [choice["value"] for choice in question["choices"]]
    return [level["label"] for level in question["levels"]]


class _DecisionHandler(_Handler):
    server: DecisionServer

    def do_POST(self) -> None:
        self._note()
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        shape = PATHS.get(self.path)
        self._send(self.server.decide(shape, body) if shape else self.server.no_ids)
