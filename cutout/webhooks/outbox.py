"""What the dispatcher's sender asks of the database: what to send, and what came of it.

Each is one statement that commits by itself. Whoever takes a delivery moves its `due_at` on by a lease:
should the process die, it is due again after that, and is sent a second time under the same id.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    DateTime,
    Interval,
    SmallInteger,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    delete,
    func,
    literal_column,
    not_,
    null,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.orm import Session

from cutout.enums import DeliveryState
from cutout.models import DELIVERIES, constant
from cutout.models.columns import OWNER
from cutout.models.database import Database
from cutout.models.query_parts import is_among
from cutout.producers.producers import is_suspended
from cutout.webhooks.receivers import Receiver
from cutout.webhooks.webhook_urls import check_webhook_url

LEASE = timedelta(seconds=60)
GIVE_UP_AFTER = timedelta(days=1)
# In one statement, so that none lasts.
PORTION = 500
TOO_OLD = "a day is over"

WAITS = DELIVERIES.c.state == constant(DeliveryState.WAITING)

# As the index has it.
OWNER_OF_IT = literal_column(OWNER, Uuid)

NEXT = (
    select(DELIVERIES.c.id)
    .where(
        WAITS,
        bindparam("its_owner", type_=Uuid) == OWNER_OF_IT,
        DELIVERIES.c.host == bindparam("its_host", type_=Text),
        DELIVERIES.c.due_at <= func.now(),
        or_(DELIVERIES.c.give_up_at.is_(None), DELIVERIES.c.give_up_at > func.now()),
    )
    .order_by(DELIVERIES.c.due_at)
    .limit(1)
    .with_for_update(skip_locked=True)
    .scalar_subquery()
)
# What a suspended producer's receivers are not sent is looked at again then, unless it is resumed before.
PUT_OFF_FOR = timedelta(days=1)
SUSPENDED = is_suspended(DELIVERIES.c.producer_id)
TAKE = (
    update(DELIVERIES)
    .where(DELIVERIES.c.id == NEXT)
    .values(
        tries=DELIVERIES.c.tries + case((SUSPENDED, 0), else_=1),
        due_at=func.now() + case((SUSPENDED, PUT_OFF_FOR), else_=LEASE),
        # The day begins with the first try: nothing is given up untried.
        give_up_at=case(
            (SUSPENDED, null()), else_=func.coalesce(DELIVERIES.c.give_up_at, func.now() + GIVE_UP_AFTER)
        ),
    )
    .returning(
        DELIVERIES.c.id,
        DELIVERIES.c.producer_id,
        DELIVERIES.c.url,
        DELIVERIES.c.host,
        DELIVERIES.c.type,
        DELIVERIES.c.payload,
        DELIVERIES.c.tries,
        DELIVERIES.c.due_at,
        func.now(),
        SUSPENDED.label("suspended"),
    )
)
# The rest of that producer's for this receiver, so many at once. Its day begins anew when it is resumed.
PUT_OFF = (
    update(DELIVERIES)
    .where(
        is_among(
            DELIVERIES.c.id,
            select(DELIVERIES.c.id)
            .where(
                WAITS,
                bindparam("its_owner", type_=Uuid) == OWNER_OF_IT,
                DELIVERIES.c.host == bindparam("its_host", type_=Text),
                DELIVERIES.c.due_at <= func.now(),
                SUSPENDED,
            )
            .limit(PORTION)
            .with_for_update(skip_locked=True),
        )
    )
    .values(due_at=func.now() + PUT_OFF_FOR, give_up_at=null())
)
# In the transactions that suspend and resume a producer. One that is out now is sent again.
STOP_ALL = (
    update(DELIVERIES)
    .where(WAITS, DELIVERIES.c.producer_id == bindparam("of_producer", type_=Uuid))
    .values(due_at=func.now() + PUT_OFF_FOR, give_up_at=null())
)
SEND_ALL = (
    update(DELIVERIES)
    .where(WAITS, DELIVERIES.c.producer_id == bindparam("of_producer", type_=Uuid))
    .values(due_at=func.now())
)

TAKEN = (
    WAITS,
    DELIVERIES.c.id == bindparam("its_id", type_=Uuid),
    DELIVERIES.c.due_at == bindparam("its_lease", type_=DateTime(timezone=True)),
)
DELIVERED = (
    update(DELIVERIES)
    .where(*TAKEN)
    .values(
        state=constant(DeliveryState.DELIVERED),
        finished_at=func.now(),
        last_status=bindparam("status", type_=SmallInteger),
        last_error=null(),
    )
)

# Without a rest, for what can never be taken, it is given up now.
NEXT_AT = func.now() + cast(bindparam("rest", type_=Interval), Interval)
GIVES_UP = func.coalesce(DELIVERIES.c.give_up_at <= NEXT_AT, true())
FAILED = (
    update(DELIVERIES)
    .where(*TAKEN)
    .values(
        state=case((GIVES_UP, constant(DeliveryState.GIVEN_UP)), else_=constant(DeliveryState.WAITING)),
        finished_at=case((GIVES_UP, func.now()), else_=null()),
        due_at=func.coalesce(NEXT_AT, DELIVERIES.c.due_at),
        last_status=bindparam("status", type_=SmallInteger),
        last_error=bindparam("reason", type_=Text),
    )
    .returning(DELIVERIES.c.state)
)

GIVE_UP_OLD = (
    update(DELIVERIES)
    .where(
        is_among(
            DELIVERIES.c.id,
            select(DELIVERIES.c.id)
            # One that is out now was taken before its day was over, and is written down within its lease.
            .where(WAITS, DELIVERIES.c.give_up_at <= func.now() - LEASE, not_(SUSPENDED))
            .limit(PORTION)
            .with_for_update(skip_locked=True),
        )
    )
    .values(
        state=constant(DeliveryState.GIVEN_UP),
        finished_at=func.now(),
        last_error=func.coalesce(DELIVERIES.c.last_error, TOO_OLD),
    )
)

FORGET = delete(DELIVERIES).where(
    is_among(
        DELIVERIES.c.id,
        select(DELIVERIES.c.id)
        .where(DELIVERIES.c.finished_at < func.now() - bindparam("kept", type_=Interval))
        .order_by(DELIVERIES.c.finished_at)
        .limit(PORTION)
        .with_for_update(skip_locked=True),
    )
)


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery in the sender's hands until `lease_until`, at `taken_at` by the database's clock."""

    id: uuid.UUID
    producer_id: uuid.UUID | None
    url: str = field(repr=False)
    host: str
    type: str
    payload: str = field(repr=False)
    tries: int
    lease_until: datetime
    taken_at: datetime


