"""Change detection: a run enqueues only what changed since the last run."""

import os
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.enums import ReturnForm
from cutout.ingest import IngestOptions, ReadOptions
from cutout.ingest.pending import request_ingest
from cutout.settings import Settings
from cutout.storage import Bucket
from worker.ingester.loop import Ingester

Run = Callable[..., tuple[dict[str, int], list[str], str | None]]
SCHEDULE = uuid.uuid4()


@pytest.fixture
def run(settings: Settings, engine: Engine, bucket: Bucket) -> Run:
    """Runs the schedule once; returns the changes, the enqueued ids and the error."""
    ingester = Ingester(settings, engine, bucket)

    def once(
        source: str, *, schedule: uuid.UUID = SCHEDULE, **more: object
    ) -> tuple[dict[str, int], list[str], str | None]:
        with Session(engine) as session, session.begin():
            options = IngestOptions("night", schedule_id=schedule, **more)  # type: ignore[arg-type]
            batch_id = request_ingest(session, source, options)
        assert ingester.serve()
        with engine.connect() as connection:
            parameters = {"batch": batch_id}
            row = connection.execute(
                text("SELECT changes, error FROM ingests WHERE batch_id = :batch"), parameters
            ).one()
            jobs = connection.scalars(
                text("SELECT external_id FROM jobs WHERE batch_id = :batch ORDER BY virtual_start"),
                parameters,
            )
            return row.changes, list(jobs), row.error

    return once


def end(engine: Engine, *, failed: str = "") -> None:
    """End all jobs."""
    with engine.begin() as connection:
        connection.execute(
            text("""
                UPDATE jobs SET state = 'failed', queue_state = NULL, finished_at = now(), code = 'X'
                WHERE external_id = :failed AND state = 'queued'
            """),
            {"failed": failed},
        )
        connection.execute(
            text("""
                UPDATE jobs SET state = 'succeeded', queue_state = NULL, finished_at = now(), key = 'k',
                    sha256 = '\\x00', media_type = 'image/png', size_bytes = 1, width = 1, height = 1
                WHERE state = 'queued'
            """)
        )


def put(bucket: Bucket, name: str, data: bytes) -> None:
    bucket.put_cutout(data, key=f"drop/{name}", media_type="image/jpeg", metadata={})


