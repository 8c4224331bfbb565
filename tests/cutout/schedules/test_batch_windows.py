"""Windows of batches without a schedule: asked for with the batch, and kept until it is done."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cutout.ingest import IngestOptions
from cutout.ingest.checkpoint import make_batch
from cutout.models import Batch
from cutout.queue.blocks.pauses import IS_PAUSED
from cutout.queue.enqueue import NewJob, enqueue
from cutout.schedules.batch_windows import closed_batches, request_window, set_next_window
from cutout.schedules.schedule_errors import InvalidScheduleError
from tests.support.steps import SOURCE


def around(hours: int) -> str:
    """Hours of a day that begin so many hours from now and last for two."""
    begin = datetime.now(UTC) + timedelta(hours=hours)
    return f"{begin:%H:%M}-{begin + timedelta(hours=2):%H:%M}"


def batch_in(session: Session, hours: str, *, job: bool = True) -> Batch:
    """A batch that was asked for with a window of these hours in UTC."""
    window = request_window(hours, "UTC", datetime.now(UTC))
    batch_id = make_batch(session, IngestOptions("b", window=window))
    if job:
        enqueue(session, NewJob(SOURCE), batch_id=batch_id)
    session.flush()
    return session.get_one(Batch, batch_id)


def is_paused(session: Session, batch: Batch) -> bool:
    return bool(session.scalar(select(IS_PAUSED).where(Batch.id == batch.id)))


def close(session: Session, batch: Batch) -> None:
    """Let its window have closed a moment ago, and the leader see it."""
    session.execute(
        text(
            "UPDATE batches SET opens_at = now() - interval '2 h', closes_at = now() - interval '1 s'"
            " WHERE id = :id"
        ),
        {"id": batch.id},
    )
    assert closed_batches(session) == [batch.id]
    set_next_window(session, batch.id)
    session.refresh(batch)


def test_calls_wait_for_it_and_go_out_in_it(session: Session) -> None:
    """By the batch's own row, which each call looks at before it begins."""
    assert is_paused(session, batch_in(session, around(3)))
    assert not is_paused(session, batch_in(session, around(-1)))


def test_what_is_left_continues_in_the_next_one(session: Session) -> None:
    """It is never called outside, however often a window closes; the clocks of the zone count."""
    batch = batch_in(session, around(-3))
    for _ in range(2):
        close(session, batch)
        assert batch.opens_at is not None
        assert batch.closes_at is not None
        assert batch.opens_at > datetime.now(UTC) + timedelta(hours=19)
        assert batch.closes_at - batch.opens_at == timedelta(hours=2)
        assert is_paused(session, batch)


def test_a_batch_with_nothing_left_gets_none(session: Session) -> None:
    """Nobody looks at it again."""
    batch = batch_in(session, around(-3), job=False)
    close(session, batch)
    assert (batch.opens_at, batch.closes_at) == (None, None)
    assert closed_batches(session) == []


def test_it_follows_the_clocks_of_its_zone() -> None:
    """The night in which the clocks change is an hour longer, and the hours stay the same."""
    window = request_window("22:00-06:00", "Europe/Paris", datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert window.as_options == {"window": "22:00-06:00", "window_zone": "Europe/Paris"}
    assert window.opens_at == datetime(2026, 10, 24, 20, tzinfo=UTC)
    assert window.closes_at == datetime(2026, 10, 25, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "zone", "field"),
    [("22:00-22:00", "UTC", "window"), ("25:00-06:00", "UTC", "window"), ("22:00-06:00", "Mars", "zone")],
)
def test_one_that_cannot_be_is_refused(hours: str, zone: str, field: str) -> None:
    """The error names the field."""
    with pytest.raises(InvalidScheduleError) as refused:
        request_window(hours, zone, datetime.now(UTC))
    assert refused.value.field == field
