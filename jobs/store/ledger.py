"""The ledger: a line before each paid call, its end after it, and the result it brought."""

from dataclasses import asdict, dataclass, replace
from datetime import timedelta

from sqlalchemy import Interval, Text, and_, bindparam, case, func, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from jobs.database import Database
from jobs.models import ACCOUNTS, ATTEMPTS, BREAKER, JOBS, constant
from jobs.states import AttemptOutcome, Standing, State, Step
from jobs.store.claims import FENCED, Claim, PaidResult
from jobs.store.words import cut


@dataclass(frozen=True, slots=True)
class Answer:
    """What the ledger keeps of a call's end."""

    outcome: AttemptOutcome
    http_status: int | None = None
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    log_id: str | None = None


_NEW = insert(ATTEMPTS).from_select(
    ["job_id", "number", "fence", "worker_id", "account", "image_sha256"],
    select(
        JOBS.c.id,
        bindparam("number", type_=ATTEMPTS.c.number.type),
        JOBS.c.fence,
        JOBS.c.worker_id,
        bindparam("account", type_=ATTEMPTS.c.account.type),
        bindparam("image_sha256", type_=ATTEMPTS.c.image_sha256.type),
    ).where(
        FENCED,
        select(ACCOUNTS.c.name)
        .where(ACCOUNTS.c.name == bindparam("account"), ACCOUNTS.c.paused_at.is_(None))
        .exists(),
        select(BREAKER.c.id).where(BREAKER.c.opened_at.is_(None)).exists(),
    ),
)
BEGIN = _NEW.on_conflict_do_update(
    index_elements=["job_id", "number"],
    set_={"account": _NEW.excluded.account},
    where=ATTEMPTS.c.fence == _NEW.excluded.fence,
).returning(ATTEMPTS.c.id)

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

IS_HELD = JOBS.c.state == constant(State.HELD)

RECORD = (
    update(JOBS)
    .where(
        or_(
            FENCED,
            # A worker that lost its claim still gives its result to a job that has none: it is paid for.
            and_(
                JOBS.c.id == bindparam("claimed_job"),
                JOBS.c.finished_at.is_(None),
                JOBS.c.result_url.is_(None),
            ),
        )
    )
    .values(
        # A held job waited for just this.
        state=case((IS_HELD, constant(State.QUEUED)), else_=JOBS.c.state),
        standing=case((IS_HELD, constant(Standing.IN_LINE)), else_=JOBS.c.standing),
        step=constant(Step.COPY),
        tries=0,
        result_url=bindparam("paid_url"),
        result_expires_at=func.now() + bindparam("paid_lifetime", type_=Interval),
        sent_width=bindparam("sent_w"),
        sent_height=bindparam("sent_h"),
        code=null(),
        message=null(),
    )
    .returning(JOBS.c.result_expires_at)
    .add_cte(END.cte("ended"))
)

SAVE = update(JOBS).where(FENCED).values(lifeboat_key=bindparam("saved_as")).returning(JOBS.c.id)


def begin_attempt(
    database: Database, claim: Claim, *, number: int, account: str, image_sha256: bytes
) -> int | None:
    """Write down that a paid call is about to go out, and return the attempt's id.

    None if it must not: the claim was lost, the account is paused, or the bucket takes nothing.
    Safe to repeat for the same `number`: the first row stands and its id is returned.
    """
    intent = {"number": number, "account": account, "image_sha256": image_sha256}
    attempt_id: int | None = database.scalar(BEGIN, claim.as_parameters() | intent)
    return attempt_id


def end_attempt(database: Database, attempt_id: int, answer: Answer) -> None:
    """Write a call's end into the ledger, whether or not its worker still holds the job."""
    database.execute(END, _end(attempt_id, answer))


def record_result(
    database: Database,
    claim: Claim,
    attempt_id: int,
    answer: Answer,
    *,
    url: str,
    lifetime: timedelta,
    sent: tuple[int, int],
) -> Claim:
    """Write down a call's end and its paid result, before anything else is done with it.

    The job's next step is the copy, whoever holds it. `sent` is the size of the picture sent, in pixels.
    """
    result = {"paid_url": url, "paid_lifetime": lifetime, "sent_w": sent[0], "sent_h": sent[1]}
    expires_at = database.scalar(RECORD, claim.as_parameters() | _end(attempt_id, answer) | result)
    if expires_at is None:
        return claim
    return replace(claim, step=Step.COPY, tries=0, result=PaidResult(url, expires_at, *sent))


def save_in_lifeboat(database: Database, claim: Claim, key: str) -> Claim:
    """Write down that the paid result's bytes lie in the lifeboat under `key`; from then on it cannot die."""
    saved = database.scalar(SAVE, claim.as_parameters() | {"saved_as": key})
    if saved is None or claim.result is None:
        return claim
    return replace(claim, result=replace(claim.result, lifeboat_key=key))


def _end(attempt_id: int, answer: Answer) -> dict[str, object]:
    fields = asdict(answer) | {"message": cut(answer.message)}
    return {"attempt_id": attempt_id} | {f"new_{name}": value for name, value in fields.items()}
