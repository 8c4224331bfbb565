import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import Forms, QueueState, ReturnForm, State, Step
from cutout.models import Job
from cutout.outputs.options import OutputOptions
from cutout.queue.attempts.outcomes import Snooze
from cutout.queue.blocks.pauses import pause
from cutout.queue.dispatch import Dispatch, dispatch, dispatch_calls
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.queue.promote import promote_due
from cutout.queue.reuse.identity import Recipe
from cutout.queue.reuse.serve_reused import ReuseScope
from cutout.queue.snapshot import read_snapshot
from tests.support.steps import LEASE

REUSE_SCOPE = ReuseScope(Recipe("/endpoint", 1, "my-bucket"))
ROOM = 500


def source(n: int, bucket: str = "my-bucket") -> str:
    """The address of the uploaded picture number `n`."""
    return f"s3://{bucket}/sources/{n:02x}/{n:064x}"


def buy(session: Session, n: int, **changed: object) -> None:
    """Buy its cutout, so that others can reuse it."""
    values = {
        "sha256": n.to_bytes(32, "big"),
        "form": "rgba",
        "endpoint": "/endpoint",
        "preparation": 1,
        "bucket": "my-bucket",
        "scope": "",
        "key": f"cutouts/{n}",
    } | changed
    session.execute(
        text(
            "INSERT INTO bought_results (source_sha256, bought_form, endpoint, preparation, bucket, scope,"
            " buyer, key, sha256, media_type, size_bytes, width, height, stored_at) VALUES (:sha256, :form,"
            " :endpoint, :preparation, :bucket, :scope, uuidv7(), :key, :sha256, 'image/png', 1, 2, 3, now())"
        ),
        values,
    )


def take(
    session: Session, count: int = 10, *, reuse_scope: ReuseScope | None = REUSE_SCOPE, room: int = ROOM
) -> Dispatch:
    return dispatch(session, count, lease=LEASE, reuse_scope=reuse_scope, reuse_room=room)


def lengths(turns: Dispatch) -> tuple[int, int]:
    return len(turns.calls), len(turns.reused)


def ids(dispatched: list[tuple[uuid.UUID, int]]) -> set[uuid.UUID]:
    return {job_id for job_id, _ in dispatched}


