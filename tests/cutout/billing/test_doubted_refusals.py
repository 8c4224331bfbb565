"""Refusals of a firewall, received by jobs of several producers."""

import uuid

import pytest
from sqlalchemy.orm import Session

from cutout.billing import accounts
from cutout.billing.doubted_refusals import Doubt, doubt
from cutout.producers.producers import create_producer
from cutout.queue.claims import Claim
from cutout.queue.enqueue import NewJob, enqueue_all
from tests.support.steps import ACCOUNT, SOURCE, begin, claim_one, new_worker


@pytest.fixture
def worker(session: Session) -> uuid.UUID:
    accounts.ensure(session, ACCOUNT)
    return new_worker(session)


def claims(session: Session, worker: uuid.UUID, name: str, count: int) -> list[Claim]:
    producer_id = create_producer(session, name)[0].id
    enqueue_all(session, [NewJob(SOURCE)] * count, producer_id=producer_id)
    return [claim_one(session, worker) for _ in range(count)]


def meet(session: Session, claim: Claim) -> Doubt:
    return doubt(session, ACCOUNT, job_id=claim.job_id, code="HTTP_403", message="refused")


def test_two_of_one_producer_are_not_believed_while_others_call(session: Session, worker: uuid.UUID) -> None:
    """A producer may craft both pictures; another producer's open call shows more."""
    first, second = claims(session, worker, "a", 2)
    (other,) = claims(session, worker, "b", 1)
    begin(session, other)
    assert not meet(session, first).pauses
    assert meet(session, second) == Doubt(pauses=False, met_alone=0)
    assert meet(session, other).pauses


def test_two_of_one_producer_stop_the_account_while_nobody_else_calls(
    session: Session, worker: uuid.UUID
) -> None:
    """Without calls of other producers, two refusals are enough."""
    first, second = claims(session, worker, "a", 2)
    claims(session, worker, "b", 1)
    assert not meet(session, first).pauses
    assert meet(session, second).pauses
