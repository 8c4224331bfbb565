"""What a result's bytes are, whatever was ordered."""

from dataclasses import dataclass, field

from cutout.network import Blob

UNKNOWN = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """Bytes that came for a paid call. `extension` without a dot; no size in pixels if it is no picture.

    What is no picture is never called by its own type: a page must not run where the bucket serves it.
    """

    data: Blob = field(repr=False)
    media_type: str = UNKNOWN
    extension: str = "bin"
    width: int | None = None
    height: int | None = None
