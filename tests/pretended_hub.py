"""A pretended Hugging Face hub: what its client asks to make a repository, send files to it, and fetch one."""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c" * 40


class PretendedHub:
    """Keeps files by repository; to be used in a ``with``. ``refuse`` is a status that answers every request.

    ``half`` is sent of each file, with the length of the whole. ``large`` files go the way of LFS: their bytes apart.
    So many requests are ``busy``: 429, to be tried again at once. ``later`` is what it asks to wait for, with
    ``refuse``, in seconds. It may take every request and answer none (``silent``), or send each to itself (``round``).
    """

    def __init__(
        self,
        refuse: int | None = None,
        half: bool = False,
        large: bool = False,
        busy: int = 0,
        later: int | None = None,
        silent: bool = False,
        round: bool = False,
    ) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.asked: list[str] = []
        self.refuse, self.half, self.large, self.busy = refuse, half, large, busy
        self.later, self.silent, self.round = later, silent, round
        self._closing = Event()
        self.objects: dict[str, bytes] = {}
        """What came by LFS, by its SHA-256."""

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def keep_silent(self) -> None:
        """Wait until the end."""
        self._closing.wait()

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: PretendedHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Make a repository, or take a commit."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self._asked("POST")
        if self._is_unwilling(send=True):
            return
        if self.hub.refuse is not None:
            self._refuse()
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            mode = {"uploadMode": "lfs" if self.hub.large else "regular", "shouldIgnore": False}
            self._json({"files": [{"path": file["path"], **mode} for file in json.loads(body)["files"]]})
        elif path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif "/paths-info/" in path:
            self._json(self._listed(path.removeprefix("/api/").partition("/paths-info/")[0], parse_qs(body.decode())))
        elif path.endswith("/commit/main"):
            self._commit(path.removeprefix("/api/").removesuffix("/commit/main"), body)
        else:
            self._json({"error": f"nothing is pretended at {path}"}, 404)

    def do_PUT(self) -> None:
        """Take the bytes of an object."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self._asked("PUT")
        self.hub.objects[path.rpartition("/")[2]] = body
        self._json({})

    def _batch(self, asked: dict[str, Any]) -> None:
        """Say where the bytes of objects go."""
        actions = [{"upload": {"href": f"{self.hub.address}/objects/{one['oid']}"}} for one in asked["objects"]]
        objects = [one | {"actions": where} for one, where in zip(asked["objects"], actions, strict=True)]
        self._json({"transfer": "basic", "objects": objects})

    def _listed(self, name: str, only: dict[str, list[str]]) -> list[dict[str, Any]]:
        files = self.hub.files.get(name, {})
        wanted = only.get("paths", list(files))
        return [
            {"type": "file", "path": path, "size": len(files[path]), "oid": hashlib.sha1(files[path]).hexdigest()}
            for path in wanted
            if path in files
        ]

    def _about(self, path: str, send: bool) -> None:
        """Say what a repository is, and which files it has."""
        kind, owner, repo, *rest = [*path.removeprefix("/api/").split("/"), "", ""]
        name = f"{kind}/{owner}/{repo}"
        if self.hub.refuse is not None:
            self._refuse(send)
        elif name not in self.hub.files:
            self._json({"error": "Repository not found"}, 404, send, {"X-Error-Code": "RepoNotFound"})
        elif rest[:1] == ["tree"]:
            self._json(self._listed(name, {}), send=send)
        else:
            siblings = [{"rfilename": file} for file in self.hub.files[name]]
            about = {"id": f"{owner}/{repo}", "sha": COMMIT, "private": False, "tags": [], "siblings": siblings}
            self._json(about | {"disabled": False, "gated": False, "downloads": 0, "likes": 0}, send=send)

    def do_HEAD(self) -> None:
        """Say what a file is."""
        self._file(send=False)

    def do_GET(self) -> None:
        """Send a file."""
        self._file(send=True)

    def _asked(self, method: str) -> str:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{method} {path}")
        return path

    def _is_unwilling(self, send: bool) -> bool:
        """Say nothing, or send the client to where it is, if it is so."""
        if self.hub.silent:
            self.hub.keep_silent()
            self.close_connection = True
        elif self.hub.round:
            self._json({}, 302, send, {"Location": f"{self.hub.address}{self.path}"})
        return self.hub.silent or self.hub.round

    def _refuse(self, send: bool = True) -> None:
        later = {} if self.hub.later is None else {"Retry-After": str(self.hub.later)}
        self._json({"error": "refused"}, self.hub.refuse or 500, send, later)

    def _is_busy(self, send: bool) -> bool:
        """Answer that it is too much, if it is."""
        if self.hub.busy:
            self.hub.busy -= 1
            self._json({"error": "too many requests"}, 429, send, {"Retry-After": "0"})
            return True
        return False

    def _create(self, asked: dict[str, Any]) -> None:
        owner = asked.get("organization") or "me"
        kind = asked.get("type") or "model"
        name = f"{kind}s/{owner}/{asked['name']}"
        there = name in self.hub.files
        self.hub.files.setdefault(name, {})
        self.hub.private.setdefault(name, asked.get("private") is True or asked.get("visibility") == "private")
        url = f"{self.hub.address}/{name.removeprefix('models/')}"
        self._json({"url": url, "name": f"{owner}/{asked['name']}", "id": "1"}, 409 if there else 200)

    def _commit(self, name: str, body: bytes) -> None:
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "lfsFile":
                self.hub.files[name][entry["value"]["path"]] = self.hub.objects[entry["value"]["oid"]]
            if entry["key"] == "file":
                self.hub.files[name][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        self._json({"success": True, "commitOid": COMMIT, "commitUrl": f"{self.hub.address}/{name}/commit/{COMMIT}"})

    def _file(self, send: bool) -> None:
        path = self._asked("GET" if send else "HEAD")
        if self._is_unwilling(send) or self._is_busy(send):
            return
        if path.startswith("/api/"):
            self._about(path, send)
            return
        if self.hub.refuse is not None:
            self._refuse(send)
            return
        name, _, rest = path.strip("/").partition("/resolve/")
        content = self.hub.files.get(name, {}).get(rest.partition("/")[2])
        if content is None:
            code = "EntryNotFound" if name in self.hub.files else "RepoNotFound"
            self._json({"error": "no such file"}, 404, send, {"X-Error-Code": code})
            return
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        start, last = self._range(len(content))
        content = content[start : last + 1]
        self.send_response(206 if "Range" in self.headers else 200)
        for header, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(header, value)
        self.end_headers()
        if send:
            self.wfile.write(content[: len(content) // 2] if self.hub.half else content)
            self.close_connection = self.hub.half

    def _range(self, length: int) -> tuple[int, int]:
        """Return the first and the last byte that are asked for."""
        start, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        return int(start or 0), min(int(last or length - 1), length - 1)

    def _json(self, answer: Any, status: int = 200, send: bool = True, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        for header, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if send:
            self.wfile.write(body)
