"""Moving a job on as the dispatcher and a worker would, up to the point a test begins at."""

import uuid
from datetime import timedelta

from sqlalchemy.orm import Session

from cutout import queue
from cutout.billing import accounts
from cutout.enums import AttemptOutcome, Step
from cutout.queue import workers
from cutout.queue.attempts.attempts import Answer, NotBegun
from cutout.queue.claims import Claim
from cutout.queue.dispatch import dispatch_calls, dispatch_copies
from cutout.queue.enqueue import NewJob, enqueue
from cutout.queue.reuse.identity import Recipe

LEASE = timedelta(seconds=60)
SOURCE = "https://shop.example/a.jpg"
ACCOUNT = "account"
MAKING = Recipe("https://endpoint.example/cutout", 1, "my-bucket")
SOURCE_SHA256 = b"s" * 32


def new_worker(session: Session) -> uuid.UUID:
    """A worker that was heard just now."""
    accounts.ensure(session, ACCOUNT)
    return workers.register(session, host="test", pid=1)


def dispatch_one(session: Session, step: Step = Step.CALL) -> tuple[uuid.UUID, int]:
    """The first job in line, handed out."""
    dispatch = dispatch_calls if step is Step.CALL else dispatch_copies
    (dispatched,) = dispatch(session, 1, lease=LEASE)
    return dispatched


def claim_one(session: Session, worker_id: uuid.UUID, step: Step = Step.CALL) -> Claim:
    """The first job in line, in the worker's hands."""
    job_id, fence = dispatch_one(session, step)
    claim = queue.claim(session, job_id, fence, worker_id)
    assert claim is not None
    return claim


def claim_new(session: Session, worker_id: uuid.UUID) -> Claim:
    """A new job in the worker's hands."""
    enqueue(session, NewJob(SOURCE, "a"))
    return claim_one(session, worker_id)


def ask_to_begin(
    session: Session,
    claim: Claim,
    number: int = 1,
    *,
    source_sha256: bytes | None = None,
    recipe: Recipe = MAKING,
    account: str = ACCOUNT,
    day_budget: int | None = None,
) -> int | NotBegun:
    """The endpoint's answer to a call of that job; unless it is given, its picture is no other job's."""
    return queue.begin_attempt(
        session,
        claim,
        number=number,
        account=account,
        image_sha256=b"x" * 32,
        source_sha256=source_sha256 or claim.job_id.bytes,
        recipe=recipe,
        day_budget=day_budget,
    )


def begin(
    session: Session,
    claim: Claim,
    number: int = 1,
    *,
    source_sha256: bytes | None = None,
    recipe: Recipe = MAKING,
) -> int:
    """A call of that job, about to go out."""
    begun = ask_to_begin(session, claim, number, source_sha256=source_sha256, recipe=recipe)
    assert isinstance(begun, int)
    return begun


def paid(
    session: Session,
    claim: Claim,
    number: int = 1,
    *,
    source_sha256: bytes | None = None,
    recipe: Recipe = MAKING,
) -> Claim:
    """The claim after a paid call."""
    begun = begin(session, claim, number, source_sha256=source_sha256, recipe=recipe)
    return record(session, claim, begun)


def record(session: Session, claim: Claim, attempt_id: int) -> Claim:
    """The claim once its call was answered with a result."""
    answer = Answer(AttemptOutcome.CHARGED, http_status=200)
    return claim.with_result(
        queue.record_result(
            session, claim, attempt_id, answer, url="https://r/1", lifetime=timedelta(days=1), sent=(10, 20)
        )
    )
