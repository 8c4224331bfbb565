"""A web server of a producer's, on loopback."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@contextmanager
def serve(pages: Mapping[str, bytes | str | int | Callable[[str], bytes]]) -> Iterator[str]:
    """Serve bytes at their paths, redirects where the page is text, or a bare status; gives `host:port`.

    A page that is a function makes its bytes from the query, the text after the question mark.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            page = pages.get(path, 404)
            if callable(page):
                page = page(query)
            body = page if isinstance(page, bytes) else b""
            self.send_response(page if isinstance(page, int) else 200 if isinstance(page, bytes) else 302)
            if isinstance(page, str):
                self.send_header("Location", page)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class WebServer:
    """A producer's server that knows ETags: 304 for what the client has already. Counts what it sends."""

    def __init__(self) -> None:
        self._pages: dict[str, tuple[bytes, str | None]] = {}
        self._sent: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self._moved: dict[str, str] = {}
        self._delayed: dict[str, float] = {}

    def serve(self, path: str, body: bytes, *, etag: str | None) -> str:
        """Serve a body from now on; returns its address."""
        self._pages[path] = (body, etag)
        return f"http://{self.host}{path}"

    def sent(self, path: str) -> int:
        """Count of the times that the whole body went out."""
        return self._sent[path]

    def asked(self, path: str) -> int:
        """Count of the requests for it."""
        return self._asked[path]

    def move(self, path: str, to: str) -> None:
        """Redirect from now on."""
        self._moved[path] = to

    def delay(self, path: str, seconds: float) -> None:
        """Answer after so many seconds from now on."""
        self._delayed[path] = seconds

    def __enter__(self) -> Self:
        pages, sent = self._pages, self._sent
        asked, moved, delayed = self._asked, self._moved, self._delayed

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked[self.path] += 1
                time.sleep(delayed.get(self.path, 0.0))
                if self.path in moved:
                    self.send_response(302)
                    self.send_header("Location", moved[self.path])
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                body, etag = pages[self.path]
                if etag is not None and self.headers.get("If-None-Match") == etag:
                    self.send_response(304)
                    self.end_headers()
                    return
                sent[self.path] += 1
                self.send_response(200)
                if etag is not None:
                    self.send_header("ETag", etag)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
