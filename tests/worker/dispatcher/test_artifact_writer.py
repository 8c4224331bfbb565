import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cutout.enums import Stop
from cutout.models import Batch
from cutout.queue import snapshot
from cutout.queue.snapshot import QueueSnapshot
from cutout.results import ended_batches, keep_results
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.support.fates import DONE, make_batch
from tests.support.machine import scaled
from worker.dispatcher import artifact_writer as module
from worker.dispatcher.artifact_writer import ArtifactWriter

MISSING = "the bucket {!r} does not exist: create it or fix CUTOUT_S3_BUCKET"


@pytest.fixture
def writer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> ArtifactWriter:
    """A writer that searches in every tick."""
    monkeypatch.setattr(module, "FIND_EVERY_S", 0.0)
    return ArtifactWriter(settings, "results", ended_batches, keep_results)


def read_snapshot(engine: Engine) -> QueueSnapshot:
    with engine.connect() as connection:
        return snapshot.read_snapshot(connection, [])


def tick(writer: ArtifactWriter, engine: Engine, found: QueueSnapshot | None = None) -> None:
    with engine.connect() as connection:
        writer.tick(connection, found or read_snapshot(engine))
    deadline = time.monotonic() + scaled(20)
    while writer._writing.running:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def keys(engine: Engine) -> set[str | None]:
    with Session(engine) as session:
        return {batch.results_key for batch in session.query(Batch)}


class TestWritingResults:
    def test_writes_results_of_ended_batches(
        self, writer: ArtifactWriter, engine: Engine, bucket: Bucket
    ) -> None:
        """It writes those of all batches that have ended, and no others."""
        batches = [make_batch(engine, {"a": DONE}) for _ in range(3)]
        make_batch(engine, {"a": None})
        tick(writer, engine)
        assert keys(engine) == {None, *(f"results/{batch}.csv" for batch in batches)}
        assert len(bucket.keys("results/")) == 3

    @pytest.mark.usefixtures("bucket")
    def test_searches_every_five_seconds(
        self, writer: ArtifactWriter, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A tick in between does not search."""
        monkeypatch.setattr(module, "FIND_EVERY_S", 5.0)
        tick(writer, engine)
        make_batch(engine, {"a": DONE})
        tick(writer, engine)
        assert keys(engine) == {None}

    @pytest.mark.usefixtures("bucket")
    def test_waits_for_the_bucket(self, writer: ArtifactWriter, engine: Engine) -> None:
        """While the breaker on the bucket is open nothing is tried."""
        make_batch(engine, {"a": DONE})
        tick(writer, engine, replace(read_snapshot(engine), stops=frozenset({Stop.BUCKET})))
        assert keys(engine) == {None}

    def test_pauses_a_batch_that_cannot_be_written(
        self, writer: ArtifactWriter, engine: Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The error is logged in one line, and the batch is tried again after a minute, behind others."""
        batch = make_batch(engine, {"a": DONE})
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                tick(writer, engine)
        assert [record.message for record in caplog.records] == [
            f"the results of {batch} are not written: {MISSING.format(writer._bucket.name)}"
        ]
        writer._bucket.create()
        writer._paused_until[batch] = 0.0
        tick(writer, engine)
        assert keys(engine) == {f"results/{batch}.csv"}

    @pytest.mark.usefixtures("bucket")
    def test_writes_the_others_if_the_disk_is_full_for_one(
        self,
        writer: ArtifactWriter,
        engine: Engine,
        full_disk: Callable[[], Any],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The large batch is named and paused for a minute; those that fit are written."""
        large = make_batch(engine, {str(n): DONE for n in range(10)})
        small = make_batch(engine, {"a": DONE})
        with full_disk():
            tick(writer, engine)
        assert keys(engine) == {None, f"results/{small}.csv"}
        (said,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
        assert f"the results of {large} are not written" in said
        assert "TMPDIR" in said
        assert writer._paused_until.keys() == {large}
