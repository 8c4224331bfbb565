"""The identity under which a result is published, and by which a job reuses it."""

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome, Step
from cutout.models import Attempt, Job
from cutout.queue.attempts.attempts import Answer, NotBegun
from cutout.queue.attempts.outcomes import Snooze, StoredObject, Succeeded
from cutout.queue.claims import Claim
from cutout.queue.enqueue import NewJob, enqueue
from cutout.queue.promote import promote_due
from cutout.queue.reuse.acquire import Acquired, BoughtBefore
from tests.support.steps import (
    MAKING,
    SOURCE,
    ask_to_begin,
    begin,
    claim_one,
    new_worker,
    paid,
    record,
)

OLD, NEW = b"a" * 32, b"b" * 32
CHARGED = Answer(AttemptOutcome.CHARGED, http_status=200)


def stored(key: str) -> StoredObject:
    return StoredObject(key, b"s" * 32, "image/png", 100, 10, 20)


def take(session: Session, claim: Claim, sha256: bytes, **other: object) -> object:
    return queue.acquire_result(session, claim, sha256, replace(MAKING, **other))  # type: ignore[arg-type]


def claim_again(session: Session, claim: Claim, worker_id: uuid.UUID) -> Claim:
    """Claim the job by another worker, after the first one was believed dead."""
    queue.settle(session, claim, Snooze("WORKER_GONE", "its worker died", 0))
    promote_due(session)
    step = session.get_one(Job, claim.job_id, populate_existing=True).step
    return claim_one(session, worker_id, Step(step))


@pytest.fixture
def worker_id(session: Session) -> uuid.UUID:
    return new_worker(session)


def new_claim(session: Session, worker_id: uuid.UUID) -> Claim:
    enqueue(session, NewJob(SOURCE))
    return claim_one(session, worker_id)


class TestALateResult:
    """Its worker was believed dead; meanwhile the shop has changed the picture."""

    @pytest.fixture
    def late(self, session: Session, worker_id: uuid.UUID) -> tuple[Claim, int, Claim]:
        """The first claim, with a call for the old picture, and the second claim, which found the new one."""
        first = new_claim(session, worker_id)
        assert take(session, first, OLD) == Acquired()
        attempt_id = begin(session, first, source_sha256=OLD)
        second = claim_again(session, first, worker_id)
        assert take(session, second, NEW) == Acquired()
        return first, attempt_id, second

    def test_is_published_as_the_picture_it_was_made_of(
        self, session: Session, worker_id: uuid.UUID, late: tuple[Claim, int, Claim]
    ) -> None:
        """It is not published as the picture that the job has now."""
        first, attempt_id, second = late
        record(session, first, attempt_id)
        queue.settle(session, second, Snooze("LIMIT_REACHED", "all calls are taken", 0))
        promote_due(session)
        copying = claim_one(session, worker_id, Step.COPY)
        queue.settle(session, copying, Succeeded(stored("cutouts/old.png"), bucket=MAKING.bucket))
        other = new_claim(session, worker_id)
        assert take(session, other, NEW) == Acquired()
        found = take(session, other, OLD)
        assert isinstance(found, BoughtBefore)
        assert found.stored.key == "cutouts/old.png"
        assert session.get_one(Job, first.job_id, populate_existing=True).source_sha256 == OLD

    def test_lets_no_second_call_begin(self, session: Session, late: tuple[Claim, int, Claim]) -> None:
        """A paid result is copied first, whoever holds the job."""
        first, attempt_id, second = late
        record(session, first, attempt_id)
        assert ask_to_begin(session, second, 2, source_sha256=NEW) is NotBegun.AGAIN
        assert len(session.scalars(select(Attempt)).all()) == 1

    def test_that_comes_second_does_not_change_what_is_published(
        self, session: Session, worker_id: uuid.UUID, late: tuple[Claim, int, Claim]
    ) -> None:
        """Of two paid results the present one decides, not the last one that was charged."""
        first, attempt_id, second = late
        other_attempt = begin(session, second, 2, source_sha256=NEW)
        third = claim_again(session, second, worker_id)
        record(session, first, attempt_id)
        lifetime = timedelta(days=1)
        queue.record_result(
            session, second, other_attempt, CHARGED, url="https://r/2", lifetime=lifetime, sent=(1, 1)
        )
        copying = claim_again(session, third, worker_id)
        assert copying.result
        assert copying.result.url == "https://r/1"
        queue.settle(session, copying, Succeeded(stored("cutouts/old.png"), bucket=MAKING.bucket))
        found = take(session, new_claim(session, worker_id), OLD)
        assert isinstance(found, BoughtBefore)
        assert found.stored.key == "cutouts/old.png"


@pytest.mark.parametrize(
    "other",
    [
        {"endpoint": "http://127.0.0.1:8900/cutout"},
        {"bucket": "other"},
        {"scope": "shop"},
        {"preparation": 2},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_identity_is_another_cutout(
    session: Session, worker_id: uuid.UUID, other: dict[str, object]
) -> None:
    """A cutout of another endpoint, bucket or scope is not reused."""
    claim = new_claim(session, worker_id)
    take(session, claim, OLD)
    claim = paid(session, claim, source_sha256=OLD)
    queue.settle(session, claim, Succeeded(stored("k"), bucket=MAKING.bucket))
    next_claim = new_claim(session, worker_id)
    assert isinstance(take(session, next_claim, OLD), BoughtBefore)
    assert isinstance(take(session, next_claim, OLD, **other), Acquired)
