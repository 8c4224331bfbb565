"""Outputs that were made before of the same purchase: made once, whoever asks."""

import uuid
from dataclasses import dataclass

from sqlalchemy import Connection, Uuid, func, or_, select

from cutout.enums import OutputState
from cutout.models import OUTPUTS, constant
from cutout.models.columns import NIL_OWNER
from cutout.outputs.versions import version_of
from cutout.queue.outputs.claim import NIL_UUID, ClaimedOutput, ClaimedPicture

STORED = ("key", "sha256", "media_type", "size_bytes")
COPIED = ("version", *STORED, "width", "height", "factor", "measures", "problems", "note")


@dataclass(frozen=True, slots=True)
class MadeBefore:
    """An output of another job, or of the same job under another name, with its object in the bucket.

    `file` is the template by which its object is named, None for the default.
    """

    job_id: uuid.UUID
    name: str
    key: str | None
    sha256: bytes | None
    media_type: str | None
    size_bytes: int | None
    file: str | None


def find_made(
    connection: Connection, picture: ClaimedPicture, output: ClaimedOutput, recipe: str
) -> MadeBefore | None:
    """Find an output of this purchase by this recipe and its version today, for the same producer.

    One whose object has a default name comes first: it can be shared without a copy.
    """
    found = (
        select(*(OUTPUTS.c[name] for name in ("job_id", "name", *STORED, "file")))
        .where(
            OUTPUTS.c.bought_sha256 == picture.bought.sha256,
            OUTPUTS.c.recipe == recipe,
            OUTPUTS.c.source_sha256.is_not_distinct_from(picture.source_sha256),
            func.coalesce(OUTPUTS.c.producer_id, NIL_OWNER, type_=Uuid) == (picture.producer_id or NIL_UUID),
            OUTPUTS.c.version == version_of(recipe),
            OUTPUTS.c.state == constant(OutputState.MADE),
            # With a note it is smaller than was asked for; its source may be there again.
            OUTPUTS.c.note.is_(None),
            or_(OUTPUTS.c.job_id != output.job_id, OUTPUTS.c.name != output.name),
        )
        .order_by(OUTPUTS.c.file.is_not(None), OUTPUTS.c.job_id)
        .limit(1)
    )
    row = connection.execute(found).first()
    return None if row is None else MadeBefore(*tuple(row))
