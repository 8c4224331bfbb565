"""Server-sent events, parsed as the HTML standard has them, of lines that end in LF or CRLF.

An event has at most 8 MiB.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cutout_client.errors import BrokenAnswerError

MOST_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """An event with its name and data; `id` is the last one given, which `Last-Event-ID` sends back."""

    name: str
    data: str
    id: str | None


class EventParser:
    """A parser of one stream; `feed` takes its bytes as they come."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[str] = []
        self._held_bytes = 0
        self._id: str | None = None

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """Yield the events that are complete. Raises BrokenAnswerError for one that is too large."""
        lines = (self._rest + piece).replace(b"\r\n", b"\n").split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            yield from self._line(line.removesuffix(b"\r"))
        if len(self._rest) + self._held_bytes > MOST_BYTES:
            raise BrokenAnswerError(f"an event has more than {MOST_BYTES} bytes")

    def _line(self, line: bytes) -> Iterator[ServerEvent]:
        if not line:
            if self._data:
                yield ServerEvent(self._name or "message", "\n".join(self._data), self._id)
            self._name, self._data, self._held_bytes = "", [], 0
            return
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode(errors="replace")
        if name == b"event":
            self._name = text
        elif name == b"data":
            self._data.append(text)
            self._held_bytes += len(line) + 1
        elif name == b"id" and "\0" not in text:
            self._id = text
