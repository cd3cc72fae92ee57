"""A real HTTP server that takes what is posted to it, and answers as it is told."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class Post:
    """One request as it came, and how it was answered."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Receiver(ThreadingHTTPServer):
    """Answers with `statuses` in turn, then 200; while `silent`, not at all."""

    daemon_threads = True

    def __init__(
        self,
        *statuses: int,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "https" if tls else "http"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.statuses = list(statuses)
        self.headers = dict(headers or {})
        self.posts: list[Post] = []
        self.changed = threading.Condition()
        self.silent = threading.Event()
        self.released = threading.Event()
        self.hanging = threading.Event()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}/hooks/secret-path"

    def wait_for(self, accepted: int, seconds: float = WAIT_SECONDS) -> list[Post]:
        """The posts that were accepted, once there are so many."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.accepted) >= accepted, seconds)
        return self.accepted

    @property
    def accepted(self) -> list[Post]:
        return [post for post in self.posts if post.status < 300]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        receiver = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        if receiver.silent.is_set():
            receiver.hanging.set()
            receiver.released.wait(60)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        with receiver.changed:
            status = receiver.statuses.pop(0) if receiver.statuses else 200
            receiver.posts.append(Post(self.path, headers, body, status))
            receiver.changed.notify_all()
        self.send_response(status)
        for name, value in receiver.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def receiving(
    *statuses: int, headers: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """A receiver that serves on a thread."""
    receiver = Receiver(*statuses, headers=headers, tls=tls)
    thread = threading.Thread(target=receiver.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        receiver.shutdown()
        thread.join()
        receiver.server_close()
