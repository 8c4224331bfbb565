import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from cutout.enums import State, Step
from cutout.models import Breaker, Job
from cutout.queue.blocks.isolated_workers import cut_off_workers
from cutout.settings import Settings
from cutout.storage import BucketMissingError, StorageError
from tests.support.bench import Bench
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.support.system import wait_until
from worker.pipeline.context import WorkerContext
from worker.pipeline.copy import TRIES_OF_A_GONE_RESULT

AN_HOUR_LEFT = "result_expires_at = now() + interval '1 hour'"
TIME_OVER = "result_expires_at = now() - interval '1 second'"
# Another name at the same server: 404.
DEAD_URL = "result_url = regexp_replace(result_url, '/results/.', '/results/x')"
NO_SERVER = "result_url = 'http://127.0.0.1:9/results/x.png'"
# So many that a rest is minutes long, unless something bounds it.
MANY_TRIES = "tries = 20"


@pytest.fixture
def source(shop: str) -> str:
    """The photo's address."""
    return f"http://{shop}/a.jpg"


@pytest.fixture
def lifeboat(tmp_path: Path) -> Path:
    """The directory of the lifeboat."""
    return tmp_path / "lifeboat"


@pytest.fixture
def make_shaky(make_bench: Callable[..., Bench], proxy: Proxy, shop: str) -> Callable[..., Bench]:
    """A bench whose bucket is behind the proxy."""

    def make(**changed: object) -> Bench:
        return make_bench(s3_endpoint_url=proxy.url, source_private_hosts=(shop,), **changed)

    return make


