"""The ledger of paid calls: a row before each call, its end after it, and the result that it paid for."""

import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from sqlalchemy import (
    ColumnElement,
    Date,
    Double,
    Integer,
    Interval,
    Text,
    and_,
    bindparam,
    case,
    cast,
    extract,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import ReturningInsert

from cutout.enums import AttemptOutcome
from cutout.models import ACCOUNTS, ATTEMPTS, BATCHES, JOBS, QUEUE_CLOCK, SPENDING, constant
from cutout.models.columns import (
    BLOCKED,
    CALL_STEP,
    COPY_STEP,
    HELD,
    QUEUED,
    READY,
    SOURCE_LIMIT,
    WAITING,
)
from cutout.models.compiled import Compiled
from cutout.models.database import Database
from cutout.producers.producers import PRODUCER_IS_SUSPENDED
from cutout.queue.blocks.conditions import (
    BATCH_AWAITS_APPROVAL,
    BATCH_HAS_A_BUDGET,
    BATCH_HAS_A_PAUSE,
    BATCH_IS_BLOCKED,
    BATCH_IS_OVER_BUDGET,
    BATCH_IS_PAUSED,
    JOB_IS_CANCELLED,
)
from cutout.queue.blocks.storage_breaker import BUCKET_IS_UNREACHABLE, CALL_IS_STOPPED
from cutout.queue.claims import FENCED, NOT_SENT, Claim, Fence, PaidResult
from cutout.queue.reuse.held_pictures import PICTURE_IS_HELD
from cutout.queue.reuse.identity import OF, Recipe, identity
from cutout.text import cut


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a call as the ledger keeps it.

    `raw_answer` is secret: a response that was not understood may hold the URL of a paid result.
    """

    outcome: AttemptOutcome
    http_status: int | None = None
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    log_id: str | None = None
    raw_answer: str | None = field(default=None, repr=False)


ACCOUNT_IS_OPEN = (
    select(ACCOUNTS.c.name)
    .where(ACCOUNTS.c.name == bindparam("account"), ACCOUNTS.c.paused_at.is_(None))
    .exists()
)
QUEUE_IS_RUNNING = select(QUEUE_CLOCK.c.id).where(QUEUE_CLOCK.c.paused_at.is_(None)).exists()
# A call begins at the step `call` only: once a late result has arrived, the copy is next.
MAY_CALL = and_(
    FENCED,
    JOBS.c.step == CALL_STEP,
    JOBS.c.cancelled_at.is_(None),
    ACCOUNT_IS_OPEN,
    not_(CALL_IS_STOPPED),
    QUEUE_IS_RUNNING,
    not_(BATCH_IS_BLOCKED),
    not_(PRODUCER_IS_SUSPENDED),
    not_(PICTURE_IS_HELD),
)
MADE_OF = ("source_sha256", "endpoint", "preparation", "scope")

TODAY = cast(func.timezone("UTC", func.now()), Date)
DAY_BUDGET = bindparam("day_budget", type_=Integer)
DAY_IS_SPENT = select(SPENDING.c.day).where(SPENDING.c.day == TODAY, SPENDING.c.spent >= DAY_BUDGET).exists()

NUMBER = bindparam("number", type_=ATTEMPTS.c.number.type)
BEGUN_ALREADY = (
    select(ATTEMPTS.c.id)
    .where(ATTEMPTS.c.job_id == bindparam("claimed_job"), ATTEMPTS.c.number == NUMBER)
    .exists()
)


def _begin(condition: ColumnElement[bool]) -> ReturningInsert[int]:
    new = insert(ATTEMPTS).from_select(
        ["job_id", "number", "fence", "worker_id", "account", "image_sha256", *MADE_OF],
        select(
            JOBS.c.id,
            NUMBER,
            JOBS.c.fence,
            JOBS.c.worker_id,
            bindparam("account", type_=ATTEMPTS.c.account.type),
            bindparam("image_sha256", type_=ATTEMPTS.c.image_sha256.type),
            *(OF[name] for name in MADE_OF),
        ).where(MAY_CALL, condition),
    )
    return new.on_conflict_do_update(
        index_elements=["job_id", "number"],
        set_={"account": new.excluded.account},
        where=ATTEMPTS.c.fence == new.excluded.fence,
    ).returning(ATTEMPTS.c.id)


def _begin_within_budgets() -> ReturningInsert[int]:
    """Take a credit of each budget first, under its row's lock, so that any number of workers keep to it.

    The batch's row is locked before the day's credit is taken. From then on the batch cannot refuse, so no
    credit of the day is taken for a call that does not begin.
    """
    batch_of_job = select(JOBS.c.batch_id).where(MAY_CALL, not_(BEGUN_ALREADY)).scalar_subquery()
    has_credit = (
        select(BATCHES.c.id)
        .where(BATCHES.c.id == batch_of_job, BATCHES.c.spent < BATCHES.c.budget)
        .with_for_update()
        .cte("has_credit")
    )
    batch_would_allow = or_(not_(BATCH_HAS_A_BUDGET), select(has_credit.c.id).exists())
    credit = insert(SPENDING).from_select(
        ["day", "spent"],
        select(TODAY, literal(1)).where(
            select(JOBS.c.id).where(MAY_CALL, batch_would_allow).exists(),
            DAY_BUDGET.is_not(None),
            not_(BEGUN_ALREADY),
        ),
    )
    of_day = (
        credit.on_conflict_do_update(
            index_elements=["day"],
            set_={"spent": SPENDING.c.spent + 1},
            where=SPENDING.c.spent < DAY_BUDGET,
        )
        .returning(SPENDING.c.day)
        .cte("of_day")
    )
    day_allows = or_(DAY_BUDGET.is_(None), BEGUN_ALREADY, select(of_day.c.day).exists())
    of_batch = (
        update(BATCHES)
        .where(
            BATCHES.c.id == select(has_credit.c.id).scalar_subquery(),
            BATCHES.c.budget.is_not(None),
            day_allows,
        )
        .values(spent=BATCHES.c.spent + 1)
        .returning(BATCHES.c.id)
        .cte("of_batch")
    )
    batch_allows = or_(not_(BATCH_HAS_A_BUDGET), BEGUN_ALREADY, select(of_batch.c.id).exists())
    return _begin(and_(day_allows, batch_allows))


BEGIN = Compiled(_begin(not_(BATCH_HAS_A_BUDGET)))
BEGIN_WITHIN_BUDGETS = Compiled(_begin_within_budgets())

WHY_NOT = select(
    case(
        (not_(select(JOBS.c.id).where(FENCED).exists()), "lost"),
        (JOB_IS_CANCELLED, "cancelled"),
        (not_(ACCOUNT_IS_OPEN), "account"),
        (BUCKET_IS_UNREACHABLE, "bucket"),
        (CALL_IS_STOPPED, "results"),
        (PRODUCER_IS_SUSPENDED, "suspended"),
        (or_(not_(QUEUE_IS_RUNNING), BATCH_HAS_A_PAUSE), "paused"),
        (BATCH_AWAITS_APPROVAL, "approval"),
        (BATCH_IS_PAUSED, "window"),
        (BATCH_IS_OVER_BUDGET, "budget"),
        (DAY_IS_SPENT, "day"),
        (PICTURE_IS_HELD, "held"),
        else_="again",
    )
).where(JOBS.c.id == bindparam("claimed_job"))

END = (
    update(ATTEMPTS)
    .where(ATTEMPTS.c.id == bindparam("attempt_id"))
    .values(
        ended_at=func.now(),
        unknown_at=case(
            (
                bindparam("new_outcome", type_=Text) == constant(AttemptOutcome.UNKNOWN),
                func.coalesce(ATTEMPTS.c.unknown_at, func.now()),
            ),
            else_=ATTEMPTS.c.unknown_at,
        ),
        **{name: bindparam(f"new_{name}") for name in Answer.__slots__},
    )
)

# The credit of a call that cost nothing is given back, once.
TAKEN = (
    select(ATTEMPTS.c.job_id, ATTEMPTS.c.begun_at)
    .where(ATTEMPTS.c.id == bindparam("attempt_id"), ATTEMPTS.c.outcome == constant(AttemptOutcome.UNKNOWN))
    .with_for_update()
    .cte("taken")
)
GIVE_BACK_DAY = (
    update(SPENDING)
    .where(SPENDING.c.day == select(cast(func.timezone("UTC", TAKEN.c.begun_at), Date)).scalar_subquery())
    .values(spent=func.greatest(SPENDING.c.spent - 1, 0))
    .cte("of_day")
)
GIVE_BACK = (
    update(BATCHES)
    .where(
        BATCHES.c.id == select(JOBS.c.batch_id).join(TAKEN, TAKEN.c.job_id == JOBS.c.id).scalar_subquery(),
        BATCHES.c.budget.is_not(None),
    )
    .values(spent=func.greatest(BATCHES.c.spent - 1, 0))
    .add_cte(END.cte("ended"), GIVE_BACK_DAY)
)

# By Postgres' clock alone: the clock of a worker may have been changed meanwhile.
ANSWERED_AT = func.coalesce(
    select(ATTEMPTS.c.begun_at).where(ATTEMPTS.c.id == bindparam("attempt_id")).scalar_subquery()
    + bindparam("answered_after", type_=Interval),
    func.now(),
)

IS_HELD = JOBS.c.state == HELD
# In these queue states the job could stay for longer than its result lives.
IS_KEPT_BACK = or_(IS_HELD, JOBS.c.queue_state.in_([BLOCKED, SOURCE_LIMIT, WAITING]))

RECORDED = (
    update(JOBS)
    .where(
        or_(
            FENCED,
            # A worker that lost its claim still gives its paid result to a job that has none.
            and_(
                JOBS.c.id == bindparam("claimed_job"),
                JOBS.c.finished_at.is_(None),
                JOBS.c.result_url.is_(None),
            ),
        )
    )
    .values(
        # A result is all that a held job waits for.
        state=case((IS_HELD, QUEUED), else_=JOBS.c.state),
        queue_state=case((IS_KEPT_BACK, READY), else_=JOBS.c.queue_state),
        step=COPY_STEP,
        tries=0,
        deaths=0,
        result_url=bindparam("paid_url"),
        result_attempt=bindparam("attempt_id"),
        result_expires_at=ANSWERED_AT + bindparam("paid_lifetime", type_=Interval),
        sent_width=bindparam("sent_w"),
        sent_height=bindparam("sent_h"),
        code=null(),
        message=null(),
    )
    .returning(
        JOBS.c.result_expires_at,
        cast(extract("epoch", JOBS.c.result_expires_at - func.clock_timestamp()), Double).label("left_s"),
    )
    .cte("recorded")
)
# A job that takes the result has not ended, nor has its batch. Any other charge is for END_CHARGED.
RECORD = Compiled(
    select(RECORDED).add_cte(END.where(select(RECORDED.c.result_expires_at).exists()).cte("ended"))
)

ITS_JOB = select(ATTEMPTS.c.job_id).where(ATTEMPTS.c.id == bindparam("attempt_id")).scalar_subquery()
# The result of a job that has ended without a cutout is never copied.
IS_TOO_LATE = (
    select(JOBS.c.id)
    .where(JOBS.c.id == ITS_JOB, JOBS.c.finished_at.is_not(None), JOBS.c.key.is_(None))
    .correlate(None)
    .exists()
)
END_LATE = END.values(
    lost_at=case((IS_TOO_LATE, func.coalesce(ATTEMPTS.c.lost_at, func.now())), else_=ATTEMPTS.c.lost_at)
)
# The job's batch may have ended, with its credits written down: from now on they are another number, so one
# statement records the charge and empties it. Also a batch without one is written to: whoever writes it down
# at this moment holds the lock of its row.
END_CHARGED = (
    update(BATCHES)
    .where(BATCHES.c.id == select(JOBS.c.batch_id).where(JOBS.c.id == ITS_JOB).scalar_subquery())
    .values(credits=null())
    .add_cte(END_LATE.cte("ended"))
)
ENDS = {
    AttemptOutcome.NOT_CHARGED: GIVE_BACK,
    AttemptOutcome.CHARGED: END_CHARGED,
    AttemptOutcome.UNKNOWN: END,
}

SAVE = update(JOBS).where(FENCED).values(lifeboat_key=bindparam("saved_as")).returning(JOBS.c.id)


class NotBegun(StrEnum):
    """Reasons for which a call must not begin."""

    LOST = "lost"
    """The claim is another worker's."""
    ACCOUNT = "account"
    """The account is paused."""
    BUCKET = "bucket"
    """The bucket takes nothing."""
    CANCELLED = "cancelled"
    """The job or its batch was cancelled."""
    RESULTS = "results"
    """Paid results cannot be fetched, or too many of them wait."""
    SUSPENDED = "suspended"
    """Its producer is suspended."""
    PAUSED = "paused"
    """The batch or the whole queue is paused."""
    APPROVAL = "approval"
    """The batch waits for approval."""
    WINDOW = "window"
    """The batch's window is not open."""
    BUDGET = "budget"
    """The batch has spent its budget."""
    DAY = "day"
    """The day's budget is spent."""
    HELD = "held"
    """Another job for the same picture is held for a person."""
    AGAIN = "again"
    """The reason changed between the two statements."""


def begin_attempt(
    database: Database,
    claim: Claim,
    *,
    number: int,
    account: str,
    image_sha256: bytes,
    source_sha256: bytes,
    recipe: Recipe,
    day_budget: int | None = None,
) -> int | NotBegun:
    """Record that a paid call is about to go out; returns the attempt's id, or the reason why it must not.

    The identity of the picture is recorded with it: the job's source may have changed when the call ends.

    Safe to repeat for the same `number`: the first row stays and its id is returned.
    """
    statement = BEGIN_WITHIN_BUDGETS if claim.has_budget or day_budget is not None else BEGIN
    planned = {"number": number, "account": account, "image_sha256": image_sha256, "day_budget": day_budget}
    parameters = claim.as_parameters() | planned | identity(source_sha256, claim.bought_form, recipe)
    attempt_id: int | None = statement.scalar(database, parameters)
    if attempt_id is not None:
        return attempt_id
    return NotBegun(database.scalars(WHY_NOT, parameters).one())


def withdraw_attempt(database: Database, fence: Fence, number: int, why: str) -> None:
    """End a call that did not go out, if it was recorded: the reply to begin_attempt may have been lost."""
    begun = select(ATTEMPTS.c.id).where(
        ATTEMPTS.c.job_id == fence.job_id,
        ATTEMPTS.c.number == number,
        ATTEMPTS.c.fence == fence.fence,
        ATTEMPTS.c.ended_at.is_(None),
    )
    attempt_id = database.scalar(begun)
    if attempt_id is not None:
        end_attempt(database, attempt_id, Answer(AttemptOutcome.NOT_CHARGED, code=NOT_SENT, message=why))


def end_attempt(database: Database, attempt_id: int, answer: Answer) -> None:
    """Record a call's end, whether or not its worker still holds the job."""
    database.execute(ENDS[answer.outcome], _end(attempt_id, answer))


def record_result(
    database: Database,
    fence: Fence,
    attempt_id: int,
    answer: Answer,
    *,
    url: str,
    lifetime: timedelta,
    sent: tuple[int, int],
    answered_after: timedelta | None = None,
) -> PaidResult | None:
    """Record a charged call's end and its paid result, before anything else is done with it.

    Returns None if the job has ended or has a result. Otherwise its next step is the copy, whoever holds it.
    `sent` is the width and height of the picture sent, in pixels. The result lives for `lifetime` after the
    response, which came `answered_after` the begin of the call; after now if that is None.
    """
    paid = {"paid_url": url, "paid_lifetime": lifetime, "sent_w": sent[0], "sent_h": sent[1]}
    paid |= {"answered_after": answered_after}
    row = RECORD.first(database, fence.as_parameters() | _end(attempt_id, answer) | paid)
    if row is None:
        end_attempt(database, attempt_id, answer)
        return None
    return PaidResult(url, *sent, row.result_expires_at, dies_at=time.monotonic() + row.left_s)


def save_in_lifeboat(database: Database, claim: Claim, key: str) -> Claim:
    """Record that the paid result's bytes are in the lifeboat under `key`: it cannot expire any more."""
    saved = database.scalar(SAVE, claim.as_parameters() | {"saved_as": key})
    if saved is None or claim.result is None:
        return claim
    return replace(claim, result=replace(claim.result, lifeboat_key=key))


def _end(attempt_id: int, answer: Answer) -> dict[str, object]:
    fields = {f"new_{name}": getattr(answer, name) for name in Answer.__slots__}
    return fields | {"attempt_id": attempt_id, "new_message": cut(answer.message)}
