"""Row in `actions` of a batch that somebody added: its source's sort, and in the end what came of it."""

import uuid
from enum import StrEnum

from sqlalchemy import Connection, func, update

from cutout.enums import ActionKind
from cutout.ingest.pending import is_on_the_web
from cutout.models import ACTIONS
from cutout.models.database import Database
from cutout.producers.action_record import Extent, about_batch, record
from cutout.producers.actors import Asked


class SourceSort(StrEnum):
    """Sort of the source of an added batch."""

    LIST = "list of jobs"
    UPLOAD = "upload"
    ADDRESS = "address"
    BUCKET = "bucket prefix"
    FILES = "files"

    @classmethod
    def of(cls, source: str, *, is_uploaded: bool = False) -> "SourceSort":
        """The sort of what `cutout ingest` takes, or of an upload."""
        if is_uploaded:
            return cls.UPLOAD
        if is_on_the_web(source):
            return cls.ADDRESS
        return cls.BUCKET if source.startswith("s3://") else cls.FILES


def record_added(
    database: Database, asked: Asked, batch_id: uuid.UUID, sort: SourceSort, jobs: int | None = None
) -> uuid.UUID:
    """Record that the batch was added, in the transaction that makes it; returns the id of the action.

    `jobs` is None while it is not known how many come of it.
    """
    extent = Extent(jobs or 0, jobs)
    return record(
        database,
        asked,
        ActionKind.ADD_BATCH,
        about_batch(database, batch_id),
        extent,
        options={"source": sort},
    )


def count_added(connection: Connection, batch_id: uuid.UUID, jobs: int, kind: str) -> None:
    """Write down how many jobs came of what kind of source; nothing for a batch that a schedule made."""
    connection.execute(
        update(ACTIONS)
        .where(ACTIONS.c.batch_id == batch_id, ACTIONS.c.kind == ActionKind.ADD_BATCH)
        .values(changed=jobs, options=ACTIONS.c.options.op("||")(func.jsonb_build_object("kind", kind)))
    )
