import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.models import Producer
from cutout.producers.producers import create_producer, set_quota
from cutout.producers.quotas import QuotaReachedError, take_quota, take_up_to
from cutout.queue.enqueue import NewJob, enqueue_all

JOB = NewJob("https://shop.example/a.jpg")


def enqueue(session: Session, producer: Producer, count: int) -> None:
    """Reserve room, then enqueue the jobs, as the API does."""
    take_quota(session, producer.id, count)
    enqueue_all(session, [JOB] * count, producer_id=producer.id)


@pytest.fixture
def shop(session: Session) -> Producer:
    """A producer that may have three unfinished jobs."""
    producer, _ = create_producer(session, "shop")
    set_quota(session, producer.id, 3)
    return producer


class TestAQuota:
    def test_lets_no_more_in_than_it_says(self, session: Session, shop: Producer) -> None:
        """The third job is accepted, the fourth refused with the figures."""
        enqueue(session, shop, 2)
        enqueue(session, shop, 1)
        with pytest.raises(QuotaReachedError, match=r"3 unfinished jobs.* 1 more"):
            enqueue(session, shop, 1)

    def test_counts_those_that_were_there_before_it(self, session: Session, shop: Producer) -> None:
        """A quota counts jobs from before it was set."""
        set_quota(session, shop.id, None)
        enqueue(session, shop, 4)
        set_quota(session, shop.id, 5)
        enqueue(session, shop, 1)
        with pytest.raises(QuotaReachedError):
            enqueue(session, shop, 1)

    def test_has_room_again_once_jobs_end(self, session: Session, shop: Producer) -> None:
        """Ended jobs are found once the last count is a second old, and not before."""
        enqueue(session, shop, 3)
        session.execute(text("UPDATE jobs SET state = 'cancelled', queue_state = NULL, finished_at = now()"))
        with pytest.raises(QuotaReachedError):
            enqueue(session, shop, 1)
        session.execute(text("UPDATE producers SET quota_counted_at = quota_counted_at - interval '1.1 s'"))
        enqueue(session, shop, 3)

    def test_that_is_none_is_no_bound(self, session: Session) -> None:
        """For a producer without a quota nothing is written."""
        producer, _ = create_producer(session, "shop")
        take_quota(session, producer.id, 10**6)
        session.refresh(producer)
        assert (producer.job_quota, producer.quota_taken) == (None, 0)

    def test_that_is_reached_locks_nobody_out_who_writes_rows_of_the_producer(self, engine: Engine) -> None:
        """A message or a job refers to it, and its writer may hold the batch that comes next here."""
        with Session(engine) as session, session.begin():
            producer_id = create_producer(session, "shop")[0].id
            set_quota(session, producer_id, 1)
        with engine.begin() as taking, engine.begin() as writing:
            assert take_up_to(taking, producer_id, 2) == 1
            writing.execute(text("SELECT id FROM producers FOR KEY SHARE NOWAIT"))
