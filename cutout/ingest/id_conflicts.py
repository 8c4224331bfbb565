"""Rejects for one external id that is said of two pictures."""

from collections.abc import Iterable
from typing import NamedTuple

from cutout.manifests import Reject
from cutout.manifests.records import reject

COLUMN = "external_id"


class Conflict(NamedTuple):
    """A picture whose external id and form are another one's; `first_line` is None if that has no line."""

    line: int
    external_id: str
    first_line: int | None


def rejects_of(conflicts: Iterable[Conflict]) -> list[Reject]:
    """A reject for each picture, however many forms of it were asked for."""
    return [_reject(conflict) for conflict in dict.fromkeys(conflicts)]


def _reject(conflict: Conflict) -> Reject:
    first = "a job of the batch" if conflict.first_line is None else f"line {conflict.first_line}"
    return reject(
        conflict.line,
        COLUMN,
        conflict.external_id,
        f"is the id of two pictures: {first} names one and line {conflict.line} another; give each its own"
        " id, or say `--many` if they are pictures of one product",
    )


def made_twice(line: int, external_id: str, lines: tuple[int, int]) -> Reject:
    """The reject for a picture whose id was made here, or is one that was made for another picture."""
    first, second = lines
    return reject(
        line,
        COLUMN,
        external_id,
        f"is the id of two pictures: it was made for one, and line {first} and line {second} name both; give"
        " one of them another id",
    )
