"""As light a client as can be, so that the server is measured and not this."""

import asyncio
import time
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Answer:
    """A response, the time of its first line (perf_counter) and its duration in seconds."""

    status: int
    body: bytes
    came_at: float
    seconds: float


class Client:
    """One connection, kept open; a request at a time."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._headers = f"Host: localhost\r\nAuthorization: Bearer {key}\r\n\r\n"

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def get(self, path: str) -> Answer:
        """The answer to one GET; its body must have a length."""
        began_at = time.perf_counter()
        self._writer.write(f"GET {path} HTTP/1.1\r\n{self._headers}".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        came_at = time.perf_counter()
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
        body = await self._reader.readexactly(length)
        return Answer(int(lines[0].split()[1]), body, came_at, came_at - began_at)
