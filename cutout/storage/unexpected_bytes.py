"""Bytes that were paid for and are not what was bought: kept in the bucket until a person decides."""

import uuid
from dataclasses import asdict, dataclass
from typing import Any, Self

PREFIX = "unexpected/"
CODE = "RESULT_UNEXPECTED"


@dataclass(frozen=True, slots=True)
class Unexpected:
    """An object in the bucket, and why it did not become the cutout; in `jobs.unexpected` as JSON.

    `width` and `height` (pixels) are None if it is no picture that could be read. `looks` counts downloads
    that gave something unexpected. `accepted`: a person has made it the cutout, and its copy is next.
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
        """The value of the column."""
        return None if stored is None else cls(**stored)

    def as_json(self) -> dict[str, Any]:
        """The same as the column holds it."""
        return asdict(self)

    @property
    def is_picture(self) -> bool:
        """Whether it can become a cutout, which has a size in pixels."""
        return self.width is not None and self.height is not None


def prefix_of(job_id: uuid.UUID) -> str:
    """Where a job's unexpected results lie, each under a name of its own."""
    return f"{PREFIX}{job_id}/"


def unexpected_key(job_id: uuid.UUID, sha256: str, extension: str) -> str:
    """The key of one of them: by its content, so that no paid result replaces another."""
    return f"{prefix_of(job_id)}{sha256[:16]}.{extension}"