class TestDispatch:
    def test_takes_reusable_jobs_beside_the_calls(self, session: Session) -> None:
        """It takes as many calls as wanted, and each job gets the right queue state."""
        batch = create_batch(session, "b")
        names = [NewJob(source(n), str(n)) for n in range(1, 41)]
        jobs = enqueue_all(session, names, batch_id=batch.id)
        for n in range(1, 41):
            if n % 4:
                buy(session, n)
        turns = take(session, 5)
        assert ids(turns.calls) == {jobs[n - 1] for n in (4, 8, 12, 16, 20)}
        assert ids(turns.reused) == {job for n, job in enumerate(jobs, 1) if n % 4}
        found = read_snapshot(session, [])
        assert (found.reusing, found.outstanding[Step.CALL]) == (30, 5)
        assert {session.get_one(Job, job).queue_state for job in ids(turns.reused)} == {QueueState.REUSING}

    @pytest.mark.parametrize(
        "changed",
        [
            {"form": "mask"},
            {"endpoint": "/other"},
            {"preparation": 2},
            {"bucket": "other"},
            {"scope": "shop"},
        ],
        ids=lambda it: next(iter(it)),
    )
    def test_does_not_reuse_cutouts_of_another_identity(
        self, session: Session, changed: dict[str, object]
    ) -> None:
        """Another form, endpoint, preparation, bucket or scope is another cutout."""
        enqueue_all(session, [NewJob(source(1))])
        buy(session, 1, **changed)
        assert take(session).reused == []

    def test_reuses_a_purchase_for_jobs_that_would_buy_its_form(self, session: Session) -> None:
        """RGBA serves every form that is derived; a mask that was bought serves bought masks alone."""
        derived, bought = OutputOptions(), OutputOptions(Forms.BOUGHT)
        jobs = {
            (form, outputs.forms): enqueue_all(session, [NewJob(source(n), None, form, outputs=outputs)])[0]
            for n in (1, 2)
            for form in ReturnForm
            for outputs in ((derived,) if n == 1 else (bought,))
        }
        for n in (1, 2):
            buy(session, n, key=f"cutouts/{n}.rgba")
        buy(session, 2, form="mask", key="cutouts/2.mask")
        reused = {(form, Forms.DERIVED) for form in ReturnForm}
        reused |= {(form, Forms.BOUGHT) for form in (ReturnForm.RGBA, ReturnForm.MASK)}
        assert ids(take(session, 20).reused) == {jobs[pair] for pair in reused}

    @pytest.mark.parametrize(
        "address",
        [
            "https://shop.example/sources/01/" + "1".zfill(64),
            source(1, "other-bucket"),
            source(1, "myxbucket"),
            source(1) + "0",
            source(1)[:-1] + "g",
            source(1).upper(),
            f"s3://my-bucket/drop/{source(1)}",
            "s3://my-bucket/sources/01/",
        ],
    )
    def test_does_not_take_other_addresses_for_uploaded_sources(self, session: Session, address: str) -> None:
        """A picture at another address may have changed, so a worker fetches it."""
        enqueue_all(session, [NewJob(address)])
        buy(session, 1)
        assert lengths(take(session)) == (1, 0)

    def test_lets_a_batch_buy_again_that_forbids_reuse(self, session: Session) -> None:
        """Reuse is off for the batch or for the whole installation."""
        batch = create_batch(session, "b", reuse=False)
        never = enqueue_all(session, [NewJob(source(1), "a")], batch_id=batch.id)
        buy(session, 1)
        assert ids(take(session).calls) == set(never)
        enqueue_all(session, [NewJob(source(1), "b")])
        assert lengths(take(session, reuse_scope=None)) == (1, 0)

    def test_reuses_nothing_for_a_paused_batch(self, session: Session) -> None:
        """Its jobs are blocked, and reusable jobs behind them are taken."""
        delayed = create_batch(session, "b")
        jobs = enqueue_all(session, [NewJob(source(1), str(n)) for n in range(30)], batch_id=delayed.id)
        others = enqueue_all(session, [NewJob(source(1))] * 30)
        buy(session, 1)
        pause(session, delayed.id)
        turns = take(session, 5)
        assert ids(turns.reused) == set(others)
        assert {session.get_one(Job, job).queue_state for job in jobs} == {QueueState.BLOCKED}

    def test_stops_where_there_is_no_room(self, session: Session) -> None:
        """It exceeds the room by the jobs of one round at most."""
        enqueue_all(session, [NewJob(source(1))] * 100)
        buy(session, 1)
        assert 20 <= len(take(session, 5, room=20).reused) <= 25
        assert len(take(session, 5, room=0).reused) == 5

    def test_advances_virtual_time_no_further_than_the_calls(self, session: Session) -> None:
        """A job that is enqueued next shares the endpoint at once, however far reuse has looked ahead."""
        batch = create_batch(session, "b")
        names = [NewJob(source(n), str(n)) for n in range(1, 101)]
        jobs = enqueue_all(session, names, batch_id=batch.id)
        for n in range(1, 100, 2):
            buy(session, n)
        turns = take(session, 1)
        assert (len(turns.reused), ids(turns.calls)) == (50, {jobs[1]})
        present = session.scalar(text("SELECT queue_virtual_time FROM shares"))
        assert present == session.get_one(Job, jobs[1]).virtual_start


@pytest.fixture
def message(session: Session) -> queue.Dispatched:
    """Three jobs in a message for reuse."""
    batch = create_batch(session, "b")
    enqueue_all(session, [NewJob(source(n), str(n)) for n in range(1, 4)], batch_id=batch.id)
    for n in range(1, 4):
        buy(session, n)
    return take(session).reused


