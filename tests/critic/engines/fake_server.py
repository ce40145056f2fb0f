"""A chat server of its own on the loopback, whose every answer the test chooses."""

import contextlib
import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from critic.server import survey

KEY = "sk-very-secret-123"
NO_WAIT = {"retry-after-ms": "1"}
VLLM = {"id": "org/model", "owned_by": "vllm", "max_model_len": 4096}


class Fault(Enum):
    """How a request can end without an answer."""

    HANG = auto()  # nothing comes, until the server is told to stop
    HALF = auto()  # the body ends in its middle
    DROP = auto()  # the connection is closed


Answer = tuple[int, dict[str, str], object] | Fault
Reply = Callable[[dict[str, Any]], Answer]


def chat(text: str | None = "hello", finish: str | None = "stop", **more: object) -> dict[str, Any]:
    """A chat completion, as such servers write it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish} | more
    return {
        "id": "x",
        "object": "chat.completion",
        "model": "org/model",
        "choices": [choice],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }


PLAIN = chat("Hello.")


def likely(**tokens: float) -> dict[str, Any]:
    """A chat completion of one token, the first of ``tokens``, with the log-probabilities of all of them."""
    listed = [{"token": token, "logprob": value, "bytes": None} for token, value in tokens.items()]
    return chat(next(iter(tokens)), "length", logprobs={"content": [listed[0] | {"top_logprobs": listed}]})


class FakeServer(ThreadingHTTPServer):
    """Gives the queued answers in order, then the standing one, or asks ``reply``. Keeps what it was asked and sent.

    What it ``offers`` it tells to the engine's survey, which is not kept. ``first_answer`` replaces the answer to the
    survey's first request, without which no engine is opened, and ``survey_answer`` those to the others.
    """

    daemon_threads = True
    request_queue_size = 256  # all of a run's first requests come at once

    def __init__(self, port: int = 0, reply: Reply | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.models: Answer = (200, {}, {"object": "list", "data": [{"id": "org/model", "created": 1, "root": "/w"}]})
        self.queue: deque[Answer] = deque()
        self.standing: Answer = (200, {}, chat())
        self.offers = {survey.LOGPROBS, survey.STRUCTURED}
        self.survey_answer: Answer | None = None
        self.first_answer: Answer | None = None
        self.ids: dict[str, list[int]] = {}
        self.no_ids: Answer = (404, {}, {"detail": "Not Found"})
        self.asked: list[dict[str, Any]] = []
        self.sent: list[tuple[dict[str, Any], Answer]] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.release = threading.Event()
        self.release.set()
        self.stopped = threading.Event()
        self.most_at_once = self._now = 0
        self._reply = reply
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def answer(self, body: dict[str, Any]) -> Answer:
        probe = self._survey(body)
        if probe is not None:
            is_first = probe == (200, {}, PLAIN)
            return (self.first_answer if is_first else self.survey_answer) or probe
        with self._lock:
            self.asked.append(body)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        self.release.wait(10)
        with self._lock:
            self._now -= 1
            if self._reply is not None:
                return self._reply(body)
            return self.queue.popleft() if self.queue else self.standing

    def _survey(self, body: dict[str, Any]) -> Answer | None:
        asked = next((m["content"] for m in body["messages"] if m["role"] == "user"), "")
        match asked.rpartition("\n\n")[2]:
            case survey.ASK_PLAIN:
                return 200, {}, PLAIN
            case survey.ASK_LETTER:
                name = "token_id:{}" if "logprob_token_ids" in body else "{}"
                ids = body.get("logprob_token_ids", ["A", "B"])
                logprobs = likely(**{name.format(i): -1.0 for i in ids})
                return 200, {}, logprobs if survey.LOGPROBS in self.offers else chat("A", "length")
            case survey.ASK_GREETING:
                return 200, {}, chat('{"word": "pear"}' if survey.STRUCTURED in self.offers else "Hello!")
            case survey.ASK_COLOURS:
                return 200, {}, chat(" green blue" if survey.CONTINUED in self.offers else "red green", "length")
        return None

    def serve(self) -> threading.Thread:
        """Serve in a thread of its own, until `die`."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        return thread

    def die(self) -> None:
        """Stop as a process that is killed does: no request is answered any more, on no connection."""
        self.stopped.set()
        self.release.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # the other side was faster
                connection.shutdown(socket.SHUT_RDWR)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)


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
            answer = self.server.answer(body)
            if self._send(answer):
                self.server.sent.append((body, answer))
        elif self.path == "/tokenize" and self.server.ids:
            self._send((200, {}, {"tokens": self.server.ids[body["prompt"]]}))
        else:
            self._send(self.server.no_ids)

    def _note(self) -> None:
        self.server.paths.append(f"{self.command} {self.path}")
        self.server.keys.append(self.headers["authorization"])

    def _send(self, answer: Answer) -> bool:
        """Send an answer; False where it did not get out as a whole."""
        if answer is Fault.HANG:
            self.server.stopped.wait(600)
        if self.server.stopped.is_set() or answer in (Fault.HANG, Fault.DROP):
            self.close_connection = True
            return False
        half = answer is Fault.HALF
        status, headers, body = (200, {}, chat()) if isinstance(answer, Fault) else answer
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.close_connection = self.close_connection or half
        self.send_response(status)
        for name, value in ({"content-type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        try:
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if half else data)
        except OSError:  # nobody waits for the answer any more
            self.close_connection = True
            return False
        return not half

    def log_message(self, format: str, *args: object) -> None:
        pass
