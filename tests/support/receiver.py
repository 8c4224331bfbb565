"""A producer's server that takes webhooks, on loopback: it keeps each request and answers as it is told."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from svix.webhooks import Webhook

from tests.support.machine import scaled


@dataclass(frozen=True, slots=True)
class Message:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verify(self, secret: str) -> None:
        """By another library than the one that signs; raises its WebhookVerificationError."""
        Webhook(secret).verify(self.body, self.headers)


# What a request is answered: a status, a status with headers, or whatever a function does with the handler.
Answer = int | tuple[int, dict[str, str]] | Callable[[BaseHTTPRequestHandler], None]


class Receiver:
    """Answers 204, or what was said for the next requests, one after the other."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.answers: list[Answer] = []
        self.always: Answer = 204

    def url(self, path: str = "/hook") -> str:
        return f"http://{self.host}{path}"

    def wait_for(self, count: int, *, within_s: float = 20.0) -> list[Message]:
        """The messages once there are so many."""
        deadline = time.monotonic() + scaled(within_s)
        while len(self.messages) < count:
            assert time.monotonic() < deadline, f"{len(self.messages)} of {count} messages"
            time.sleep(0.02)
        return list(self.messages)

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.messages.append(Message(self.path, headers, body))
                answer = receiver.answers.pop(0) if receiver.answers else receiver.always
                if callable(answer):
                    self.close_connection = True
                    answer(self)
                    return
                status, more = (answer, {}) if isinstance(answer, int) else answer
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
