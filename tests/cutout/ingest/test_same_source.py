"""Runs whose source is as the last run saw it: it is listed, and not read."""

import uuid
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.enums import ReturnForm
from cutout.ingest import Ingest, IngestOptions
from cutout.ingest.change_detection import ChangeDetection, keep_outcomes
from cutout.ingest.pending import request_ingest
from cutout.settings import Settings
from cutout.storage import Bucket
from worker.ingester.loop import Ingester

NAMES = ("a", "b", "c", "d")
END = """
    UPDATE jobs SET state = 'succeeded', queue_state = NULL, finished_at = now(), key = 'k',
        sha256 = '\\x00', media_type = 'image/png', size_bytes = 1, width = 1, height = 1
    WHERE state = 'queued'
"""
NO_CUTOUT = "key = NULL, sha256 = NULL, media_type = NULL, size_bytes = NULL, width = NULL, height = NULL"
NUMBERS = "records, pictures, jobs, rejects, duplicates, unchanged, changes, error"


class Nights:
    """Nights of one schedule; `read` counts those that read the source."""

    def __init__(self, settings: Settings, engine: Engine, bucket: Bucket) -> None:
        self.engine, self.bucket, self.schedule = engine, bucket, uuid.uuid4()
        self.read = 0
        self.batch_id = uuid.uuid4()
        self._ingester = Ingester(settings, engine, bucket)

    def run(self, forms: tuple[ReturnForm, ...] = (ReturnForm.RGBA,)) -> tuple[object, ...]:
        """Run one; its numbers, and the ids of its jobs."""
        options = IngestOptions("night", forms=forms, schedule_id=self.schedule, min_source_share=0.1)
        with Session(self.engine) as session, session.begin():
            self.batch_id = request_ingest(session, f"s3://{self.bucket.name}/drop/", options)
        assert self._ingester.serve()
        with self.engine.connect() as connection:
            asked = {"batch": self.batch_id}
            query = f"SELECT {NUMBERS} FROM ingests WHERE batch_id = :batch"  # noqa: S608 - our words
            numbers = connection.execute(text(query), asked).one()
            jobs = connection.scalars(
                text("SELECT external_id FROM jobs WHERE batch_id = :batch ORDER BY virtual_start"), asked
            )
            return *numbers, *jobs

    def execute(self, statement: str, **values: object) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def put(self, name: str, data: bytes = b"x") -> None:
        self.bucket.put_cutout(data, key=f"drop/{name}.jpg", media_type="image/jpeg", metadata={})


@pytest.fixture
def nights(
    settings: Settings, engine: Engine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Nights]:
    """A prefix of four pictures."""
    found = Nights(settings, engine, bucket)
    reads = Ingest._read

    def counted(*arguments: object, **options: object) -> None:
        found.read += 1
        reads(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Ingest, "_read", counted)
    for name in NAMES:
        found.put(name)
    yield found
    for name in (*NAMES, "e"):
        bucket.delete(f"drop/{name}.jpg")


def state(of: str, queue_state: str = "NULL") -> Callable[[Nights], None]:
    """One job is in this state after the first night."""

    def change(nights: Nights) -> None:
        nights.execute(
            f"UPDATE jobs SET state = '{of}', queue_state = {queue_state}, code = 'X',"  # noqa: S608 - our words
            f" finished_at = CASE WHEN :ended THEN now() END, {NO_CUTOUT} WHERE external_id = 'b'",
            ended=of in {"failed", "cancelled"},
        )

    return change


def deleted(nights: Nights) -> None:
    """As a deletion of the batch does it."""
    with nights.engine.begin() as connection:
        jobs = connection.scalars(
            text("SELECT id FROM jobs WHERE batch_id = :batch"), {"batch": nights.batch_id}
        )
        keep_outcomes(connection, nights.batch_id, list(jobs))
        connection.execute(text(f"UPDATE jobs SET external_id = NULL, deleted_at = now(), {NO_CUTOUT}"))  # noqa: S608 - our words


