from collections.abc import Callable

import pytest

from cutout.enums import State
from cutout.queue.attempts.outcomes import Fail, Snooze
from cutout.storage import StorageError
from tests.support.bench import Bench
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.support.system import wait_until
from worker.pipeline.source_failures import LASTING, outcome_of_failure


def answered(code: str) -> StorageError:
    error = StorageError(f"the S3 server answered {code}")
    error.code = code
    return error


@pytest.mark.parametrize("code", sorted(LASTING))
def test_a_lasting_error_fails_with_a_code_of_its_own(code: str) -> None:
    """The message has the server's code and a remedy."""
    outcome = outcome_of_failure(answered(code), lambda: True)
    assert isinstance(outcome, Fail)
    assert outcome.code.startswith("SOURCE_")
    assert code in outcome.message


@pytest.mark.parametrize("code", sorted(LASTING))
def test_no_error_lasts_while_our_own_bucket_does_not_work(code: str) -> None:
    """Changed keys refuse every object: no job fails for that."""
    outcome = outcome_of_failure(answered(code), lambda: False)
    assert isinstance(outcome, Snooze)
    assert (outcome.code, outcome.of_source) == ("STORAGE_AWAY", True)


@pytest.mark.parametrize("code", ["SlowDown", "InternalError", "InvalidAccessKeyId", ""])
def test_an_error_that_may_pass_is_waited_for(code: str) -> None:
    """An error that may pass is waited for, keys included: they can be fixed without the job."""
    assert isinstance(outcome_of_failure(answered(code), lambda: True), Snooze)


@pytest.fixture
def bench(make_bench: Callable[..., Bench], proxy: Proxy) -> Bench:
    """A bench whose bucket is behind the proxy."""
    return make_bench(s3_endpoint_url=proxy.url)


class TestASourceInTheBucket:
    @pytest.mark.parametrize(
        ("status", "code", "expected"),
        [
            (403, "InvalidObjectState", "SOURCE_ARCHIVED"),
            (400, "AuthorizationHeaderMalformed", "SOURCE_IN_OTHER_REGION"),
            (403, "AccessDenied", "SOURCE_FORBIDDEN"),
            (400, "KMS.DisabledException", "SOURCE_KEY_UNUSABLE"),
        ],
    )
    def test_that_is_kept_back_for_good_fails(
        self, bench: Bench, proxy: Proxy, photo: bytes, *, status: int, code: str, expected: str
    ) -> None:
        """The job does not read it every 15 s for ever."""
        proxy.answer("GET /" + bench.bucket.name + "/sources/", status, code)
        job = bench.done(photo)
        assert (job.state, job.code) == (State.FAILED, expected)

    def test_is_waited_for_a_day_and_then_fails(
        self, bench: Bench, proxy: Proxy, photo: bytes, sandbox: Sandbox
    ) -> None:
        """The day counts by Postgres' clock, and only if the job has no other outcome meanwhile."""
        proxy.answer("GET /" + bench.bucket.name + "/sources/", 409, "OperationAborted")
        job_id = bench.enqueue(photo)
        bench.work()
        job = bench.job(job_id)
        assert (job.state, job.code) == (State.QUEUED, "STORAGE_AWAY")
        assert job.source_failed_at is not None
        trusted = bench.context.bucket_watch
        bench.change(job_id, "source_failed_at = now() - interval '23 hours 59 minutes'")
        wait_until(lambda: trusted.may_buy, "the bucket answers the worker")
        bench.work()
        assert bench.job(job_id).state == State.QUEUED
        bench.change(job_id, "source_failed_at = now() - interval '24 hours 1 minute'")
        wait_until(lambda: trusted.may_buy, "the bucket answers the worker")
        bench.work()
        job = bench.job(job_id)
        assert (job.state, job.code, job.source_failed_at) == (State.FAILED, "SOURCE_UNAVAILABLE", None)
        assert "OperationAborted" in (job.message or "")
        assert sandbox.charges() == 0

    def test_is_not_blamed_for_keys_that_nothing_accepts(
        self, bench: Bench, proxy: Proxy, photo: bytes
    ) -> None:
        """With changed keys every object is refused: the jobs wait for the right keys."""
        job_id = bench.enqueue(photo)
        proxy.set(Mode.FORBID)
        bench.work()
        job = bench.job(job_id)
        assert (job.state, job.code) == (State.QUEUED, "STORAGE_AWAY")