def take(connection: Connection, receiver: Receiver) -> Taken | None:
    """Take the receiver's next delivery that is due; None if there is none.

    Those of a suspended producer are put off untried.
    """
    its = {"its_owner": receiver.owner, "its_host": receiver.host}
    while (row := connection.execute(TAKE, its).first()) is not None:
        if not row.suspended:
            return Taken(*row[:-1])
        connection.execute(PUT_OFF, its)
    return None


def delivered(connection: Connection, taken: Taken, status: int) -> None:
    """Write down that the receiver has it, unless it was replayed or taken anew meanwhile."""
    connection.execute(DELIVERED, _of(taken) | {"status": status})


def failed(
    connection: Connection, taken: Taken, reason: str, *, status: int | None, rest: timedelta | None
) -> DeliveryState | None:
    """Write down why not, and send it again after a rest; None gives it up, as does a day that is over.

    Returns what became of it, None if it was replayed or taken anew meanwhile.
    """
    given = {"reason": reason, "status": status, "rest": rest}
    state = connection.scalar(FAILED, _of(taken) | given)
    return None if state is None else DeliveryState(state)


def give_up_old(connection: Connection) -> int:
    """Give up what was tried, and not again before its day was over, 500 at most; returns how many.

    Those of a receiver that does not answer may not all have another turn within the day.
    """
    return connection.execute(GIVE_UP_OLD).rowcount


def stop_all(session: Session, producer_id: uuid.UUID) -> None:
    """Send none of a producer's messages until `send_all`, and give none up."""
    session.execute(STOP_ALL, {"of_producer": producer_id})


def send_all(session: Session, producer_id: uuid.UUID) -> None:
    """Send a producer's messages that wait, from now on."""
    session.execute(SEND_ALL, {"of_producer": producer_id})


def forget(connection: Connection, kept: timedelta) -> int:
    """Delete what ended longer ago than `kept`, 500 at most; returns how many."""
    return connection.execute(FORGET, {"kept": kept}).rowcount


def _of(taken: Taken) -> dict[str, object]:
    return {"its_id": taken.id, "its_lease": taken.lease_until}


# The database's own function, which the triggers of jobs and batches call as well.
ANNOUNCE = text("SELECT announce(:url, :kind, CAST(:data AS json), :producer_id)").bindparams(
    bindparam("url", type_=Text),
    bindparam("kind", type_=Text),
    bindparam("data", type_=Text),
    bindparam("producer_id", type_=Uuid),
)


def announce(
    database: Database, *, url: str, kind: str, data: Mapping[str, Any], producer_id: uuid.UUID | None = None
) -> uuid.UUID:
    """Have `data` sent to `url` as a message of type `kind`, once the caller's transaction commits.

    Returns the delivery's id, which is the `webhook-id`. Without a producer the installation's own secret
    signs. Raises InvalidWebhookError for an address that can never work, TypeError or ValueError for data
    that is not JSON.
    """
    check_webhook_url(url)
    written = json.dumps(data, allow_nan=False)
    given = {"url": url, "kind": kind, "data": written, "producer_id": producer_id}
    made: uuid.UUID = database.execute(ANNOUNCE, given).scalar_one()
    return made