def failed_and_deleted(nights: Nights) -> None:
    state("failed")(nights)
    deleted(nights)


def interrupted(nights: Nights) -> None:
    """A later run stored a part of what it read, and ended."""
    nights.execute("UPDATE pictures SET seen_in = gen_random_uuid() WHERE external_id = 'c'")


@pytest.mark.parametrize(
    ("change", "is_read"),
    [
        (lambda _: None, False),
        (state("queued", "'ready'"), False),
        (state("held"), False),
        (state("held", "'blocked'"), True),
        (state("failed"), True),
        (state("cancelled"), True),
        (failed_and_deleted, True),
        (interrupted, True),
        (lambda nights: nights.put("e"), True),
        (lambda nights: nights.put("b", b"another"), True),
        (lambda nights: nights.put("b", b"longer"), True),
        (lambda nights: nights.bucket.delete("drop/b.jpg"), True),
        (lambda nights: nights.execute("DELETE FROM pictures WHERE external_id = 'b'"), True),
        (lambda nights: nights.execute("UPDATE pictures SET version = NULL WHERE external_id = 'b'"), True),
        (lambda nights: nights.execute("UPDATE ingests SET rejects = 1, pictures = pictures + 1"), True),
        (lambda nights: nights.execute("UPDATE ingests SET identity = NULL"), True),
        (lambda nights: nights.execute("UPDATE ingests SET error = 'it was cancelled'"), True),
        (lambda nights: nights.execute("DELETE FROM ingests"), True),
    ],
)
def test_is_read_if_a_picture_may_be_enqueued(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, change: Callable[[Nights], None], *, is_read: bool
) -> None:
    """Whether it is or not, a second night has the numbers and the jobs of one that always reads."""
    nights.run()
    nights.execute(END)
    change(nights)
    nights.read = 0
    with monkeypatch.context() as always:
        always.setattr(ChangeDetection, "find_same", lambda *_: None)
        expected = _rolled_back(nights)
    assert nights.read == 1
    assert nights.run() == expected
    assert nights.read == 1 + is_read


def _rolled_back(nights: Nights) -> tuple[object, ...]:
    """The numbers of a night of which nothing stays."""
    kept = {
        table: f"CREATE TABLE kept_{table} AS TABLE {table}"
        for table in ("pictures", "ingests", "jobs", "batches")
    }
    for statement in kept.values():
        nights.execute(statement)
    found = nights.run()
    nights.execute("DELETE FROM jobs WHERE id NOT IN (SELECT id FROM kept_jobs)")
    nights.execute("DELETE FROM pictures")
    nights.execute("INSERT INTO pictures TABLE kept_pictures")
    nights.execute("DELETE FROM ingests WHERE batch_id NOT IN (SELECT batch_id FROM kept_ingests)")
    for table in kept:
        nights.execute(f"DROP TABLE kept_{table}")
    return found


def test_nights_without_changes_follow_each_other(nights: Nights) -> None:
    """None of them reads, and what changes at last is found."""
    nights.run((ReturnForm.RGBA, ReturnForm.MASK))
    nights.execute(END)
    forms = (ReturnForm.RGBA, ReturnForm.MASK)
    same = {"new": 0, "changed": 0, "again": 0, "unchanged": 4, "vanished": 0}
    for _ in range(2):
        assert nights.run(forms) == (4, 8, 0, 0, 0, 8, same, None)
    assert nights.read == 1
    nights.put("b", b"another")
    assert nights.run(forms)[-2:] == ("b", "b")
    nights.execute(END)
    assert nights.run(forms)[:6] == (4, 8, 0, 0, 0, 8)
    assert nights.read == 2


def test_other_forms_are_read(nights: Nights) -> None:
    """They are part of what was bought."""
    nights.run()
    nights.execute(END)
    assert len(nights.run((ReturnForm.MASK,))[8:]) == 4
    assert nights.read == 2
