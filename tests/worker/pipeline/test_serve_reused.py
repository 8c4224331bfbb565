import uuid
from collections.abc import Callable
from contextlib import closing

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout.enums import QueueState, Reuse, State
from cutout.models import Job
from cutout.queue.dispatch import dispatch
from cutout.queue.reuse.serve_reused import Dispatched, ReuseScope
from cutout.storage import Bucket
from tests.support.bench import Bench
from tests.support.pictures import encoded, plain
from tests.support.sandbox import Sandbox
from tests.support.steps import LEASE
from tests.support.system import wait_until
from tests.worker.pipeline.test_reuse import let_minutes_pass
from worker.pipeline.serve_reused import complete_reused
from worker.signed_objects import SignedObjectClient

MOST = 50


def message(bench: Bench, *sources: bytes) -> Dispatched:
    """Dispatch a message with one job for each of these pictures, whose cutouts are bought."""
    return message_of(bench, *(bench.upload(source) for source in sources))


def message_of(bench: Bench, *sources: str) -> Dispatched:
    """Dispatch a message with one job for each of these uploaded pictures."""
    enqueued = [bench.enqueue(source) for source in sources]
    fences = dict(dispatch_reused(bench))
    return [(job_id, fences[job_id]) for job_id in enqueued]


def dispatch_reused(bench: Bench) -> Dispatched:
    """Dispatch what is ready: jobs that reuse a cutout, and no others."""
    with Session(bench.engine) as session, session.begin():
        reuse_scope = ReuseScope(bench.context.recipe, bench.context.settings.reuse)
        turns = dispatch(session, MOST, lease=LEASE, reuse_scope=reuse_scope, reuse_room=MOST)
    assert turns.calls == []
    return turns.reused


def jobs(bench: Bench, dispatched: Dispatched) -> list[Job]:
    return [bench.job(job_id) for job_id, _ in dispatched]


def queue_states(bench: Bench, dispatched: Dispatched) -> list[tuple[State, QueueState | None]]:
    return [(job.state, job.queue_state) for job in jobs(bench, dispatched)]


DONE = (State.SUCCEEDED, None)
READY = (State.QUEUED, QueueState.READY)


class TestAMessageOfSeveralJobs:
    def test_is_served_without_a_call(self, reusing: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """Each job has the cutout of its own picture."""
        pictures = [photo, encoded(plain(), "PNG")]
        bought = [reusing.done(each) for each in pictures]
        served = message(reusing, *pictures, photo)
        complete_reused(reusing.context, served)
        ended = jobs(reusing, served)
        assert [job.key for job in ended] == [bought[0].key, bought[1].key, bought[0].key]
        assert [(job.state, job.reused) for job in ended] == [(State.SUCCEEDED, True)] * 3
        assert [reusing.attempts(job.id) for job in ended] == [[]] * 3
        assert sandbox.charges() == 2

    @pytest.mark.parametrize("harm", ["delete", "alter"])
    def test_with_a_broken_cutout_buys_that_one_again(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes, harm: str
    ) -> None:
        """A deleted or altered cutout is detected and not used; the others are served."""
        other = encoded(plain(), "PNG")
        broken, _ = reusing.done(photo), reusing.done(other)
        assert broken.key
        if harm == "delete":
            reusing.bucket.delete(broken.key)
        else:
            reusing.bucket.put_cutout(b"else", key=broken.key, media_type="image/png", metadata={})
        served = message(reusing, photo, other)
        complete_reused(reusing.context, served)
        missed, _ = jobs(reusing, served)
        assert (missed.queue_state, missed.code) == (QueueState.DELAYED, "CUTOUT_MISSING")
        let_minutes_pass(reusing)
        reusing.change(missed.id, "queue_state = 'reusing'")
        complete_reused(reusing.context, served)
        assert queue_states(reusing, served) == [READY, DONE]
        reusing.work()
        first, _ = jobs(reusing, served)
        assert (first.state, first.reused, sandbox.charges()) == (State.SUCCEEDED, False, 3)

    def test_is_delayed_while_the_bucket_is_unreachable(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is bought and no try is used; later the job is served."""
        reusing.done(photo)
        served = message(reusing, photo, photo)
        away = Bucket(reusing.context.settings.model_copy(update={"s3_access_key": "nobody"}))
        with monkeypatch.context() as patch, closing(away), closing(SignedObjectClient(away)) as refused:
            holds = SignedObjectClient.holds
            patch.setattr(SignedObjectClient, "holds", lambda _, stored: holds(refused, stored))
            complete_reused(reusing.context, served)
        delayed = jobs(reusing, served)
        assert [(job.queue_state, job.code, job.tries) for job in delayed] == [
            (QueueState.DELAYED, "STORAGE_AWAY", 0)
        ] * 2
        wait_until(lambda: reusing.context.bucket_watch.may_buy, "the bucket answers the worker")
        reusing.work()
        assert queue_states(reusing, served) == [DONE] * 2
        assert sandbox.charges() == 1

    def test_of_a_worker_that_stops_is_queued_again(self, reusing: Bench, photo: bytes) -> None:
        """The jobs are ready at once, before the lease ends."""
        reusing.done(photo)
        served = message(reusing, photo)
        reusing.context.stopping.set()
        complete_reused(reusing.context, served)
        assert queue_states(reusing, served) == [READY]

    def test_that_comes_late_changes_nothing(self, reusing: Bench, photo: bytes) -> None:
        """A message may be repeated, under an older fence, or for a cancelled job."""
        reusing.done(photo)
        served = message(reusing, photo, photo)
        (first, fence), second = served
        reusing.change(first, "state = 'cancelled', queue_state = NULL, finished_at = now()")
        complete_reused(reusing.context, [(first, fence), (second[0], second[1] - 1), (uuid.uuid4(), 1)])
        assert queue_states(reusing, served) == [(State.CANCELLED, None), (State.QUEUED, QueueState.REUSING)]
        complete_reused(reusing.context, served)
        complete_reused(reusing.context, served)
        assert queue_states(reusing, served) == [(State.CANCELLED, None), DONE]

    def test_whose_results_were_deleted_is_queued_again(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """After the job that bought it is deleted, the cutout is bought again."""
        reusing.done(photo)
        served = message(reusing, photo)
        with reusing.engine.begin() as connection:
            connection.execute(text("DELETE FROM bought_results"))
        complete_reused(reusing.context, served)
        assert queue_states(reusing, served) == [READY]
        reusing.work()
        assert (queue_states(reusing, served), sandbox.charges()) == ([DONE], 2)


def test_a_link_tells_whether_the_bucket_holds_a_cutout(
    make_bench: Callable[..., Bench], photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request with a checksum tells it; boto3 is not used."""
    bench = make_bench(reuse=Reuse.PRODUCER)
    bench.done(photo)
    monkeypatch.setattr(Bucket, "holds", lambda *_, **__: pytest.fail("boto3 was asked"))
    served = message(bench, photo)
    complete_reused(bench.context, served)
    assert queue_states(bench, served) == [DONE]
