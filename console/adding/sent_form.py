"""Forms with files, read piece by piece while they come: the fields first, then the files one by one."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from console.faults import PageError

MOST_FIELDS = 60
LONGEST_FIELD = 8192
# Of a file's name; a longer one is cut, and is no id then.
LONGEST_NAME = 1000

Fields = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class _Begin:
    """The begin of a part. `file_name` is None for a field."""

    name: str
    file_name: str | None


class _End:
    """The end of a part."""


_Event = _Begin | _End | bytes


class SentForm:
    """A multipart form in pieces of any size. To be read once, in order: `fields`, then `files`."""

    def __init__(self, media_type: str, pieces: Iterator[bytes]) -> None:
        """Raises PageError, 415, if it is no such form."""
        kind, options = parse_options_header(media_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise PageError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "This form must be sent as multipart/form-data.",
                "Send it from the page “Add work”.",
            )
        try:
            self._events = _events(boundary, pieces)
        except FormParserError as error:
            raise _damaged(error) from None
        self._pending: _Begin | None = None

    def fields(self) -> dict[str, list[str]]:
        """The fields before the first file. Raises PageError, 413 or 422, for too many or too long ones."""
        found: dict[str, list[str]] = {}
        number = 0
        for event in self._events:
            if not isinstance(event, _Begin):
                continue
            if event.file_name is not None:
                self._pending = event
                break
            number += 1
            if number > MOST_FIELDS:
                raise PageError(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    f"The form has more than {MOST_FIELDS} fields.",
                    "Load the page again, and send that form.",
                )
            found.setdefault(event.name, []).append(self._text(event.name))
        return found

    @property
    def first_name(self) -> str | None:
        """The name of the first file, once the fields are read; None without one."""
        return None if self._pending is None or not self._pending.file_name else self._pending.file_name

    def files(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The files with their names; each is to be read to its end before the next.

        A file field that nobody filled is left out. Raises PageError, 422, for a field behind a file.
        """
        pending, self._pending = self._pending, None
        if pending is not None and (file := self._file(pending)):
            yield file
        for event in self._events:
            if not isinstance(event, _Begin):
                continue
            if event.file_name is None:
                raise PageError(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    "The form has a field behind its files.",
                    "Load the page again, and send that form.",
                )
            if file := self._file(event):
                yield file

    def _file(self, begin: _Begin) -> tuple[str, Iterator[bytes]] | None:
        data = self._data()
        if begin.file_name:
            return begin.file_name, data
        first = next(data, b"")
        return ("picture", _chained(first, data)) if first else None

    def _data(self) -> Iterator[bytes]:
        for event in self._events:
            if isinstance(event, _End):
                return
            if isinstance(event, bytes):
                yield event

    def _text(self, name: str) -> str:
        value = bytearray()
        for data in self._data():
            value += data
            if len(value) > LONGEST_FIELD:
                raise PageError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"The field “{name[:50]}” is longer than {LONGEST_FIELD:,} bytes.",
                    "Shorten it.",
                )
        return value.decode("utf-8", "replace").replace("\0", "")


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _events(boundary: bytes, pieces: Iterator[bytes]) -> Iterator[_Event]:
    """Parse the pieces. Raises PageError for a form that is damaged, or that breaks off."""
    events: deque[_Event] = deque()
    ended: list[bool] = []
    parser = _parser(boundary, events, lambda: ended.append(True))

    def parsed() -> Iterator[_Event]:
        for piece in pieces:
            try:
                parser.write(piece)
            except FormParserError as error:
                raise _damaged(error) from None
            while events:
                yield events.popleft()
        if not ended:
            raise _damaged("it has no end")

    return parsed()


def _parser(boundary: bytes, events: deque[_Event], on_end: Callable[[], None]) -> MultipartParser:
    header: list[bytes] = [b"", b""]
    disposition = b""

    def on_part_begin() -> None:
        nonlocal disposition
        disposition = b""

    def on_header_field(data: bytes, start: int, end: int) -> None:
        header[0] += data[start:end]

    def on_header_value(data: bytes, start: int, end: int) -> None:
        header[1] += data[start:end]

    def on_header_end() -> None:
        nonlocal disposition
        if header[0].lower() == b"content-disposition":
            disposition = header[1]
        header[:] = [b"", b""]

    def on_headers_finished() -> None:
        _, options = parse_options_header(disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        file_name = options.get(b"filename")
        events.append(_Begin(name, None if file_name is None else base_name(file_name)))

    def on_part_data(data: bytes, start: int, end: int) -> None:
        events.append(data[start:end])

    def on_part_end() -> None:
        events.append(_End())

    return MultipartParser(
        boundary,
        {
            "on_part_begin": on_part_begin,
            "on_header_field": on_header_field,
            "on_header_value": on_header_value,
            "on_header_end": on_header_end,
            "on_headers_finished": on_headers_finished,
            "on_part_data": on_part_data,
            "on_part_end": on_part_end,
            "on_end": on_end,
        },
    )


def base_name(sent: bytes) -> str:
    """A file's name without folders and characters that no archive can hold, at most LONGEST_NAME long."""
    text = sent.decode("utf-8", "replace").replace("\\", "/").replace("\0", "")
    return text.rpartition("/")[2][:LONGEST_NAME]


def _damaged(why: object) -> PageError:
    return PageError(
        HTTPStatus.BAD_REQUEST, f"The form came damaged: {why}.", "Send it again; nothing was stored."
    )
