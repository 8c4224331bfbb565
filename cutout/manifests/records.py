"""What reading a manifest gives: records, the pictures that they name, and what cannot be used."""

from dataclasses import dataclass
from typing import Any

from cutout.enums import Priority, ReturnForm

LONGEST_RECORD = 1_048_576
"""Characters of one record, and of one line. What is longer is no product, but a file that is damaged."""

LONGEST_SHOWN = 200


class ManifestError(Exception):
    """Nothing (more) of the manifest can be read; the text says where and what to do."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture that a record names. What `source` means is not checked here.

    `version` is what its source says of its present state: another one, another picture; None: nothing.
    `made` says that the id was made of a product's and a number. `position` is the picture's place among
    those of its id.
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
    """A value that no picture can be made of; `value` is cut to 200 characters.

    `column` is empty where the whole record is at fault.
    """

    line: int
    column: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """A row, object or item. `line` is where it begins, counted from 1.

    `cells` is what the file said, to write the record back: a tuple of a delimited file's cells, an NDJSON
    object as it was decoded, or an XML item's texts by element (`g:id`, `g:shipping/g:price`) in lists. An
    NDJSON line that is no object is the only member of a tuple. With `named` each reject is a picture's,
    whose id was another one's once all rows were read.
    """

    line: int
    cells: tuple[str, ...] | dict[str, Any]
    pictures: tuple[Picture, ...]
    rejects: tuple[Reject, ...]
    named: bool = False


Found = tuple[tuple[Picture, ...], tuple[Reject, ...]]
"""What a record gives."""


def reject(line: int, column: str, value: str, reason: str) -> Reject:
    return Reject(line, column[:LONGEST_SHOWN], value[:LONGEST_SHOWN], reason)
