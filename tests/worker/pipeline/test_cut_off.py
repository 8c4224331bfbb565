"""A worker, or all workers, without the bucket."""

from collections.abc import Callable

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from cutout.enums import State, Step
from cutout.models import Breaker
from cutout.queue.blocks.isolated_workers import cut_off_workers
from cutout.settings import Settings
from cutout.storage import BucketMissingError, StorageError
from tests.support.bench import Bench
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.support.system import wait_until
from tests.worker.pipeline.logged import errors_in
from worker.pipeline.context import WorkerContext


def is_open(bench: Bench) -> bool:
    with Session(bench.engine) as session:
        return session.scalars(select(Breaker.opened_at)).one() is not None


def cut_off_reasons(bench: Bench) -> list[str]:
    with Session(bench.engine) as session:
        return [worker.reason for worker in cut_off_workers(session)]


class TestWhileTheBucketIsUnreachable:
    @pytest.mark.parametrize("mode", [Mode.FORBID, Mode.REFUSE])
    def test_the_copy_waits_and_no_further_call_is_begun(
        self, shaky: Bench, proxy: Proxy, source: str, sandbox: Sandbox, mode: Mode
    ) -> None:
        """The first failed copy stops this worker's calls; a paid result is not paid for again.

        One worker alone does not stop the calls of others.
        """
        proxy.set(mode)
        first = shaky.done(source)
        assert (first.state, first.step, first.code) == (State.QUEUED, Step.COPY, "STORAGE_AWAY")
        second = shaky.done(source)
        assert (second.state, second.step, second.code) == (State.QUEUED, Step.CALL, "WORKER_CUT_OFF")
        assert shaky.attempts(second.id) == []
        wait_until(lambda: cut_off_reasons(shaky) != [], "it says so to everybody")
        assert not is_open(shaky)
        proxy.set(Mode.PASS)
        wait_until(lambda: shaky.context.bucket_watch.may_buy, "it goes on by itself")
        assert cut_off_reasons(shaky) == []
        shaky.work()
        assert {shaky.job(first.id).state, shaky.job(second.id).state} == {State.SUCCEEDED}
        assert sandbox.charges() == 2

    def test_the_stop_is_logged_once_as_an_error(
        self, shaky: Bench, proxy: Proxy, source: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The reason is logged once, when the stop begins."""
        proxy.set(Mode.FORBID)
        shaky.done(source)
        wait_until(lambda: cut_off_reasons(shaky) != [], "it knows")
        shaky.work()
        assert errors_in(caplog).count("makes no calls until it does: the S3 server refused") == 1

    def test_two_workers_are_believed(
        self, make_shaky: Callable[..., Bench], proxy: Proxy, source: str
    ) -> None:
        """The second worker that cannot reach the bucket opens the breaker for all."""
        first, second = make_shaky(), make_shaky()
        proxy.set(Mode.REFUSE)
        first.done(source)
        wait_until(lambda: cut_off_reasons(first) != [], "one says so")
        assert not is_open(first)
        second.context.bucket_watch.suspect(StorageError("refused"))
        wait_until(lambda: is_open(first), "two voices open the breaker")

    def test_a_worker_starts_and_buys_nothing(
        self, make_shaky: Callable[..., Bench], proxy: Proxy, source: str
    ) -> None:
        """It is needed to save paid results; it makes no call until it reaches the bucket."""
        proxy.set(Mode.REFUSE)
        bench = make_shaky()
        job = bench.done(source)
        assert (job.state, bench.attempts(job.id)) == (State.QUEUED, [])

    def test_a_worker_that_knows_the_bucket_by_a_wrong_name_does_not_start(self, settings: Settings) -> None:
        """That is a mistake in the settings, which waiting does not fix."""
        context = WorkerContext(settings.model_copy(update={"s3_bucket": "no-such-bucket"}))
        with pytest.raises(BucketMissingError, match="no-such-bucket"):
            context.start()
        context.engine.dispose()

    def test_an_object_that_only_is_too_large_stops_no_call(
        self, make_bench: Callable[..., Bench], photo: bytes
    ) -> None:
        """A name that the server does not take is a problem of this job alone."""
        bench = make_bench(key_template="x" * 2000 + "{job}")
        job = bench.done(photo)
        assert (job.state, job.step, job.code) == (State.QUEUED, Step.COPY, "STORAGE_AWAY")
        assert "KeyTooLongError" in (job.message or "")
        assert bench.context.bucket_watch.may_buy
