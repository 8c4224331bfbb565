"""Requests and their bodies as data; a transport makes bytes of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

File = bytes | BinaryIO | str | Path
# Called with the bytes sent so far and all bytes.
Progress = Callable[[int, int], None]
Query = tuple[tuple[str, str], ...]

PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to be sent: bytes, a path, or an open file that can be read from its start more than once."""

    source: File
    progress: Progress | None = None

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The file at its start."""
        if isinstance(self.source, str | Path):
            with Path(self.source).open("rb") as file:
                yield file
        elif isinstance(self.source, bytes):
            yield BytesIO(self.source)
        else:
            self.source.seek(0)
            yield self.source

    def size(self) -> int:
        """Its bytes."""
        with self.opened() as file:
            return file.seek(0, 2)


@dataclass(frozen=True, slots=True)
class JsonBody:
    """A body of JSON."""

    value: Any


@dataclass(frozen=True, slots=True)
class FormBody:
    """A multipart form with fields and one file."""

    fields: Mapping[str, Any]
    name: str
    upload: Upload


@dataclass(frozen=True, slots=True)
class FileBody:
    """A file as the body."""

    upload: Upload
    media_type: str


Body = JsonBody | FormBody | FileBody


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `target` is a path of the API, or a whole address (a link), which gets no key.

    `wait_s` is how long the API may hold its answer. `repeatable`: sent twice, it has its effect once.
    """

    method: str
    target: str
    query: Query = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    wait_s: float = 0.0
    repeatable: bool = True


def query_of(options: Mapping[str, Any]) -> Query:
    """Parameters of a query: None is left out, a list is repeated."""
    pairs: list[tuple[str, str]] = []
    for name, value in options.items():
        if value is None:
            continue
        values = value if isinstance(value, list | tuple | set | frozenset) else [value]
        pairs += [(name, _text(each)) for each in values]
    return tuple(pairs)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"the time {value.isoformat()} has no zone; use datetime.now(UTC) or the like")
        return value.isoformat()
    return str(value)
