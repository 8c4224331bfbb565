"""A browser's tab, as light as can be, so that the server is measured and not this."""

import asyncio
import time
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlencode

from console.cookies import LOCAL_NAME


@dataclass(frozen=True)
class Page:
    """An answer and the seconds until its first byte; `size` is that of its body as it was sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def size(self) -> int:
        return len(self.body)


class Tab:
    """One connection with a session's cookie; a request at a time."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        cookie = f"{LOCAL_NAME.format(port)}={token}"
        self._common = f"Host: 127.0.0.1:{port}\r\nCookie: {cookie}\r\nAccept-Encoding: gzip\r\n"

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def get(self, path: str, **headers: str) -> Page:
        """The answer to one GET, by the header names with `_` instead of `-`."""
        if self._reader.at_eof():
            # The server closes what is idle for some seconds.
            await self.__aenter__()
        began_at = time.perf_counter()
        status, found = await self._ask(path, headers)
        seconds = time.perf_counter() - began_at
        body = b""
        if found.get("transfer-encoding") == "chunked":
            while piece := await self._piece():
                body += piece
        elif "content-length" in found:
            body = await self._reader.readexactly(int(found["content-length"]))
        return Page(status, found, body, seconds)

    async def open_stream(self, path: str) -> int:
        """Open the event stream of the page; its status."""
        return (await self._ask(f"/console/events?{urlencode({'page': path, 'part': 'live'})}", {}))[0]

    async def event(self) -> bytes:
        """The next event of the stream."""
        return await self._piece()

    async def _ask(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self._writer.write(f"GET {path} HTTP/1.1\r\n{self._common}{lines}\r\n".encode())
        first, *rest = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        named = (line.partition(": ") for line in rest if line)
        return int(first.split()[1]), {name.lower(): value for name, _, value in named}

    async def _piece(self) -> bytes:
        length = int(await self._reader.readline(), 16)
        piece = await self._reader.readexactly(length)
        await self._reader.readline()
        return piece
