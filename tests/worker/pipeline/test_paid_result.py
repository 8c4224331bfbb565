"""Paid results that are not as ordered: all are kept, some pass, a person decides on the others."""

import io
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from PIL import Image
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import Forms, ReturnForm, State, Step
from cutout.models import Job, Result
from cutout.network.blob import IN_MEMORY_BYTES
from cutout.queue.blocks import storage_breaker
from cutout.storage.unexpected_bytes import CODE, Unexpected, prefix_of
from tests.support.bench import Bench
from tests.support.plain_http import NO_TLS
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.support.system import wait_until
from worker.pipeline.copy import (
    DELAY_OF_A_GONE_RESULT_S,
    MOST_DAMAGED_KEPT,
    TRIES_OF_A_GONE_RESULT,
    TRIES_OF_A_TEXT,
)

MAX = 10**9


@pytest.fixture
def photo(photo: bytes) -> bytes:
    """A picture that takes the sandbox little time."""
    small = io.BytesIO()
    with Image.open(io.BytesIO(photo)) as opened:
        opened.resize((120, 90)).save(small, "JPEG")
    return small.getvalue()


def kept(bench: Bench, job_id: uuid.UUID) -> Unexpected:
    """The unexpected bytes that the job's row names."""
    found = Unexpected.of(bench.job(job_id).unexpected)
    assert found is not None
    return found


def rests_s(job: Job) -> float:
    return (job.scheduled_at - datetime.now(UTC)).total_seconds()


