"""Records of a manifest, the pictures that they name, and rejects."""

from dataclasses import dataclass
from typing import Any

from cutout.enums import Priority, ReturnForm

LONGEST_RECORD = 1_048_576
"""Maximum characters of a record, and of a line. A longer one is no product but a damaged file."""

LONGEST_SHOWN = 200


class ManifestError(Exception):
    """The manifest cannot be read (further); the text says where and what to do."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that a record names. `source` is not resolved here.

    `version` identifies the source's present state; None if the source has none. `made` marks an id that was
    made of a product's id and a number. `position` orders the pictures of one id.
    """

    external_id: str
    source: str
    return_form: ReturnForm | None
    priority: Priority | None
    metadata: dict[str, str] | None
    version: str | None = None
    made: bool = False
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """A value that cannot become a picture, cut to 200 characters.

    `column` is empty if the whole record is at fault.
    """

    line: int
    column: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """A row, object or item. `line` is its first line, counted from 1.

    `cells` is the content as read, to write the record back: a tuple of a delimited file's cells, a decoded
    NDJSON object, or lists of an XML item's texts by element (`g:id`, `g:shipping/g:price`). An NDJSON line
    that is no object is the only member of a tuple. With `named` each reject is a picture whose id turned out
    to be another picture's once all rows were read.
    """

    line: int
    cells: tuple[str, ...] | dict[str, Any]
    pictures: tuple[Picture, ...]
    rejects: tuple[Reject, ...]
    named: bool = False


RecordContent = tuple[tuple[Picture, ...], tuple[Reject, ...]]
"""Pictures and rejects of a record."""


def reject(line: int, column: str, value: str, reason: str) -> Reject:
    return Reject(line, column[:LONGEST_SHOWN], value[:LONGEST_SHOWN], reason)
