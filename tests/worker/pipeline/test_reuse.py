from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from cutout.enums import Forms, ReturnForm, Reuse, State
from cutout.models import Job
from cutout.queue.reuse.source_validators import find_validator
from cutout.storage import Bucket
from tests.support.bench import Bench
from tests.support.sandbox import Sandbox
from tests.support.web import WebServer

FORMS = tuple(ReturnForm)


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A server with pictures that sends ETags and counts the pictures that it sends."""
    with WebServer() as server:
        yield server


def let_minutes_pass(bench: Bench) -> None:
    """Move the first check of the missing cutouts some minutes into the past."""
    with bench.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE bought_results SET missing_since = missing_since - interval '10 minutes',"
                " missing_seen_at = missing_seen_at - interval '10 minutes'"
            )
        )


def stored(job: Job) -> tuple[str | None, bool]:
    return job.key, job.reused


class TestAPictureThatWasBought:
    def test_is_served_from_what_is_stored(self, reusing: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """The second job has the first job's cutout, costs nothing, and says so."""
        first, second = reusing.done(photo), reusing.done(photo)
        assert (second.state, second.reused, first.reused) == (State.SUCCEEDED, True, False)
        assert (second.key, second.sha256, second.width) == (first.key, first.sha256, first.width)
        assert reusing.attempts(second.id) == []
        assert sandbox.charges() == 1

    def test_is_bought_once_for_all_its_forms(self, reusing: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """Four jobs, each of a batch of its own, have one RGBA object; each form is an output to be made."""
        jobs = [reusing.done(photo, form) for form in FORMS]
        assert [job.reused for job in jobs] == [False, True, True, True]
        assert len({job.key for job in jobs}) == 1
        assert sandbox.charges() == 1
        with reusing.engine.connect() as connection:
            outputs = connection.execute(text("SELECT job_id, name FROM outputs WHERE name <> 'score'"))
            made_of_it = {(job.id, job.return_form) for job in jobs if job.return_form != ReturnForm.RGBA}
            assert set(outputs) == made_of_it
            assert connection.scalar(text("SELECT count(*) FROM outputs WHERE name = 'score'")) == 1

    def test_is_bought_once_for_four_jobs_at_the_same_time(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """One of four jobs in line buys it, whatever its form; the others are served from that."""
        jobs = [reusing.enqueue(photo, form) for form in FORMS]
        for _ in FORMS:
            reusing.work()
        done = [reusing.job(job_id) for job_id in jobs]
        assert [job.state for job in done] == [State.SUCCEEDED] * 4
        assert sorted(job.reused for job in done) == [False, True, True, True]
        assert sandbox.charges() == 1

    def test_is_bought_in_each_form_where_forms_are_bought(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """A mask that is bought is another cutout than a white background that is bought."""
        forms = [*FORMS, ReturnForm.MASK]
        jobs = [reusing.done(photo, form, forms=Forms.BOUGHT) for form in forms]
        assert [job.reused for job in jobs] == [False] * 4 + [True]
        assert sandbox.charges() == 4

    def test_as_a_form_serves_that_form_alone(self, reusing: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """A mask that was bought serves a bought mask; nothing is derived from it. RGBA serves both."""
        reusing.done(photo, ReturnForm.MASK, forms=Forms.BOUGHT)
        assert reusing.done(photo, ReturnForm.MASK, forms=Forms.BOUGHT).reused
        derived = reusing.done(photo, ReturnForm.MASK)
        assert (derived.reused, sandbox.charges()) == (False, 2)
        assert reusing.done(photo, ReturnForm.RGBA, forms=Forms.BOUGHT).reused
        assert sandbox.charges() == 2

    def test_is_bought_anew_where_a_batch_wants_it(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """A batch with `reuse: never` buys anew."""
        reusing.done(photo)
        job_id = reusing.enqueue(photo)
        with reusing.engine.begin() as connection:
            connection.execute(text("UPDATE batches SET reuse = false"))
        reusing.work()
        assert not reusing.job(job_id).reused
        assert sandbox.charges() == 2

    @pytest.mark.parametrize("harm", ["delete", "alter"])
    def test_and_is_not_in_the_bucket_any_more_is_bought_again(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes, harm: str
    ) -> None:
        """A deleted or altered cutout is detected and not used; a third job has the new one.

        The bucket is checked a second time first, some minutes later.
        """
        key = reusing.done(photo).key
        assert key is not None
        if harm == "delete":
            reusing.bucket.delete(key)
        else:
            reusing.bucket.put_cutout(b"something else", key=key, media_type="image/png", metadata={})
        waiting = reusing.done(photo)
        assert (waiting.state, waiting.code, sandbox.charges()) == (State.QUEUED, "CUTOUT_MISSING", 1)
        let_minutes_pass(reusing)
        reusing.work()
        second, third = reusing.job(waiting.id), reusing.done(photo)
        assert (second.state, second.reused, third.reused) == (State.SUCCEEDED, False, True)
        assert third.key == second.key
        assert sandbox.charges() == 2


class TestJobsForOnePicture:
    def test_make_one_call(self, reusing: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """The second job waits while the first is under way, and is served from its cutout."""
        first = reusing.enqueue(photo)
        sandbox.fault("code", code="PROCESSING_FAILURE", next=1)
        reusing.work()
        second = reusing.enqueue(photo)
        reusing.change(first, "state = 'running', queue_state = NULL, worker_id = uuidv7()")
        reusing.work()
        assert (reusing.job(second).code, reusing.job(second).waits_for) == ("TWIN_IS_BOUGHT", first)
        assert reusing.attempts(second) == []
        reusing.change(first, "state = 'queued', queue_state = 'ready', worker_id = NULL")
        for _ in range(2):
            reusing.work()
        assert [reusing.job(job_id).state for job_id in (first, second)] == [State.SUCCEEDED] * 2
        assert reusing.job(second).reused
        assert sandbox.charges() == 1

    @pytest.mark.parametrize("end", ["failed", "cancelled"])
    def test_do_not_wait_for_one_that_ended_without_it(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes, end: str
    ) -> None:
        """After a buyer that failed or was cancelled, the next job buys."""
        sandbox.fault("code", code="ERROR_ILLEGAL_FILE", next=1)
        first = reusing.done(photo)
        if end != "failed":
            reusing.change(first.id, "state = 'cancelled'")
        second = reusing.done(photo)
        assert (second.state, second.reused) == (State.SUCCEEDED, False)
        assert sandbox.charges() == 1


class TestAPictureOnTheWeb:
    def test_that_has_not_changed_is_not_fetched_again(
        self, web_bench: Bench, web: WebServer, sandbox: Sandbox, photo: bytes
    ) -> None:
        """Its server answers 304, and the stored cutout is used."""
        url = web.serve("/a.jpg", photo, etag='"v1"')
        jobs = [web_bench.done(url), web_bench.done(url)]
        assert [job.reused for job in jobs] == [False, True]
        assert (web.sent("/a.jpg"), sandbox.charges()) == (1, 1)

    def test_that_has_changed_is_bought(
        self, web_bench: Bench, web: WebServer, sandbox: Sandbox, photo: bytes
    ) -> None:
        """Another ETag, other bytes: another call. Back to the first bytes: no call."""
        url = web.serve("/a.jpg", photo, etag='"v1"')
        web_bench.done(url)
        web.serve("/a.jpg", photo + b"more", etag='"v2"')
        assert not web_bench.done(url).reused
        web.serve("/a.jpg", photo, etag='"v3"')
        assert web_bench.done(url).reused
        assert sandbox.charges() == 2

    def test_at_two_addresses_is_bought_once(
        self, web_bench: Bench, web: WebServer, sandbox: Sandbox, photo: bytes
    ) -> None:
        """The bytes decide, not the address."""
        jobs = [web_bench.done(web.serve(path, photo, etag=None)) for path in ("/a.jpg", "/b.jpg")]
        assert [job.reused for job in jobs] == [False, True]
        assert sandbox.charges() == 1


class TestAPictureInABucket:
    def test_that_has_not_changed_is_not_fetched_again(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """Its ETag is stored: asked with it, the bucket sends no bytes until they change."""
        key, address = "drop/a.jpg", f"s3://{reusing.bucket.name}/drop/a.jpg"
        reusing.bucket.put_cutout(photo, key=key, media_type="image/jpeg", metadata={})
        assert [reusing.done(address).reused for _ in range(2)] == [False, True]
        with reusing.engine.connect() as connection:
            remembered = find_validator(connection, address)
        assert remembered
        assert reusing.context.sources.read_changed(address, remembered) is None
        reusing.bucket.put_cutout(photo + b"more", key=key, media_type="image/jpeg", metadata={})
        assert reusing.context.sources.read_changed(address, remembered) is not None
        assert not reusing.done(address).reused
        assert sandbox.charges() == 2

    def test_of_another_bucket_is_remembered_as_well(
        self, make_bench: Callable[..., Bench], bucket: Bucket, photo: bytes
    ) -> None:
        """A bucket that the settings allow is remembered as well."""
        other = bucket.sibling(f"{bucket.name}-drop")
        other.create()
        other.put_cutout(photo, key="a.jpg", media_type="image/jpeg", metadata={})
        bench = make_bench(reuse=Reuse.PRODUCER, source_buckets=(other.name,))
        address = f"s3://{other.name}/a.jpg"
        assert [bench.done(address).reused for _ in range(2)] == [False, True]
        with bench.engine.connect() as connection:
            assert bench.context.sources.read_changed(address, find_validator(connection, address)) is None


@pytest.fixture
def web_bench(make_bench: Callable[..., Bench], web: WebServer) -> Bench:
    """A bench that may fetch from that server, and reuses."""
    return make_bench(reuse=Reuse.PRODUCER, source_private_hosts=(web.host,))


def test_a_host_gets_no_more_requests_at_once_than_set(
    make_bench: Callable[..., Bench], web: WebServer, photo: bytes
) -> None:
    """The job above the bound comes back soon, with no try used."""
    bench = make_bench(source_private_hosts=(web.host,), source_fetches_per_host=1)
    url = web.serve("/a.jpg", photo, etag=None)
    with bench.context.sources._hosts.turn(web.host):
        job = bench.done(url)
    assert (job.state, job.code, job.tries) == (State.QUEUED, "SOURCE_BUSY", 0)
    bench.work()
    assert bench.job(job.id).state == State.SUCCEEDED
