"""Paid results with unexpected content: kept in the bucket until a person decides."""

import uuid
from dataclasses import asdict, dataclass
from typing import Any, Self

PREFIX = "unexpected/"
CODE = "RESULT_UNEXPECTED"


@dataclass(frozen=True, slots=True)
class Unexpected:
    """An object in the bucket, and the reason why it is not the cutout; JSON in `jobs.unexpected`.

    `width` and `height` (pixels) are None if it is no readable picture. `looks` counts the downloads with
    unexpected content. `accepted`: a person has accepted it as the cutout, and its copy is next.
    """

    key: str
    reason: str
    sha256: str
    media_type: str
    extension: str
    size_bytes: int
    width: int | None = None
    height: int | None = None
    looks: int = 1
    accepted: bool = False

    @classmethod
    def of(cls, stored: dict[str, Any] | None) -> Self | None:
        """Build from the value of the column."""
        return None if stored is None else cls(**stored)

    def as_json(self) -> dict[str, Any]:
        """The value of the column."""
        return asdict(self)

    @property
    def is_picture(self) -> bool:
        """Whether it can be accepted as a cutout, which needs a size in pixels."""
        return self.width is not None and self.height is not None


def prefix_of(job_id: uuid.UUID) -> str:
    """The prefix of the keys of a job's unexpected results."""
    return f"{PREFIX}{job_id}/"


def unexpected_key(job_id: uuid.UUID, sha256: str, extension: str) -> str:
    """The key of an unexpected result: by its content, so that none replaces another."""
    return f"{prefix_of(job_id)}{sha256[:16]}.{extension}"