class TestARun:
    def test_enqueues_what_is_new_or_changed(self, run: Run, bucket: Bucket, engine: Engine) -> None:
        """Three nights over a prefix: a new catalog, no change, and a change of each kind."""
        source = f"s3://{bucket.name}/drop/"
        for name in "abc":
            put(bucket, f"{name}.jpg", name.encode())
        changes, jobs, _ = run(source)
        assert (jobs, changes["new"], changes["unchanged"]) == (["a", "b", "c"], 3, 0)
        end(engine)
        changes, jobs, _ = run(source)
        assert jobs == []
        assert changes == {"new": 0, "changed": 0, "again": 0, "unchanged": 3, "vanished": 0}
        put(bucket, "b.jpg", b"another")
        put(bucket, "d.jpg", b"d")
        bucket.delete("drop/c.jpg")
        changes, jobs, _ = run(source)
        assert jobs == ["b", "d"]
        assert changes == {"new": 1, "changed": 1, "again": 0, "unchanged": 1, "vanished": 1}

    def test_enqueues_again_what_failed(self, run: Run, bucket: Bucket, engine: Engine) -> None:
        """A picture whose job is still under way is not enqueued again."""
        source = f"s3://{bucket.name}/drop/"
        put(bucket, "a.jpg", b"a")
        put(bucket, "b.jpg", b"b")
        run(source)
        assert run(source)[1] == []
        end(engine, failed="b")
        changes, jobs, _ = run(source)
        assert (jobs, changes["again"], changes["unchanged"]) == (["b"], 1, 1)

    @pytest.mark.parametrize(("queue_state", "again"), [("NULL", []), ("'blocked'", ["a"])])
    def test_does_not_enqueue_what_waits_for_a_person(
        self, run: Run, bucket: Bucket, engine: Engine, queue_state: str, again: list[str]
    ) -> None:
        """A held picture would cost a credit each night; a picture blocked by its batch alone is enqueued
        again.
        """
        put(bucket, "a.jpg", b"a")
        run(f"s3://{bucket.name}/drop/")
        with engine.begin() as connection:
            held = f"UPDATE jobs SET state = 'held', queue_state = {queue_state}, code = 'RESULT_EXPIRED'"  # noqa: S608
            connection.execute(text(held))
        changes, jobs, _ = run(f"s3://{bucket.name}/drop/")
        assert (jobs, changes["unchanged"]) == (again, 1 - len(again))

    def test_skips_unchanged_files(self, run: Run, tmp_path: Path, engine: Engine) -> None:
        """A directory's files are identified by size and time."""
        for name in ("a.jpg", "b.jpg"):
            (tmp_path / name).write_bytes(name.encode())
        run(str(tmp_path))
        end(engine)
        (tmp_path / "b.jpg").write_bytes(b"another")
        changes, jobs, _ = run(str(tmp_path))
        assert (jobs, changes["changed"], changes["unchanged"]) == (["b"], 1, 1)

    def test_finds_what_changed_in_an_archive_of_the_same_size_and_time(
        self, run: Run, tmp_path: Path, engine: Engine
    ) -> None:
        """As archives are that are built reproducibly: the checksum of a member tells."""
        path = tmp_path / "m.zip"
        for number, data in enumerate((b"one", b"two")):
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr(zipfile.ZipInfo("a.jpg"), data)
                archive.writestr(zipfile.ZipInfo("b.jpg"), b"same")
            os.utime(path, (1_700_000_000, 1_700_000_000))
            assert run(str(path))[1] == (["a", "b"], ["a"])[number]
            end(engine)

    def test_enqueues_again_what_has_no_version(self, run: Run, tmp_path: Path, engine: Engine) -> None:
        """A manifest's rows have no version: the worker asks each picture's server."""
        manifest = tmp_path / "m.csv"
        manifest.write_text("external_id,source\na,https://shop.example/a.jpg\n")
        run(str(manifest))
        end(engine)
        changes, jobs, _ = run(str(manifest))
        assert (jobs, changes["again"]) == (["a"], 1)

    @pytest.mark.parametrize("kind", ["prefix", "manifest"])
    def test_of_a_source_that_shrank_enqueues_nothing(
        self, run: Run, bucket: Bucket, tmp_path: Path, kind: str
    ) -> None:
        """No picture is deleted either; with --accept-shrunk the run proceeds."""
        manifest = tmp_path / "m.csv"
        source = str(manifest) if kind == "manifest" else f"s3://{bucket.name}/drop/"
        rows = [f"{n},https://shop.example/{n}.jpg" for n in range(10)]
        manifest.write_text("\n".join(["external_id,source", *rows]))
        for n in range(10):
            put(bucket, f"{n}.jpg", b"x")
        run(source)
        manifest.write_text("\n".join(["external_id,source", "new,https://shop.example/x.jpg", *rows[:3]]))
        for n in range(4, 10):
            bucket.delete(f"drop/{n}.jpg")
        changes, jobs, error = run(source, min_source_share=0.5)
        assert not changes
        assert jobs == []
        assert error
        assert "has 4 pictures and had 10 at the last run" in error
        assert run(source)[0]["vanished"] in {6, 7}

    def test_counts_skipped_files(self, run: Run, tmp_path: Path, engine: Engine) -> None:
        """A run over a directory counts skipped files by reason, though nothing changed."""
        (tmp_path / "a.jpg").write_bytes(b"a")
        (tmp_path / "b.psd").write_bytes(b"8BPS")
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "c.jpg").write_bytes(b"c")
        for jobs in (["a"], []):
            assert run(str(tmp_path), reading=ReadOptions(exclude=("old",)))[1] == jobs
            with engine.connect() as connection:
                skipped = connection.scalar(
                    text("SELECT skipped FROM ingests ORDER BY created_at DESC LIMIT 1")
                )
            assert {found["names"][0] for found in skipped} == {"b.psd", "old/c.jpg"}
            end(engine)


