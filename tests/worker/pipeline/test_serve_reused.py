import uuid
from collections.abc import Callable
from contextlib import closing

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout.enums import Reuse, Standing, State
from cutout.models import Job
from cutout.queue.dispatch import hand_out
from cutout.queue.reuse.serve_reused import HandedOut, Shelf
from cutout.storage import Bucket
from tests.support.bench import Bench
from tests.support.pictures import encoded, plain
from tests.support.sandbox import Sandbox
from tests.support.steps import LEASE
from tests.support.system import wait_until
from tests.worker.pipeline.test_reuse import let_minutes_pass
from worker.pipeline.serve_reused import serve
from worker.signed_objects import ObjectLinks

MOST = 50


def parcel(bench: Bench, *sources: bytes) -> HandedOut:
    """A job for each of these pictures, whose cutouts are bought, on their way to be served."""
    enqueued = [bench.enqueue(source) for source in sources]
    with Session(bench.engine) as session, session.begin():
        shelf = Shelf(bench.context.making, bench.context.settings.reuse)
        turns = hand_out(session, MOST, lease=LEASE, shelf=shelf, room=MOST)
    assert turns.calls == []
    fences = dict(turns.served)
    return [(job_id, fences[job_id]) for job_id in enqueued]


def jobs(bench: Bench, handed_out: HandedOut) -> list[Job]:
    return [bench.job(job_id) for job_id, _ in handed_out]


def standings(bench: Bench, handed_out: HandedOut) -> list[tuple[State, Standing | None]]:
    return [(job.state, job.standing) for job in jobs(bench, handed_out)]


DONE = (State.SUCCEEDED, None)
IN_LINE = (State.QUEUED, Standing.IN_LINE)


class TestAParcel:
    def test_is_served_without_a_call(self, reusing: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """Each job has the cutout of its own picture."""
        pictures = [photo, encoded(plain(), "PNG")]
        bought = [reusing.done(each) for each in pictures]
        served = parcel(reusing, *pictures, photo)
        serve(reusing.context, served)
        ended = jobs(reusing, served)
        assert [job.key for job in ended] == [bought[0].key, bought[1].key, bought[0].key]
        assert [(job.state, job.reused) for job in ended] == [(State.SUCCEEDED, True)] * 3
        assert [reusing.attempts(job.id) for job in ended] == [[]] * 3
        assert sandbox.charges() == 2

    @pytest.mark.parametrize("harm", ["delete", "alter"])
    def test_with_a_broken_cutout_buys_that_one_again(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes, harm: str
    ) -> None:
        """What was deleted or altered is noticed, not handed out; the others are served."""
        other = encoded(plain(), "PNG")
        broken, _ = reusing.done(photo), reusing.done(other)
        assert broken.key
        if harm == "delete":
            reusing.bucket.delete(broken.key)
        else:
            reusing.bucket.put_cutout(b"else", key=broken.key, media_type="image/png", metadata={})
        served = parcel(reusing, photo, other)
        serve(reusing.context, served)
        missed, _ = jobs(reusing, served)
        assert (missed.standing, missed.code) == (Standing.RESTING, "CUTOUT_MISSING")
        let_minutes_pass(reusing)
        reusing.change(missed.id, "standing = 'serving'")
        serve(reusing.context, served)
        assert standings(reusing, served) == [IN_LINE, DONE]
        reusing.work()
        first, _ = jobs(reusing, served)
        assert (first.state, first.reused, sandbox.charges()) == (State.SUCCEEDED, False, 3)

    def test_rests_while_the_bucket_is_away(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is bought for that, and no try used; later it is served."""
        reusing.done(photo)
        served = parcel(reusing, photo, photo)
        away = Bucket(reusing.context.settings.model_copy(update={"s3_access_key": "nobody"}))
        with monkeypatch.context() as patch, closing(away), closing(ObjectLinks(away)) as refused:
            patch.setattr(reusing.context.objects, "holds", refused.holds)
            serve(reusing.context, served)
        resting = jobs(reusing, served)
        assert [(job.standing, job.code, job.tries) for job in resting] == [
            (Standing.RESTING, "STORAGE_AWAY", 0)
        ] * 2
        wait_until(lambda: reusing.context.bucket_watch.may_buy, "the bucket answers the worker")
        reusing.work()
        assert standings(reusing, served) == [DONE] * 2
        assert sandbox.charges() == 1

    def test_of_a_worker_that_ends_goes_back_in_line(self, reusing: Bench, photo: bytes) -> None:
        """At once: nobody waits for the lease."""
        reusing.done(photo)
        served = parcel(reusing, photo)
        reusing.context.stopping.set()
        serve(reusing.context, served)
        assert standings(reusing, served) == [IN_LINE]

    def test_that_comes_late_changes_nothing(self, reusing: Bench, photo: bytes) -> None:
        """Repeated, under an older fence, or for a job that was withdrawn."""
        reusing.done(photo)
        served = parcel(reusing, photo, photo)
        (first, fence), second = served
        reusing.change(first, "state = 'cancelled', standing = NULL, finished_at = now()")
        serve(reusing.context, [(first, fence), (second[0], second[1] - 1), (uuid.uuid4(), 1)])
        assert standings(reusing, served) == [(State.CANCELLED, None), (State.QUEUED, Standing.SERVING)]
        serve(reusing.context, served)
        serve(reusing.context, served)
        assert standings(reusing, served) == [(State.CANCELLED, None), DONE]

    def test_whose_results_were_forgotten_goes_back_in_line(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """Somebody deleted the job that had bought it: it is bought again."""
        reusing.done(photo)
        served = parcel(reusing, photo)
        with reusing.engine.begin() as connection:
            connection.execute(text("DELETE FROM bought_results"))
        serve(reusing.context, served)
        assert standings(reusing, served) == [IN_LINE]
        reusing.work()
        assert (standings(reusing, served), sandbox.charges()) == ([DONE], 2)


def test_a_link_tells_whether_the_bucket_holds_a_cutout(
    make_bench: Callable[..., Bench], photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one request and its checksum: boto3 is not needed to see that it is there."""
    bench = make_bench(reuse=Reuse.PRODUCER)
    bench.done(photo)
    monkeypatch.setattr(Bucket, "holds", lambda *_, **__: pytest.fail("boto3 was asked"))
    served = parcel(bench, photo)
    serve(bench.context, served)
    assert standings(bench, served) == [DONE]