class TestReusing:
    def test_completes_the_jobs_of_a_message(self, session: Session, message: queue.Dispatched) -> None:
        """Each job gets its own cutout, costs nothing and says that it was reused."""
        found = queue.find_bought(session, message, REUSE_SCOPE)
        assert queue.complete_reused(session, found, REUSE_SCOPE) == 3
        session.expire_all()
        jobs = [session.get_one(Job, job_id) for job_id, _ in message]
        assert [(job.state, job.queue_state, job.reused, job.key) for job in jobs] == [
            (State.SUCCEEDED, None, True, f"cutouts/{n}") for n in (1, 2, 3)
        ]
        assert [job.source_sha256 for job in jobs] == [n.to_bytes(32, "big") for n in (1, 2, 3)]
        assert {(job.width, job.height, job.media_type) for job in jobs} == {(2, 3, "image/png")}
        assert all(job.finished_at for job in jobs)

    def test_twice_changes_nothing(self, session: Session, message: queue.Dispatched) -> None:
        """A repeated message changes nothing, nor does one under an older fence."""
        found = queue.find_bought(session, message, REUSE_SCOPE)
        queue.complete_reused(session, found, REUSE_SCOPE)
        assert queue.find_bought(session, message, REUSE_SCOPE) == []
        assert queue.complete_reused(session, found, REUSE_SCOPE) == 0

    def test_under_an_older_fence_changes_nothing(self, session: Session, message: queue.Dispatched) -> None:
        """The lease was over, and another message has these jobs."""
        late = queue.find_bought(session, message, REUSE_SCOPE)
        session.execute(text("UPDATE jobs SET scheduled_at = now() - interval '1 s'"))
        assert promote_due(session) == 3
        again = take(session).reused
        assert queue.complete_reused(session, late, REUSE_SCOPE) == 0
        queue.requeue(session, message)
        queue.delay(session, message, Snooze("X", "y", 5))
        assert read_snapshot(session, []).reusing == 3
        assert (
            queue.complete_reused(session, queue.find_bought(session, again, REUSE_SCOPE), REUSE_SCOPE) == 3
        )

    @pytest.mark.parametrize(
        "meanwhile",
        [
            "UPDATE jobs SET state = 'cancelled', queue_state = NULL, finished_at = now()",
            "UPDATE jobs SET step = 'copy', result_url = 'https://r/1', result_expires_at = now()",
            "DELETE FROM bought_results",
            "UPDATE bought_results SET key = 'cutouts/anew'",
            "UPDATE bought_results SET sha256 = 'other'",
        ],
    )
    def test_leaves_jobs_alone_that_changed_meanwhile(
        self, session: Session, message: queue.Dispatched, meanwhile: str
    ) -> None:
        """A job was cancelled, paid by a worker believed dead, or its cutout deleted or bought again."""
        found = queue.find_bought(session, message, REUSE_SCOPE)
        session.execute(text(meanwhile))
        assert queue.complete_reused(session, found, REUSE_SCOPE) == 0

    def test_of_a_broken_cutout_makes_the_job_its_buyer(
        self, session: Session, message: queue.Dispatched
    ) -> None:
        """A second job that finds it broken changes nothing. The first becomes ready for a call."""
        first, *_ = queue.find_bought(session, message, REUSE_SCOPE)
        wait = queue.miss(session, first, REUSE_SCOPE)
        assert wait
        assert wait.code == "CUTOUT_MISSING"
        session.execute(text("UPDATE bought_results SET missing_since = missing_since - interval '1 hour'"))
        assert queue.miss(session, first, REUSE_SCOPE) is None
        row = session.execute(text("SELECT buyer, stored_at FROM bought_results WHERE key IS NULL")).one()
        assert (row.buyer, row.stored_at) == (first.job_id, None)
        queue.requeue(session, message)
        assert ids(take(session).calls) == {first.job_id}

    def test_that_is_delayed_has_a_reason(self, session: Session, message: queue.Dispatched) -> None:
        """The jobs are delayed like a single job."""
        queue.delay(session, message, Snooze("STORAGE_AWAY", "it is away", 15))
        session.expire_all()
        jobs = [session.get_one(Job, job_id) for job_id, _ in message]
        assert {(job.queue_state, job.code, job.message) for job in jobs} == {
            (QueueState.DELAYED, "STORAGE_AWAY", "it is away")
        }


class TestDeletingACutout:
    def test_waits_for_jobs_that_are_just_completed_with_it(self, engine: Engine) -> None:
        """The deletion sees afterwards that they have it."""
        with Session(engine) as session, session.begin():
            enqueue_all(session, [NewJob(source(1))])
            buy(session, 1)
            served = take(session).reused
        with ThreadPoolExecutor(1) as pool, Session(engine) as session, session.begin():
            assert (
                queue.complete_reused(session, queue.find_bought(session, served, REUSE_SCOPE), REUSE_SCOPE)
                == 1
            )
            deleted = pool.submit(_delete_results, engine)
            time.sleep(0.5)
            assert not deleted.done()
            session.commit()
            assert deleted.result(10) == 1


def _delete_results(engine: Engine) -> int:
    with engine.begin() as connection:
        return connection.execute(text("DELETE FROM bought_results")).rowcount


def test_a_dispatch_of_calls_reuses_nothing(session: Session) -> None:
    """All jobs are dispatched for calls."""
    enqueue_all(session, [NewJob(source(1))] * 3)
    buy(session, 1)
    assert len(dispatch_calls(session, 5, lease=LEASE)) == 3