class TestARunOverManyObjects:
    def test_finds_a_change_anywhere_among_them(self, run: Run, bucket: Bucket, engine: Engine) -> None:
        """Replaced by as many other bytes, deleted, and added between others: the rest is unchanged."""
        source = f"s3://{bucket.name}/drop/"
        for n in range(40):
            put(bucket, f"{n:02d}.jpg", b"x")
        run(source)
        end(engine)
        put(bucket, "17.jpg", b"y")
        bucket.delete("drop/18.jpg")
        put(bucket, "18-5.jpg", b"x")
        changes, jobs, _ = run(source, min_source_share=0.5)
        assert jobs == ["17", "18-5"]
        assert changes == {"new": 1, "changed": 1, "again": 0, "unchanged": 38, "vanished": 1}
        end(engine)
        changes, jobs, _ = run(source, min_source_share=0.5)
        assert (jobs, changes["unchanged"]) == ([], 40)

    def test_knows_names_with_signs_of_lists(self, run: Run, bucket: Bucket, engine: Engine) -> None:
        """Ids go to Postgres as one text: none is taken for two, for another one or for none."""
        names = ["a,b", "{c}", 'd"e', "NULL", "h'i", "j k", "ü"]
        for name in names:
            put(bucket, f"{name}.jpg", b"x")
        assert sorted(run(f"s3://{bucket.name}/drop/")[1]) == sorted(names)
        end(engine)
        changes, jobs, _ = run(f"s3://{bucket.name}/drop/")
        assert (jobs, changes["unchanged"], changes["vanished"]) == ([], len(names), 0)

    def test_enqueues_again_what_was_cancelled(self, run: Run, bucket: Bucket, engine: Engine) -> None:
        """As what failed; its neighbours are unchanged."""
        for name in "abc":
            put(bucket, f"{name}.jpg", b"x")
        run(f"s3://{bucket.name}/drop/")
        with engine.begin() as connection:
            connection.execute(
                text("""
                    UPDATE jobs SET state = 'cancelled', queue_state = NULL, finished_at = now()
                    WHERE external_id = 'b'
                """)
            )
        end(engine)
        changes, jobs, _ = run(f"s3://{bucket.name}/drop/")
        assert (jobs, changes["again"], changes["unchanged"]) == (["b"], 1, 2)

    def test_in_other_forms_enqueues_all(self, run: Run, bucket: Bucket, engine: Engine) -> None:
        """The forms are part of a picture's version."""
        for name in "ab":
            put(bucket, f"{name}.jpg", b"x")
        run(f"s3://{bucket.name}/drop/")
        end(engine)
        changes, jobs, _ = run(f"s3://{bucket.name}/drop/", forms=(ReturnForm.MASK,))
        assert (jobs, changes["changed"]) == (["a", "b"], 2)

    def test_knows_nothing_of_another_schedule(self, run: Run, bucket: Bucket, engine: Engine) -> None:
        """Each has its own versions of the same prefix."""
        for name in "ab":
            put(bucket, f"{name}.jpg", b"x")
        run(f"s3://{bucket.name}/drop/")
        end(engine)
        other = uuid.uuid4()
        assert run(f"s3://{bucket.name}/drop/", schedule=other)[1] == ["a", "b"]
        assert run(f"s3://{bucket.name}/drop/")[1] == []
        end(engine)
        assert run(f"s3://{bucket.name}/drop/", schedule=other)[1] == []
