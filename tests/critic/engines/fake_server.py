"""A chat server of its own on the loopback, whose every answer the test chooses."""

import contextlib
import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-very-secret-123"
NO_WAIT = {"retry-after-ms": "1"}
Answer = tuple[int, dict[str, str], object]


def chat(text: str | None = "hello", finish: str | None = "stop", **more: object) -> dict[str, Any]:
    """A chat completion, as such servers write it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish} | more
    return {
        "id": "x",
        "object": "chat.completion",
        "choices": [choice],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }


def likely(**tokens: float) -> dict[str, Any]:
    """A chat completion of one token, the first of ``tokens``, with the log-probabilities of all of them."""
    listed = [{"token": token, "logprob": value, "bytes": None} for token, value in tokens.items()]
    return chat(next(iter(tokens)), "length", logprobs={"content": [listed[0] | {"top_logprobs": listed}]})


class FakeServer(ThreadingHTTPServer):
    """Gives the queued answers in order, then the standing one. Keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models: Answer = (200, {}, {"object": "list", "data": [{"id": "org/model", "created": 1, "root": "/w"}]})
        self.queue: deque[Answer] = deque()
        self.standing: Answer = (200, {}, chat())
        self.ids: dict[str, list[int]] = {}
        self.no_ids: Answer = (404, {}, {"detail": "Not Found"})
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.release = threading.Event()
        self.release.set()
        self.most_at_once = self._now = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def answer(self, body: dict[str, Any]) -> Answer:
        with self._lock:
            self.asked.append(body)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        self.release.wait(10)
        with self._lock:
            self._now -= 1
            return self.queue.popleft() if self.queue else self.standing


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeServer

    def do_GET(self) -> None:
        self._note()
        self._send(self.server.models if self.path == "/v1/models" else (404, {}, {"detail": "Not Found"}))

    def do_POST(self) -> None:
        self._note()
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/v1/chat/completions":
            self._send(self.server.answer(body))
        elif self.path == "/tokenize" and self.server.ids:
            self._send((200, {}, {"tokens": self.server.ids[body["prompt"]]}))
        else:
            self._send(self.server.no_ids)

    def _note(self) -> None:
        self.server.paths.append(f"{self.command} {self.path}")
        self.server.keys.append(self.headers["authorization"])

    def _send(self, answer: Answer) -> None:
        status, headers, body = answer
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"content-type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # nobody waits for the answer any more
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass
