import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cutout.enums import Priority, QueueState, ReturnForm, State, Step, Unique
from cutout.models import Job
from cutout.producers.producers import create_producer
from cutout.queue.dispatch import dispatch_calls
from cutout.queue.enqueue import InvalidJobError, NewJob, create_batch, enqueue, enqueue_all
from tests.support.steps import LEASE

SOURCE = "https://shop.example/a.jpg"


def named(*external_ids: str) -> list[NewJob]:
    return [NewJob(SOURCE, external_id) for external_id in external_ids]


def order_of(session: Session, count: int) -> list[str]:
    """The external ids in the order of dispatch."""
    taken = []
    for job_id, _ in dispatch_calls(session, count, lease=LEASE):
        taken.append(session.get_one(Job, job_id).external_id or "")
    return taken


class TestAnEnqueuedJob:
    def test_is_ready_at_its_first_step(self, session: Session) -> None:
        """A new job is queued and ready, at the step `call`."""
        job = session.get_one(Job, enqueue(session, NewJob(SOURCE, return_form=ReturnForm.MASK)))
        assert (job.state, job.queue_state, job.step) == (State.QUEUED, QueueState.READY, Step.CALL)
        assert (job.return_form, job.fence, job.tries) == (ReturnForm.MASK, 0, 0)

    def test_exists_only_if_the_producers_transaction_commits(self, session: Session) -> None:
        """After a rollback of the producer's own work there is no job."""
        enqueue(session, NewJob(SOURCE))
        session.rollback()
        assert session.scalars(select(Job)).all() == []

    def test_belongs_to_its_batchs_producer(self, session: Session) -> None:
        """A job of a batch belongs to the batch's producer, however it is enqueued."""
        producer, _ = create_producer(session, "shop")
        batch = create_batch(session, "b", producer_id=producer.id)
        job_id = enqueue(session, NewJob(SOURCE, "a"), batch_id=batch.id)
        assert session.get_one(Job, job_id).producer_id == producer.id

    def test_of_no_producer_cannot_be_unique_among_its_jobs(self, session: Session) -> None:
        with pytest.raises(InvalidJobError, match="without a producer"):
            enqueue(session, NewJob(SOURCE, "a", unique=Unique.PRODUCER))

    @pytest.mark.parametrize(
        ("source", "external_id", "field"),
        [
            ("ftp://shop.example/a.jpg", "a", "source"),
            ("shop.example/a.jpg", "a", "source"),
            ("https://", "a", "source"),
            ("https://user:pw@shop.example/a.jpg", "a", "source"),
            ("https://shop.example/a b.jpg", "a", "source"),
            ("https://shop.example/\x00", "a", "source"),
            ("https://[::1/a.jpg", "a", "source"),
            ("https://shop.example/" + "a" * 2048, "a", "source"),
            (SOURCE, "", "external_id"),
            (SOURCE, "x" * 256, "external_id"),
            (SOURCE, "a\nb", "external_id"),
            (SOURCE, "a\x00", "external_id"),
            (SOURCE, "\ud800", "external_id"),
        ],
    )
    def test_is_refused_if_it_can_never_work(self, source: str, external_id: str, field: str) -> None:
        """The error names the wrong field."""
        with pytest.raises(InvalidJobError) as error:
            NewJob(source, external_id)
        assert error.value.field == field


def test_a_key_of_a_bucket_may_have_blanks() -> None:
    """Names of objects are taken as they are; control characters are refused."""
    assert NewJob("s3://photos/red shoe (1).jpg").source == "s3://photos/red shoe (1).jpg"
    with pytest.raises(InvalidJobError, match="has control characters; rename the object"):
        NewJob("s3://photos/a\tb.jpg")


class TestABatch:
    def test_takes_an_external_id_once_in_each_form(self, session: Session) -> None:
        """One picture in two forms is two jobs of a batch; the same pair again is refused."""
        batch = create_batch(session, "b")
        enqueue(session, NewJob(SOURCE, "a"), batch_id=batch.id)
        enqueue(session, NewJob(SOURCE, "a", ReturnForm.MASK), batch_id=batch.id)
        with pytest.raises(InvalidJobError, match="already has 'a' as rgba, which is job 2: it is the job"):
            enqueue_all(session, [NewJob(SOURCE, "c"), NewJob(SOURCE, "a")], batch_id=batch.id)
        assert len(session.scalars(select(Job)).all()) == 2

    def test_is_enqueued_whole_or_not_at_all(self, session: Session) -> None:
        """A repeated id anywhere in the list leaves no job behind."""
        batch = create_batch(session, "b")
        with pytest.raises(InvalidJobError, match="'b' comes twice as rgba, in jobs 2 and 3"):
            enqueue_all(session, named("a", "b", "b"), batch_id=batch.id)
        assert session.scalars(select(Job)).all() == []

    def test_without_jobs_changes_nothing(self, session: Session) -> None:
        """An empty list enqueues nothing."""
        assert enqueue_all(session, []) == []


class TestTheVirtualStart:
    def test_keeps_the_order_of_a_batch(self, session: Session) -> None:
        """Jobs of one batch go out in the order in which they were enqueued."""
        batch = create_batch(session, "b")
        enqueue_all(session, named("a", "b", "c"), batch_id=batch.id)
        assert order_of(session, 3) == ["a", "b", "c"]

    def test_lets_a_small_batch_share_from_its_begin(self, session: Session) -> None:
        """A batch behind a long one alternates with it instead of waiting."""
        long, short = create_batch(session, "long"), create_batch(session, "short")
        enqueue_all(session, named(*(f"l{n}" for n in range(100))), batch_id=long.id)
        assert order_of(session, 10)[-1] == "l9"
        enqueue_all(session, named("s0", "s1", "s2"), batch_id=short.id)
        assert sorted(order_of(session, 6)) == ["l10", "l11", "l12", "s0", "s1", "s2"]

    def test_gives_a_batch_its_weights_share(self, session: Session) -> None:
        """A batch of weight 3 goes out three times as fast as one of weight 1."""
        heavy, light = create_batch(session, "heavy", weight=3.0), create_batch(session, "light")
        enqueue_all(session, named(*(f"h{n}" for n in range(40))), batch_id=heavy.id)
        enqueue_all(session, named(*(f"l{n}" for n in range(40))), batch_id=light.id)
        taken = order_of(session, 24)
        assert sum(name.startswith("h") for name in taken) == 18

    def test_comes_after_priority(self, session: Session) -> None:
        """An interactive job goes before all normal jobs, a bulk job after them."""
        enqueue(session, NewJob(SOURCE, "bulk", priority=Priority.BULK))
        enqueue(session, NewJob(SOURCE, "normal"))
        enqueue(session, NewJob(SOURCE, "interactive", priority=Priority.INTERACTIVE))
        assert order_of(session, 3) == ["interactive", "normal", "bulk"]

    def test_is_a_flow_of_its_own_for_a_producers_single_jobs(self, session: Session) -> None:
        """Many single jobs share with a batch instead of going before it."""
        producer, _ = create_producer(session, "shop")
        batch = create_batch(session, "b")
        for n in range(20):
            enqueue(session, NewJob(SOURCE, f"s{n}"), producer_id=producer.id)
        enqueue_all(session, named("b0", "b1"), batch_id=batch.id)
        assert {"b0", "b1"} < set(order_of(session, 4))


class TestTheDatabase:
    @pytest.mark.parametrize(
        "change",
        [
            "state = 'succeeded', queue_state = NULL",
            "state = 'succeeded', queue_state = NULL, finished_at = now()",
            "finished_at = now()",
            "state = 'running', queue_state = NULL",
            "state = 'held', queue_state = NULL",
            "state = 'lost', queue_state = NULL",
            "queue_state = NULL",
            "step = 'paint'",
            "return_form = 'svg'",
            "result_url = 'https://x'",
        ],
    )
    def test_refuses_impossible_states(self, session: Session, change: str) -> None:
        """Constraints hold for every writer."""
        job_id = enqueue(session, NewJob(SOURCE))
        with pytest.raises(IntegrityError, match="ck_jobs"):
            # The changes are literals of this file.
            session.execute(text(f"UPDATE jobs SET {change} WHERE id = :id"), {"id": job_id})  # noqa: S608
