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
from cutout.queue import dispatch
from cutout.queue.dispatch import Survey
from cutout.results import ended_batches, keep_results
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.support.fates import DONE, make_batch
from tests.support.machine import scaled
from worker.dispatcher import artifact_writer as module
from worker.dispatcher.artifact_writer import Keeper

MISSING = "the bucket {!r} does not exist: create it or mend CUTOUT_S3_BUCKET"


@pytest.fixture
def keeper(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    """One that looks whenever it is asked to."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)
    return Keeper(settings, "results", ended_batches, keep_results)


def survey(engine: Engine) -> Survey:
    with engine.connect() as connection:
        return dispatch.survey(connection, [])


def look(keeper: Keeper, engine: Engine, found: Survey | None = None) -> None:
    with engine.connect() as connection:
        keeper.look(connection, found or survey(engine))
    deadline = time.monotonic() + scaled(20)
    while keeper._writing.awaited:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def keys(engine: Engine) -> set[str | None]:
    with Session(engine) as session:
        return {batch.results_key for batch in session.query(Batch)}


class TestTheKeeperOfResults:
    def test_writes_what_ended(self, keeper: Keeper, engine: Engine, bucket: Bucket) -> None:
        """All batches that ended since the last look, and no others."""
        batches = [make_batch(engine, {"a": DONE}) for _ in range(3)]
        make_batch(engine, {"a": None})
        look(keeper, engine)
        assert keys(engine) == {None, *(f"results/{batch}.csv" for batch in batches)}
        assert len(bucket.keys("results/")) == 3

    @pytest.mark.usefixtures("bucket")
    def test_looks_every_five_seconds(
        self, keeper: Keeper, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A tick between two looks asks nothing."""
        monkeypatch.setattr(module, "LOOK_EVERY_S", 5.0)
        look(keeper, engine)
        make_batch(engine, {"a": DONE})
        look(keeper, engine)
        assert keys(engine) == {None}

    @pytest.mark.usefixtures("bucket")
    def test_waits_for_the_bucket(self, keeper: Keeper, engine: Engine) -> None:
        """While it is known to be away nothing is tried."""
        make_batch(engine, {"a": DONE})
        look(keeper, engine, replace(survey(engine), stops=frozenset({Stop.BUCKET})))
        assert keys(engine) == {None}

    def test_lets_a_batch_rest_that_cannot_be_written(
        self, keeper: Keeper, engine: Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is said in one line, tried again after a minute, and others come first."""
        batch = make_batch(engine, {"a": DONE})
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                look(keeper, engine)
        assert [record.message for record in caplog.records] == [
            f"the results of {batch} are not written: {MISSING.format(keeper._bucket.name)}"
        ]
        keeper._bucket.create()
        keeper._rests_until[batch] = 0.0
        look(keeper, engine)
        assert keys(engine) == {f"results/{batch}.csv"}

    @pytest.mark.usefixtures("bucket")
    def test_writes_the_others_though_one_finds_the_disk_full(
        self, keeper: Keeper, engine: Engine, full_disk: Callable[[], Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        """The large batch rests for a minute and is named; those that fit are written."""
        large = make_batch(engine, {str(n): DONE for n in range(10)})
        small = make_batch(engine, {"a": DONE})
        with full_disk():
            look(keeper, engine)
        assert keys(engine) == {None, f"results/{small}.csv"}
        (said,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
        assert f"the results of {large} are not written" in said
        assert "TMPDIR" in said
        assert keeper._rests_until.keys() == {large}
