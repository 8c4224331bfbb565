"""Helper that requests ingests of an ingester, as producers do, and reads their state."""

import uuid
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.ingest import IngestOptions, ReadOptions
from cutout.ingest.pending import request_ingest
from cutout.producers.producers import create_producer
from cutout.queue.bulk import begin_cancelling
from cutout.storage import Bucket

CSV = b"external_id,source\na,https://shop.example/a.jpg\nb,https://shop.example/b.jpg\n"


class Desk:
    """Requests ingests as producers do."""

    def __init__(self, engine: Engine, bucket: Bucket) -> None:
        self.engine = engine
        self._bucket = bucket

    def producer(self, name: str) -> uuid.UUID:
        with Session(self.engine) as session, session.begin():
            producer, _ = create_producer(session, name)
            return producer.id

    def ask(self, producer: uuid.UUID | None, source: str, *, key: str | None = None) -> uuid.UUID:
        with Session(self.engine) as session, session.begin():
            options = IngestOptions("n", reading=ReadOptions(foreign=True), producer_id=producer)
            return request_ingest(session, source, options, manifest_key=key)

    def upload(self, producer: uuid.UUID | None, content: bytes = CSV) -> uuid.UUID:
        key = f"manifests/uploads/{uuid.uuid4()}"
        self._bucket.put_pieces([content], key=key, media_type="text/csv")
        return self.ask(producer, "an upload", key=key)

    def cancel(self, batch_id: uuid.UUID) -> None:
        with self.engine.begin() as connection:
            begin_cancelling(connection, batch_id)

    def read(self, what: str, batch_id: uuid.UUID) -> Any:
        """A column or expression of the ingest."""
        query = text(f"SELECT {what} FROM ingests WHERE batch_id = :batch")  # noqa: S608 - a test's own
        with self.engine.connect() as connection:
            return connection.execute(query, {"batch": batch_id}).scalar_one()

    def is_read(self, batch_id: uuid.UUID) -> bool:
        return bool(self.read("finished_at IS NOT NULL AND error IS NULL", batch_id))

    def is_taken(self, batch_id: uuid.UUID) -> bool:
        return bool(self.read("deaths > 0", batch_id))

    def error(self, batch_id: uuid.UUID) -> str:
        return str(self.read("concat_ws('|', code, error)", batch_id))

    def set_deaths(self, batch_id: uuid.UUID, deaths: int) -> None:
        """Set the count of readers that died with the ingest."""
        with self.engine.begin() as connection:
            connection.execute(
                text("UPDATE ingests SET deaths = :deaths WHERE batch_id = :batch"),
                {"deaths": deaths, "batch": batch_id},
            )