class TestAResultInAnotherEncoding:
    @pytest.mark.parametrize(
        ("fault", "warning"),
        [
            (("palette_image", "png"), "palette png with transparency"),
            (("grey_alpha_image", "png"), "grey with alpha png"),
            (("webp_image", "webp"), "RGBA webp"),
            (("small_image", "png"), "60x45 pixels for the 120x90 sent"),
        ],
    )
    def test_succeeds_with_a_warning(
        self, bench: Bench, sandbox: Sandbox, photo: bytes, fault: tuple[str, str], warning: str
    ) -> None:
        """It has the alpha that was bought: the bytes are stored unchanged, under their own type."""
        kind, extension = fault
        sandbox.fault(kind, next=1)
        job = bench.done(photo)
        assert (job.state, job.code, job.media_type) == (State.SUCCEEDED, None, f"image/{extension}")
        assert job.key is not None
        assert job.key.endswith(f".{extension}")
        assert warning in (job.warning or "")
        assert len(bench.bucket.read(job.key, max_bytes=MAX)) == job.size_bytes
        assert (bench.bucket.keys("unexpected/"), sandbox.charges()) == ([], 1)

    def test_is_served_to_the_next_job_with_its_warning(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """A job that is served from it has the warning as well."""
        sandbox.fault("small_image", next=1)
        first, second = reusing.done(photo), reusing.done(photo)
        assert (second.state, second.reused) == (State.SUCCEEDED, True)
        assert second.warning == first.warning is not None

    def test_of_many_bytes_is_stored_without_being_held_in_memory(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """A result of 70 MB is stored, and its temporary file is removed."""
        sandbox.fault("large_image", next=1)
        job = bench.done(photo)
        assert (job.state, job.code) == (State.SUCCEEDED, None)
        assert (job.size_bytes or 0) > 70_000_000 > IN_MEMORY_BYTES
        assert job.key is not None
        assert bench.bucket.describe(job.key).size == job.size_bytes
        spool = Path(bench.context.settings.spool_dir)
        assert list(spool.iterdir()) == []

    @pytest.mark.long("carries 45 megabytes; a small one's test is short")
    def test_of_many_bytes_survives_in_the_lifeboat(
        self, make_bench: Callable[..., Bench], proxy: Proxy, shop: str, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        """It is saved in the lifeboat as any other."""
        bench = make_bench(
            s3_endpoint_url=proxy.url, source_private_hosts=(shop,), lifeboat_dir=str(tmp_path / "lifeboat")
        )
        proxy.set(Mode.FORBID)
        sandbox.fault("large_image", next=1)
        job_id = bench.done(f"http://{shop}/a.jpg").id
        bench.change(job_id, "result_expires_at = now() + interval '1 hour'")
        bench.work()
        assert bench.job(job_id).lifeboat_key == str(job_id)
        proxy.set(Mode.PASS)
        bench.work()
        job = bench.job(job_id)
        assert (job.state, (job.size_bytes or 0) > 70_000_000) == (State.SUCCEEDED, True)
        assert list((tmp_path / "lifeboat").iterdir()) == []


class TestAResultThatLacksWhatWasOrdered:
    def test_is_kept_and_held(self, bench: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """The bytes of a picture without alpha are in the bucket after the first check, with the reason."""
        sandbox.fault("opaque_image", next=1)
        job = bench.done(photo)
        found = kept(bench, job.id)
        assert (job.state, job.step, job.code) == (State.HELD, Step.COPY, CODE)
        assert found.key in (job.message or "")
        assert (found.media_type, found.width, found.height) == ("image/png", 120, 90)
        assert bench.bucket.keys(prefix_of(job.id)) == [found.key]
        assert len(bench.bucket.read(found.key, max_bytes=MAX)) == found.size_bytes
        link = bench.bucket.presign(found.key, seconds=60)
        metadata = httpx.get(link, verify=NO_TLS).headers
        assert metadata["x-amz-meta-job"] == str(job.id)
        assert "has no usable alpha" in metadata["x-amz-meta-reason"]

    def test_is_no_loss_while_its_url_lives_and_a_retry_buys_nothing(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """A retry reads the URL, which may give the right result by now; the same bytes are kept once."""
        sandbox.fault("opaque_image", next=1)
        job_id = bench.done(photo).id
        for looks in (2, 3):
            with bench.engine.begin() as connection:
                assert queue.retry(connection, job_id)
            assert bench.job(job_id).step == Step.COPY
            bench.work()
            assert (bench.job(job_id).code, kept(bench, job_id).looks) == (CODE, looks)
        assert bench.attempts(job_id)[0].lost_at is None
        assert len(bench.bucket.keys("unexpected/")) == 1
        assert sandbox.charges() == 1

    def test_is_a_loss_once_a_retry_drops_its_url(self, bench: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """After its expiry it is bought anew; the ledger has the loss, the bucket still has the bytes."""
        sandbox.fault("opaque_image", next=1)
        job_id = bench.done(photo).id
        bench.change(job_id, "result_expires_at = now() - interval '1 second'")
        with bench.engine.begin() as connection:
            assert queue.retry(connection, job_id)
        assert (bench.job(job_id).step, bench.attempts(job_id)[0].lost_at is None) == (Step.CALL, False)
        bench.work()
        assert bench.job(job_id).state == State.SUCCEEDED
        assert [attempt.lost_at is None for attempt in bench.attempts(job_id)] == [False, True]
        assert (sandbox.charges(), len(bench.bucket.keys("unexpected/"))) == (2, 1)

    def test_waits_for_a_bucket_that_is_unreachable(
        self, make_bench: Callable[..., Bench], proxy: Proxy, shop: str, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        """Calls stop, and the lifeboat takes it in time and is cleared once the bucket has it."""
        bench = make_bench(
            s3_endpoint_url=proxy.url, source_private_hosts=(shop,), lifeboat_dir=str(tmp_path / "lifeboat")
        )
        proxy.set(Mode.FORBID)
        sandbox.fault("opaque_image", next=1)
        job_id = bench.done(f"http://{shop}/a.jpg").id
        assert (bench.job(job_id).state, bench.job(job_id).code) == (State.QUEUED, "STORAGE_AWAY")
        bench.change(job_id, "result_expires_at = now() + interval '1 hour'")
        bench.work()
        assert bench.job(job_id).lifeboat_key == str(job_id)
        bench.change(
            job_id,
            "result_url = regexp_replace(result_url, '/results/.', '/results/x'),"
            " result_expires_at = now() - interval '1 second'",
        )
        proxy.set(Mode.PASS)
        bench.work()
        job = bench.job(job_id)
        assert (job.state, job.code, job.lifeboat_key) == (State.HELD, CODE, None)
        assert list((tmp_path / "lifeboat").iterdir()) == []
        assert bench.bucket.keys("unexpected/") == [kept(bench, job_id).key]

    @pytest.mark.parametrize("form", [ReturnForm.MASK, ReturnForm.WHITE_BACKGROUND])
    def test_follows_the_rules_of_each_form(
        self, bench: Bench, sandbox: Sandbox, photo: bytes, form: ReturnForm
    ) -> None:
        """A mask that is grey in another encoding passes, and so does an opaque white background."""
        sandbox.fault("webp_image", next=1)
        job = bench.done(photo, form, forms=Forms.BOUGHT)
        assert (job.state, job.media_type) == (State.SUCCEEDED, "image/webp")


class TestATextInsteadOfAPicture:
    def test_is_looked_at_again_for_minutes_and_then_held(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """A page about an outage passes; one that stays is held, and never runs in a browser."""
        sandbox.fault("html_result", next=1)
        job = bench.done(photo, rounds=TRIES_OF_A_TEXT - 1)
        assert (job.state, job.step, job.code) == (State.QUEUED, Step.COPY, "RESULT_UNAVAILABLE")
        assert rests_s(job) > 50
        bench.work()
        job, found = bench.job(job.id), kept(bench, job.id)
        assert (job.state, job.code, found.looks) == (State.HELD, CODE, TRIES_OF_A_TEXT)
        assert b"Back soon" in bench.bucket.read(found.key, max_bytes=MAX)
        assert (found.media_type, found.is_picture) == ("application/octet-stream", False)
        assert (sandbox.charges(), bench.attempts(job.id)[0].lost_at) == (1, None)

    def test_half_a_picture_is_kept_and_tried_until_its_time_is_over(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """The next download may be whole. In the end it is a loss, and the damaged bytes are kept."""
        sandbox.fault("truncated_image", next=1)
        job_id = bench.done(photo, rounds=7).id
        assert (bench.job(job_id).state, bench.job(job_id).code) == (State.QUEUED, "RESULT_UNAVAILABLE")
        bench.change(job_id, "result_expires_at = now() - interval '1 second'")
        bench.work()
        assert (bench.job(job_id).state, bench.job(job_id).code) == (State.HELD, "RESULT_EXPIRED")
        assert bench.attempts(job_id)[0].lost_at is not None
        assert bench.bucket.keys("unexpected/") == [kept(bench, job_id).key]

    def test_that_is_cut_elsewhere_each_time_fills_no_bucket(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """A bounded number of them is kept, however long it lasts."""
        sandbox.fault("truncated_image", next=1)
        job_id = bench.enqueue(photo)
        whole = bench.context.results.download
        with pytest.MonkeyPatch.context() as patch:
            for cut in range(1, MOST_DAMAGED_KEPT + 4):
                patch.setattr(bench.context.results, "download", lambda url, cut=cut: whole(url)[:-cut])
                bench.work()
        assert bench.job(job_id).code == "RESULT_UNAVAILABLE"
        assert len(bench.bucket.keys("unexpected/")) == MOST_DAMAGED_KEPT

    def test_that_a_bug_of_ours_cannot_check_is_kept_as_well(
        self, bench: Bench, photo: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is kept because it is paid for."""
        monkeypatch.setattr("worker.pipeline.paid_result.check_result", _broken)
        job_id = bench.done(photo).id
        assert (bench.job(job_id).state, bench.job(job_id).code) == (State.QUEUED, "RESULT_UNAVAILABLE")
        assert bench.bucket.keys("unexpected/") == [kept(bench, job_id).key]
        monkeypatch.undo()
        bench.work()
        assert bench.job(job_id).state == State.SUCCEEDED


def _broken(*_: object) -> None:
    raise IndexError("a bug")


class TestAccepting:
    def test_makes_it_the_cutout_under_the_jobs_own_key(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """No call is made, even if the URL has expired; later jobs of the same picture get it too."""
        sandbox.fault("opaque_image", next=1)
        job_id = reusing.done(photo).id
        found = kept(reusing, job_id)
        reusing.change(job_id, "result_expires_at = now() - interval '1 second'")
        assert accept(reusing, job_id, found)
        reusing.work()
        job = reusing.job(job_id)
        assert (job.state, job.result_url, job.code) == (State.SUCCEEDED, None, None)
        assert job.key == f"cutouts/{job.batch_id}/SKU.png"
        assert "accepted by a person" in (job.warning or "")
        assert reusing.bucket.read(job.key, max_bytes=MAX) == reusing.bucket.read(found.key, max_bytes=MAX)
        with Session(reusing.engine) as session:
            assert session.scalars(select(Result.key)).one() == job.key
        assert reusing.done(photo).reused
        assert sandbox.charges() == 1

    def test_a_job_that_moved_on_is_refused(self, bench: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """The first retry, cancel or accept wins; the second changes nothing."""
        sandbox.fault("opaque_image", next=3)
        for n, move in enumerate((queue.retry, queue.cancel, None)):
            # Another picture each time: one that is held is not called as another job.
            job_id = bench.done(photo + bytes([n])).id
            found = kept(bench, job_id)
            if move:
                with bench.engine.begin() as connection:
                    assert move(connection, job_id)
            else:
                assert accept(bench, job_id, found)
            before = bench.job(job_id)
            assert not accept(bench, job_id, found)
            after = bench.job(job_id)
            assert (after.state, after.queue_state, after.unexpected) == (
                before.state,
                before.queue_state,
                before.unexpected,
            )

    @pytest.mark.parametrize("move", [queue.retry, queue.cancel])
    def test_at_the_same_moment_as_another_move_comes_second(
        self, bench: Bench, sandbox: Sandbox, photo: bytes, move: Callable[..., bool]
    ) -> None:
        """It waits for the other transaction and then finds nothing to accept."""
        sandbox.fault("opaque_image", next=1)
        job_id = bench.done(photo).id
        found = kept(bench, job_id)
        with ThreadPoolExecutor(1) as pool:
            with bench.engine.begin() as connection:
                assert move(connection, job_id)
                accepting = pool.submit(accept, bench, job_id, found)
                wait_until(lambda: _waits_for_a_lock(bench), "accept waits for the row")
            assert not accepting.result(10)
        assert not kept(bench, job_id).accepted

    def test_takes_only_what_was_looked_at(self, bench: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """Bytes that came after the person's check are not accepted."""
        sandbox.fault("opaque_image", next=1)
        job_id = bench.done(photo).id
        assert not accept(bench, job_id, replace(kept(bench, job_id), sha256="0" * 64))

    def test_does_not_turn_a_later_retry_from_its_url(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """If the object is missing in the bucket, the job is held again, and a retry reads the URL."""
        sandbox.fault("opaque_image", next=1)
        job_id = bench.done(photo).id
        found = kept(bench, job_id)
        bench.bucket.delete(found.key)
        assert accept(bench, job_id, found)
        bench.work()
        job = bench.job(job_id)
        assert (job.state, job.code) == (State.HELD, CODE)
        assert "cannot be accepted" in (job.message or "")
        with bench.engine.begin() as connection:
            assert queue.retry(connection, job_id)
        bench.work()
        assert not kept(bench, job_id).accepted

    def test_waits_for_the_bucket(
        self, make_bench: Callable[..., Bench], proxy: Proxy, shop: str, sandbox: Sandbox
    ) -> None:
        """Accepted while the bucket cannot be reached, it continues once it can."""
        bench = make_bench(s3_endpoint_url=proxy.url, source_private_hosts=(shop,))
        sandbox.fault("opaque_image", next=1)
        job_id = bench.done(f"http://{shop}/a.jpg").id
        proxy.set(Mode.FORBID)
        assert accept(bench, job_id, kept(bench, job_id))
        bench.work()
        assert (bench.job(job_id).state, bench.job(job_id).code) == (State.QUEUED, "STORAGE_AWAY")
        proxy.set(Mode.PASS)
        with bench.engine.begin() as connection:
            storage_breaker.close(connection)
        bench.work()
        assert bench.job(job_id).state == State.SUCCEEDED


class TestGone:
    def test_counts_the_answers_of_its_own_server_alone(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """After 503, 503, 404 and then the picture, one "gone" of three is counted."""
        sandbox.fault("result_unsteady", next=1)
        job = bench.done(photo, rounds=3)
        assert (job.state, job.tries, job.gone_tries) == (State.QUEUED, 3, 1)
        assert DELAY_OF_A_GONE_RESULT_S - 10 < rests_s(job) <= DELAY_OF_A_GONE_RESULT_S
        bench.work()
        assert (bench.job(job.id).state, sandbox.charges()) == (State.SUCCEEDED, 1)
        assert bench.attempts(job.id)[0].lost_at is None

    def test_that_is_held_is_asked_once_more_by_a_retry_before_a_call(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """Before its expiry the URL is read first; if the result is still gone, it is bought anew."""
        sandbox.fault("result_gone", next=1)
        job_id = bench.done(photo, rounds=TRIES_OF_A_GONE_RESULT).id
        assert (bench.job(job_id).code, bench.job(job_id).gone_tries) == ("RESULT_EXPIRED", 3)
        with bench.engine.begin() as connection:
            assert queue.retry(connection, job_id)
        assert bench.job(job_id).step == Step.COPY
        bench.work()
        job = bench.job(job_id)
        assert (job.state, job.step, job.result_url, job.gone_tries) == (State.QUEUED, Step.CALL, None, 0)
        assert sandbox.charges() == 1
        bench.work()
        assert (bench.job(job_id).state, sandbox.charges()) == (State.SUCCEEDED, 2)
        assert [attempt.lost_at is None for attempt in bench.attempts(job_id)] == [False, True]

    def test_that_is_there_after_all_is_no_loss_any_more(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """The retry finds it: one credit, one cutout, and the ledger removes the loss."""
        sandbox.fault("result_unavailable", next=1)
        job_id = bench.done(photo).id
        wrong = "result_url = regexp_replace(result_url, '/results/', '/results/x')"
        right = "result_url = regexp_replace(result_url, '/results/x', '/results/')"
        bench.change(job_id, wrong)
        for _ in range(TRIES_OF_A_GONE_RESULT):
            bench.work()
        assert bench.job(job_id).code == "RESULT_EXPIRED"
        assert bench.attempts(job_id)[0].lost_at is not None
        bench.change(job_id, right)
        with bench.engine.begin() as connection:
            assert queue.retry(connection, job_id)
        bench.work()
        bench.work()
        assert (bench.job(job_id).state, sandbox.charges()) == (State.SUCCEEDED, 1)
        assert bench.attempts(job_id)[0].lost_at is None


def _waits_for_a_lock(bench: Bench) -> bool:
    waiting = text(
        "SELECT count(*) > 0 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with bench.engine.connect() as connection:
        return bool(connection.execute(waiting).scalar_one())


def accept(bench: Bench, job_id: uuid.UUID, found: Unexpected) -> bool:
    """Accept the result, as `cutout accept` does."""
    with bench.engine.begin() as connection:
        return queue.accept(connection, job_id, found)
