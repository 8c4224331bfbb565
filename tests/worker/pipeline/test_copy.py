import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from cutout.enums import State, Step
from cutout.models import Job
from tests.support.bench import Bench
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.worker.pipeline.logged import errors_in
from worker.pipeline.copy import TRIES_OF_A_GONE_RESULT

AN_HOUR_LEFT = "result_expires_at = now() + interval '1 hour'"
TIME_OVER = "result_expires_at = now() - interval '1 second'"
# Another name at the same server: 404.
DEAD_URL = "result_url = regexp_replace(result_url, '/results/.', '/results/x')"
NO_SERVER = "result_url = 'http://127.0.0.1:9/results/x.png'"
# So many that a rest is minutes long, unless something bounds it.
MANY_TRIES = "tries = 20"


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


class TestTheNextTry:
    @pytest.mark.parametrize(("left", "rest_s"), [("2 hours 30 seconds", (20, 30)), ("40 seconds", (5, 10))])
    def test_of_an_unsaved_result_comes_in_time(
        self, make_shaky: Callable[..., Bench], proxy: Proxy, source: str, left: str, rest_s: tuple[int, int]
    ) -> None:
        """The next try comes before the lifeboat is due; after that, within a quarter of what remains."""
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
        """The result expires, for whatever reason it is not stored."""
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
        """A result that cannot expire any more is delayed by its number of tries."""
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
        """Saved while the bucket is unreachable, the result is moved to it later, after its URL expired."""
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
        """A late copy that succeeds leaves nothing in the lifeboat."""
        job_id = shaky.enqueue(source)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("worker.pipeline.paid_result.fetch", _broken)
            shaky.work()
        shaky.change(job_id, AN_HOUR_LEFT)
        shaky.work()
        assert shaky.job(job_id).state == State.SUCCEEDED
        assert list(lifeboat.iterdir()) == []

    def test_is_read_for_a_result_that_was_not_recorded(
        self, shaky: Bench, proxy: Proxy, source: str
    ) -> None:
        """A worker that died between saving a result and recording that has lost nothing."""
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
        """Once the URL has expired, the job waits for the lifeboat with its result, and says so."""
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
        assert f"job {job_id}" in errors_in(caplog)
        assert shaky.attempts(job_id)[0].lost_at is None
        away.rename(entry)
        proxy.set(Mode.PASS)
        shaky.work()
        assert shaky.job(job_id).state == State.SUCCEEDED

    def test_that_is_not_here_is_not_needed_while_the_url_lives(
        self, shaky: Bench, proxy: Proxy, source: str, lifeboat: Path
    ) -> None:
        """A worker without the entry uses the URL."""
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
        """Without bucket and room in the lifeboat the job waits and says so; with the bucket it succeeds."""
        bench = make_shaky(lifeboat_dir=str(full))
        proxy.set(Mode.FORBID)
        job_id = bench.done(source).id
        bench.change(job_id, f"{AN_HOUR_LEFT}, {MANY_TRIES}")
        bench.work()
        job = bench.job(job_id)
        assert (job.state, job.step, job.code) == (State.QUEUED, Step.COPY, "LIFEBOAT_FULL")
        assert f"the lifeboat {full} is full" in (job.message or "")
        assert f"the lifeboat {full} is full" in errors_in(caplog)
        assert (job.lifeboat_key, list(full.iterdir())) == (None, [])
        assert rests_s(job) <= 900
        proxy.set(Mode.PASS)
        bench.work()
        assert bench.job(job_id).state == State.SUCCEEDED

    def test_that_is_not_set_is_logged_as_an_error(
        self,
        make_shaky: Callable[..., Bench],
        proxy: Proxy,
        source: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Without a lifeboat each result that may expire is logged, by its job and never by its URL."""
        bench = make_shaky()
        proxy.set(Mode.FORBID)
        job_id = bench.done(source).id
        assert "CUTOUT_LIFEBOAT_DIR" not in errors_in(caplog)
        bench.change(job_id, AN_HOUR_LEFT)
        bench.work()
        assert f"the paid result of job {job_id} dies at" in errors_in(caplog)
        assert "CUTOUT_LIFEBOAT_DIR is not set" in errors_in(caplog)
        assert "/results/" not in caplog.text


class TestALoss:
    def test_is_logged_as_an_error_and_holds_the_job(
        self, bench: Bench, sandbox: Sandbox, photo: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The attempt says when its result was lost; the log names the job and not the URL."""
        sandbox.fault("result_gone", next=1)
        job = bench.done(photo, rounds=TRIES_OF_A_GONE_RESULT)
        (attempt,) = bench.attempts(job.id)
        assert (job.state, job.code) == (State.HELD, "RESULT_EXPIRED")
        assert attempt.lost_at is not None
        assert f"a paid result is lost, that of job {job.id}" in errors_in(caplog)
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
        """The result of the second call becomes a cutout like any other."""
        bench = make_bench(retry_lost=1)
        sandbox.fault("result_gone", next=1)
        job = bench.done(photo, rounds=TRIES_OF_A_GONE_RESULT + 1)
        assert bench.job(job.id).state == State.SUCCEEDED
        assert [attempt.lost_at is not None for attempt in bench.attempts(job.id)] == [True, False]

    def test_is_only_what_cannot_be_fetched_when_its_time_is_over(self, shaky: Bench, source: str) -> None:
        """An unreachable result is tried until it expires, and is lost then."""
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

    def test_is_not_declared_for_one_answer_of_its_server(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """Before the result expires, a server that says "gone" is asked again."""
        sandbox.fault("result_gone", next=1)
        job = bench.done(photo, rounds=TRIES_OF_A_GONE_RESULT - 1)
        assert (job.state, job.step, job.code) == (State.QUEUED, Step.COPY, "RESULT_UNAVAILABLE")
        assert bench.attempts(job.id)[0].lost_at is None

    def test_is_not_declared_while_the_lifeboat_cannot_be_read(
        self, shaky: Bench, sandbox: Sandbox, source: str, lifeboat: Path
    ) -> None:
        """The lifeboat might have the result."""
        lifeboat.write_bytes(b"a file where the directory should be")
        sandbox.fault("result_gone", next=1)
        job = shaky.done(source, rounds=TRIES_OF_A_GONE_RESULT)
        assert (job.state, job.step, job.code) == (State.QUEUED, Step.COPY, "LIFEBOAT_AWAY")
        lifeboat.unlink()
        shaky.work()
        assert (shaky.job(job.id).state, shaky.job(job.id).code) == (State.HELD, "RESULT_EXPIRED")


def _broken(*_: object) -> None:
    raise RuntimeError("a bug")