@pytest.fixture
def shaky(make_shaky: Callable[..., Bench], lifeboat: Path) -> Bench:
    """A bench whose bucket is behind the proxy, with a lifeboat."""
    return make_shaky(lifeboat_dir=str(lifeboat))


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB, into which no cutout of the photo fits."""
    if os.geteuid():
        pytest.skip("only root may mount a small file system")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)  # noqa: S607
    yield place
    subprocess.run(["umount", place], check=True)  # noqa: S607


def rests_s(job: Job) -> float:
    return (job.scheduled_at - datetime.now(UTC)).total_seconds()


def is_open(bench: Bench) -> bool:
    with Session(bench.engine) as session:
        return session.scalars(select(Breaker.opened_at)).one() is not None


def cut_off_reasons(bench: Bench) -> list[str]:
    with Session(bench.engine) as session:
        return [worker.reason for worker in cut_off_workers(session)]


def said(caplog: pytest.LogCaptureFixture) -> str:
    """Errors in the log."""
    return "\n".join(line.getMessage() for line in caplog.records if line.levelno >= logging.ERROR)


class TestWhileTheBucketIsAway:
    @pytest.mark.parametrize("mode", [Mode.FORBID, Mode.REFUSE])
    def test_the_copy_waits_and_no_further_call_is_begun(
        self, shaky: Bench, proxy: Proxy, source: str, sandbox: Sandbox, mode: Mode
    ) -> None:
        """The first failed copy stops this worker's calls; what was paid is not paid again afterwards.

        A worker that is alone in it stops nobody else.
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

    def test_the_stop_is_said_once_and_loudly(
        self, shaky: Bench, proxy: Proxy, source: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It says why when it begins, and nothing more."""
        proxy.set(Mode.FORBID)
        shaky.done(source)
        wait_until(lambda: cut_off_reasons(shaky) != [], "it knows")
        shaky.work()
        assert said(caplog).count("makes no calls until it does: the S3 server refused") == 1

    def test_two_workers_are_believed(
        self, make_shaky: Callable[..., Bench], proxy: Proxy, source: str
    ) -> None:
        """The second one that finds the bucket away opens the breaker for all."""
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
        """It is needed to save what was paid; it makes no call until it reaches the bucket."""
        proxy.set(Mode.REFUSE)
        bench = make_shaky()
        job = bench.done(source)
        assert (job.state, bench.attempts(job.id)) == (State.QUEUED, [])

    def test_a_worker_that_knows_the_bucket_by_a_wrong_name_does_not_start(self, settings: Settings) -> None:
        """That is a mistake of the settings, which waiting does not mend."""
        context = WorkerContext(settings.model_copy(update={"s3_bucket": "no-such-bucket"}))
        with pytest.raises(BucketMissingError, match="no-such-bucket"):
            context.start()
        context.engine.dispose()

    def test_an_object_that_only_is_too_large_stops_no_call(
        self, make_bench: Callable[..., Bench], photo: bytes
    ) -> None:
        """A name that the server does not take is this job's trouble, not everybody's."""
        bench = make_bench(key_template="x" * 2000 + "{job}")
        job = bench.done(photo)
        assert (job.state, job.step, job.code) == (State.QUEUED, Step.COPY, "STORAGE_AWAY")
        assert "KeyTooLongError" in (job.message or "")
        assert bench.context.bucket_watch.may_buy


class TestTheNextTry:
    @pytest.mark.parametrize(("left", "rest_s"), [("2 hours 30 seconds", (20, 30)), ("40 seconds", (5, 10))])
    def test_of_an_unsaved_result_comes_in_time(
        self, make_shaky: Callable[..., Bench], proxy: Proxy, source: str, left: str, rest_s: tuple[int, int]
    ) -> None:
        """Until the lifeboat is due, at that moment at the latest; then within a quarter of what remains."""
        bench = make_shaky()
        proxy.set(Mode.FORBID)
        job_id = bench.done(source).id
        bench.change(job_id, f"result_expires_at = now() + interval '{left}', {MANY_TRIES}")
        bench.work()
        soonest, latest = rest_s
        assert soonest < rests_s(bench.job(job_id)) <= latest

    @pytest.mark.parametrize("trouble", ["RESULT_HOST_REFUSED", "RESULT_UNAVAILABLE", "INTERNAL_ERROR"])
    def test_whatever_went_wrong_comes_in_time(
        self, shaky: Bench, sandbox: Sandbox, source: str, trouble: str
    ) -> None:
        """It is the result that dies, whatever keeps it from being stored."""
        sandbox.fault("truncated_image", next=1)
        job_id = shaky.done(source).id
        shaky.change(job_id, f"result_expires_at = now() + interval '40 seconds', {MANY_TRIES}")
        with pytest.MonkeyPatch.context() as patch:
            if trouble == "RESULT_HOST_REFUSED":
                shaky.change(job_id, NO_SERVER)
            if trouble == "INTERNAL_ERROR":
                patch.setattr("worker.pipeline.paid_result.fetch", _broken)
            shaky.work()
        job = shaky.job(job_id)
        assert (job.state, job.step, job.code) == (State.QUEUED, Step.COPY, trouble)
        assert 5 < rests_s(job) <= 10

    def test_of_a_saved_result_is_not_hurried(self, shaky: Bench, proxy: Proxy, source: str) -> None:
        """A job whose result cannot expire may be delayed as long as its tries say."""
        proxy.set(Mode.FORBID)
        job_id = shaky.done(source).id
        shaky.change(job_id, f"result_expires_at = now() + interval '40 seconds', {MANY_TRIES}")
        shaky.work()
        assert rests_s(shaky.job(job_id)) > 100


class TestTheLifeboat:
    def test_is_due_by_the_clock_of_postgres(
        self, shaky: Bench, proxy: Proxy, source: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker whose own clock is three hours behind saves a result that has an hour left."""

        class Behind(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return datetime.now(tz) - timedelta(hours=3)

        # Whether or not it is looked at there.
        monkeypatch.setattr("worker.pipeline.copy.datetime", Behind, raising=False)
        proxy.set(Mode.FORBID)
        job_id = shaky.done(source).id
        shaky.change(job_id, f"{AN_HOUR_LEFT}, {MANY_TRIES}")
        shaky.work()
        assert shaky.job(job_id).lifeboat_key is not None

    def test_takes_a_result_whose_time_runs_out_and_gives_it_to_the_bucket(
        self, shaky: Bench, proxy: Proxy, source: str, lifeboat: Path, sandbox: Sandbox
    ) -> None:
        """Saved and written down while the bucket is away; moved when it is back, though the URL is dead."""
        proxy.set(Mode.FORBID)
        job_id = shaky.done(source).id
        assert not lifeboat.exists()
        shaky.change(job_id, AN_HOUR_LEFT)
        shaky.work()
        job = shaky.job(job_id)
        assert (job.state, job.code, job.lifeboat_key) == (State.QUEUED, "STORAGE_AWAY", str(job_id))
        saved = (lifeboat / str(job_id)).read_bytes()
        shaky.change(job_id, f"{DEAD_URL}, {TIME_OVER}")
        shaky.work()
        assert shaky.job(job_id).code == "STORAGE_AWAY"
        proxy.set(Mode.PASS)
        shaky.work()
        job = shaky.job(job_id)
        assert (job.state, job.lifeboat_key) == (State.SUCCEEDED, None)
        assert shaky.bucket.read(job.key or "", max_bytes=10**8) == saved
        assert list(lifeboat.iterdir()) == []
        assert sandbox.charges() == 1

    def test_is_cleared_of_what_the_bucket_took_at_once(
        self, shaky: Bench, source: str, lifeboat: Path
    ) -> None:
        """A late copy that goes well leaves nothing behind."""
        job_id = shaky.enqueue(source)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("worker.pipeline.paid_result.fetch", _broken)
            shaky.work()
        shaky.change(job_id, AN_HOUR_LEFT)
        shaky.work()
        assert shaky.job(job_id).state == State.SUCCEEDED
        assert list(lifeboat.iterdir()) == []

    def test_is_asked_for_a_result_that_no_word_was_written_of(
        self, shaky: Bench, proxy: Proxy, source: str
    ) -> None:
        """A worker that died between saving and writing it down has lost nothing."""
        proxy.set(Mode.FORBID)
        job_id = shaky.done(source).id
        shaky.change(job_id, AN_HOUR_LEFT)
        shaky.work()
        shaky.change(job_id, f"lifeboat_key = NULL, {DEAD_URL}")
        for _ in range(TRIES_OF_A_GONE_RESULT):
            shaky.work()
        job = shaky.job(job_id)
        assert (job.state, job.lifeboat_key) == (State.QUEUED, str(job_id))
        proxy.set(Mode.PASS)
        shaky.work()
        assert shaky.job(job_id).state == State.SUCCEEDED

    def test_that_is_not_here_is_no_loss(
        self,
        shaky: Bench,
        proxy: Proxy,
        source: str,
        lifeboat: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Once the URL is dead, the job waits for the lifeboat that has its result, and says so."""
        proxy.set(Mode.FORBID)
        job_id = shaky.done(source).id
        shaky.change(job_id, AN_HOUR_LEFT)
        shaky.work()
        entry = lifeboat / str(job_id)
        away = entry.rename(lifeboat.parent / "away")
        shaky.change(job_id, f"{DEAD_URL}, {TIME_OVER}")
        shaky.work()
        job = shaky.job(job_id)
        assert (job.state, job.step, job.code) == (State.QUEUED, Step.COPY, "LIFEBOAT_AWAY")
        assert f"job {job_id}" in said(caplog)
        assert shaky.attempts(job_id)[0].lost_at is None
        away.rename(entry)
        proxy.set(Mode.PASS)
        shaky.work()
        assert shaky.job(job_id).state == State.SUCCEEDED

    def test_that_is_not_here_is_not_needed_while_the_url_lives(
        self, shaky: Bench, proxy: Proxy, source: str, lifeboat: Path
    ) -> None:
        """A worker without the entry goes by the URL."""
        proxy.set(Mode.FORBID)
        job_id = shaky.done(source).id
        shaky.change(job_id, AN_HOUR_LEFT)
        shaky.work()
        (lifeboat / str(job_id)).unlink()
        proxy.set(Mode.PASS)
        shaky.work()
        assert shaky.job(job_id).state == State.SUCCEEDED

    def test_that_gives_back_damage_is_not_believed(
        self, shaky: Bench, proxy: Proxy, source: str, lifeboat: Path
    ) -> None:
        """Half a picture never becomes a cutout."""
        proxy.set(Mode.FORBID)
        job_id = shaky.done(source).id
        shaky.change(job_id, AN_HOUR_LEFT)
        shaky.work()
        entry = lifeboat / str(job_id)
        entry.write_bytes(entry.read_bytes()[:-100])
        shaky.change(job_id, DEAD_URL)
        proxy.set(Mode.PASS)
        shaky.work()
        assert (shaky.job(job_id).state, shaky.job(job_id).code) == (State.QUEUED, "LIFEBOAT_AWAY")

    def test_that_is_full_keeps_nothing_from_the_bucket(
        self,
        make_shaky: Callable[..., Bench],
        proxy: Proxy,
        source: str,
        full: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Both full and away: the job waits, and says so. The bucket back: it succeeds, lifeboat or not."""
        bench = make_shaky(lifeboat_dir=str(full))
        proxy.set(Mode.FORBID)
        job_id = bench.done(source).id
        bench.change(job_id, f"{AN_HOUR_LEFT}, {MANY_TRIES}")
        bench.work()
        job = bench.job(job_id)
        assert (job.state, job.step, job.code) == (State.QUEUED, Step.COPY, "LIFEBOAT_FULL")
        assert f"the lifeboat {full} is full" in (job.message or "")
        assert f"the lifeboat {full} is full" in said(caplog)
        assert (job.lifeboat_key, list(full.iterdir())) == (None, [])
        assert rests_s(job) <= 900
        proxy.set(Mode.PASS)
        bench.work()
        assert bench.job(job_id).state == State.SUCCEEDED

    def test_that_is_not_set_is_missed_loudly(
        self,
        make_shaky: Callable[..., Bench],
        proxy: Proxy,
        source: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Whoever has no lifeboat is told of each result that presses, by its job and never by its URL."""
        bench = make_shaky()
        proxy.set(Mode.FORBID)
        job_id = bench.done(source).id
        assert "CUTOUT_LIFEBOAT_DIR" not in said(caplog)
        bench.change(job_id, AN_HOUR_LEFT)
        bench.work()
        assert f"the paid result of job {job_id} dies at" in said(caplog)
        assert "CUTOUT_LIFEBOAT_DIR is not set" in said(caplog)
        assert "/results/" not in caplog.text


class TestALoss:
    def test_is_recorded_loudly_and_holds_the_job(
        self, bench: Bench, sandbox: Sandbox, photo: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The attempt says when its result was lost; the log names the job and not the URL."""
        sandbox.fault("result_gone", next=1)
        job = bench.done(photo, rounds=TRIES_OF_A_GONE_RESULT)
        (attempt,) = bench.attempts(job.id)
        assert (job.state, job.code) == (State.HELD, "RESULT_EXPIRED")
        assert attempt.lost_at is not None
        assert f"a paid result is lost, that of job {job.id}" in said(caplog)
        assert "/results/" not in caplog.text + (job.message or "")
        bench.work()
        assert sandbox.charges() == 1

    def test_is_bought_again_as_often_as_is_allowed_and_then_held(
        self, make_bench: Callable[..., Bench], sandbox: Sandbox, photo: bytes
    ) -> None:
        """With CUTOUT_RETRY_LOST=1 the first loss is called again, the second is held."""
        bench = make_bench(retry_lost=1)
        sandbox.fault("result_gone", next=2)
        job = bench.done(photo, rounds=TRIES_OF_A_GONE_RESULT)
        assert (job.state, job.step, job.result_url) == (State.QUEUED, Step.CALL, None)
        for _ in range(TRIES_OF_A_GONE_RESULT):
            bench.work()
        assert (bench.job(job.id).state, bench.job(job.id).code) == (State.HELD, "RESULT_EXPIRED")
        assert [attempt.lost_at is not None for attempt in bench.attempts(job.id)] == [True, True]
        bench.work()
        assert sandbox.charges() == 2

    def test_that_was_bought_again_can_succeed(
        self, make_bench: Callable[..., Bench], sandbox: Sandbox, photo: bytes
    ) -> None:
        """The second call's result is a cutout like any other."""
        bench = make_bench(retry_lost=1)
        sandbox.fault("result_gone", next=1)
        job = bench.done(photo, rounds=TRIES_OF_A_GONE_RESULT + 1)
        assert bench.job(job.id).state == State.SUCCEEDED
        assert [attempt.lost_at is not None for attempt in bench.attempts(job.id)] == [True, False]

    def test_is_only_what_cannot_be_fetched_when_its_time_is_over(self, shaky: Bench, source: str) -> None:
        """An unreachable result is tried until then, and is lost then."""
        job_id = shaky.enqueue(source)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("worker.pipeline.paid_result.fetch", _broken)
            shaky.work()
        shaky.change(job_id, f"{NO_SERVER}, {AN_HOUR_LEFT}")
        shaky.work()
        assert (shaky.job(job_id).state, shaky.job(job_id).step) == (State.QUEUED, Step.COPY)
        shaky.change(job_id, TIME_OVER)
        shaky.work()
        assert (shaky.job(job_id).state, shaky.job(job_id).code) == (State.HELD, "RESULT_EXPIRED")
        assert shaky.attempts(job_id)[0].lost_at is not None

    def test_is_not_declared_for_one_word_of_its_server(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """Before its time is over, "gone" is asked about again."""
        sandbox.fault("result_gone", next=1)
        job = bench.done(photo, rounds=TRIES_OF_A_GONE_RESULT - 1)
        assert (job.state, job.step, job.code) == (State.QUEUED, Step.COPY, "RESULT_UNAVAILABLE")
        assert bench.attempts(job.id)[0].lost_at is None

    def test_is_not_declared_while_the_lifeboat_cannot_be_asked(
        self, shaky: Bench, sandbox: Sandbox, source: str, lifeboat: Path
    ) -> None:
        """It might have the result."""
        lifeboat.write_bytes(b"a file where the directory should be")
        sandbox.fault("result_gone", next=1)
        job = shaky.done(source, rounds=TRIES_OF_A_GONE_RESULT)
        assert (job.state, job.step, job.code) == (State.QUEUED, Step.COPY, "LIFEBOAT_AWAY")
        lifeboat.unlink()
        shaky.work()
        assert (shaky.job(job.id).state, shaky.job(job.id).code) == (State.HELD, "RESULT_EXPIRED")


def _broken(*_: object) -> None:
    raise RuntimeError("a bug")
