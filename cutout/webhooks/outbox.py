"""The transactional outbox of webhooks: announcing, taking, ending and giving up deliveries.

Each operation of the sender is one statement that commits by itself. Taking a delivery moves its `due_at` on
by a lease: if the process dies, the delivery is due again after it, and is sent again under the same id.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Boolean,
    Connection,
    DateTime,
    Interval,
    SmallInteger,
    Text,
    Uuid,
    and_,
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
from cutout.models import DELIVERIES, WEBHOOK_ENDPOINTS, constant
from cutout.models.columns import OWNER
from cutout.models.database import Database
from cutout.models.query_parts import is_among
from cutout.producers.producers import is_suspended
from cutout.webhooks.event_types import EventType
from cutout.webhooks.receivers import Receiver
from cutout.webhooks.webhook_urls import check_webhook_url

LEASE = timedelta(seconds=60)
GIVE_UP_AFTER = timedelta(days=1)
# Until then the day does not run while the egress proxy gives no connection: tries of about a week, since the
# receiver may be at fault as well.
MOST_TRIES_WITHOUT_EGRESS = 90
# Rows changed by one statement, so that none runs long.
PORTION = 500
TOO_OLD = "a day is over"
WITHOUT_ENDPOINT = "its endpoint is disabled or deleted"

WAITS = DELIVERIES.c.state == constant(DeliveryState.WAITING)

# The same text as in the index.
OWNER_COLUMN = literal_column(OWNER, Uuid)

NEXT = (
    select(DELIVERIES.c.id)
    .where(
        WAITS,
        bindparam("its_owner", type_=Uuid) == OWNER_COLUMN,
        DELIVERIES.c.host == bindparam("its_host", type_=Text),
        DELIVERIES.c.due_at <= func.now(),
        or_(DELIVERIES.c.give_up_at.is_(None), DELIVERIES.c.give_up_at > func.now()),
    )
    .order_by(DELIVERIES.c.due_at)
    .limit(1)
    .with_for_update(skip_locked=True)
    .scalar_subquery()
)
# Messages of a suspended producer are due again after this time, unless it is resumed before.
DELAYED_FOR = timedelta(days=1)
SUSPENDED = is_suspended(DELIVERIES.c.producer_id)
# Of an endpoint that is disabled or deleted, or has another address by now.
OUTDATED = and_(
    DELIVERIES.c.endpoint_id.is_not(None),
    not_(
        select(WEBHOOK_ENDPOINTS.c.id)
        .where(
            WEBHOOK_ENDPOINTS.c.id == DELIVERIES.c.endpoint_id,
            WEBHOOK_ENDPOINTS.c.url == DELIVERIES.c.url,
            WEBHOOK_ENDPOINTS.c.disabled_at.is_(None),
        )
        .exists()
    ),
)
TAKE = (
    update(DELIVERIES)
    .where(DELIVERIES.c.id == NEXT)
    .values(
        tries=DELIVERIES.c.tries + case((or_(SUSPENDED, OUTDATED), 0), else_=1),
        due_at=func.now() + case((SUSPENDED, DELAYED_FOR), else_=LEASE),
        # The day begins with the first try, so nothing is given up untried.
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
        DELIVERIES.c.endpoint_id,
        SUSPENDED.label("suspended"),
        OUTDATED.label("outdated"),
    )
)
# The outdated delivery that was taken, and a portion of those of its endpoint and address that are due.
OF_ENDPOINT = and_(
    WAITS,
    or_(
        DELIVERIES.c.id == bindparam("its_id", type_=Uuid),
        is_among(
            DELIVERIES.c.id,
            select(DELIVERIES.c.id)
            .where(
                WAITS,
                bindparam("its_owner", type_=Uuid) == OWNER_COLUMN,
                DELIVERIES.c.host == bindparam("its_host", type_=Text),
                DELIVERIES.c.due_at <= func.now(),
                DELIVERIES.c.endpoint_id == bindparam("its_endpoint", type_=Uuid),
            )
            .limit(PORTION)
            .with_for_update(skip_locked=True),
        ),
    ),
)
GIVE_UP_WITHOUT_ENDPOINT = (
    update(DELIVERIES)
    .where(
        OF_ENDPOINT,
        not_(
            select(WEBHOOK_ENDPOINTS.c.id)
            .where(
                WEBHOOK_ENDPOINTS.c.id == DELIVERIES.c.endpoint_id, WEBHOOK_ENDPOINTS.c.disabled_at.is_(None)
            )
            .exists()
        ),
    )
    .values(
        state=constant(DeliveryState.GIVEN_UP),
        finished_at=func.now(),
        last_error=WITHOUT_ENDPOINT,
    )
)
SEND_ELSEWHERE = (
    update(DELIVERIES)
    .where(
        OF_ENDPOINT,
        DELIVERIES.c.endpoint_id == WEBHOOK_ENDPOINTS.c.id,
        DELIVERIES.c.url != WEBHOOK_ENDPOINTS.c.url,
        WEBHOOK_ENDPOINTS.c.disabled_at.is_(None),
    )
    .values(url=WEBHOOK_ENDPOINTS.c.url, due_at=func.now())
)
# The suspended producer's other deliveries for this receiver. Their day begins anew when it is resumed.
DELAY = (
    update(DELIVERIES)
    .where(
        is_among(
            DELIVERIES.c.id,
            select(DELIVERIES.c.id)
            .where(
                WAITS,
                bindparam("its_owner", type_=Uuid) == OWNER_COLUMN,
                DELIVERIES.c.host == bindparam("its_host", type_=Text),
                DELIVERIES.c.due_at <= func.now(),
                SUSPENDED,
            )
            .limit(PORTION)
            .with_for_update(skip_locked=True),
        )
    )
    .values(due_at=func.now() + DELAYED_FOR, give_up_at=null())
)
# Run in the transactions that suspend and resume a producer. A delivery that is being sent is sent again.
STOP_ALL = (
    update(DELIVERIES)
    .where(WAITS, DELIVERIES.c.producer_id == bindparam("of_producer", type_=Uuid))
    .values(due_at=func.now() + DELAYED_FOR, give_up_at=null())
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

# Without a delay, for what can never be delivered, it is given up now.
NEXT_AT = func.now() + cast(bindparam("delay", type_=Interval), Interval)
DAY_STOPS = and_(bindparam("egress_away", type_=Boolean), DELIVERIES.c.tries < MOST_TRIES_WITHOUT_EGRESS)
GIVES_UP = and_(not_(DAY_STOPS), func.coalesce(DELIVERIES.c.give_up_at <= NEXT_AT, true()))
FAILED = (
    update(DELIVERIES)
    .where(*TAKEN)
    .values(
        state=case((GIVES_UP, constant(DeliveryState.GIVEN_UP)), else_=constant(DeliveryState.WAITING)),
        finished_at=case((GIVES_UP, func.now()), else_=null()),
        due_at=func.coalesce(NEXT_AT, DELIVERIES.c.due_at),
        # It begins anew with the next try.
        give_up_at=case((DAY_STOPS, null()), else_=DELIVERIES.c.give_up_at),
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
            # One that is being sent was taken before its day was over; its end is recorded within the lease.
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
    """A delivery that a sender has taken at `taken_at`, until `lease_until`, by the database's clock."""

    id: uuid.UUID
    producer_id: uuid.UUID | None
    url: str = field(repr=False)
    host: str
    type: str
    payload: str = field(repr=False)
    tries: int
    lease_until: datetime
    taken_at: datetime
    endpoint_id: uuid.UUID | None = None


def take(connection: Connection, receiver: Receiver) -> Taken | None:
    """Take the receiver's next due delivery; None if there is none.

    Deliveries of a suspended producer are delayed untried. Those of an endpoint that is disabled or deleted
    are given up, and those to its former address are given the present one.
    """
    parameters = {"its_owner": receiver.owner, "its_host": receiver.host}
    while (row := connection.execute(TAKE, parameters).first()) is not None:
        if row.suspended:
            connection.execute(DELAY, parameters)
        elif row.outdated:
            these = parameters | {"its_endpoint": row.endpoint_id, "its_id": row.id}
            connection.execute(GIVE_UP_WITHOUT_ENDPOINT, these)
            connection.execute(SEND_ELSEWHERE, these)
        else:
            return Taken(*row[:-2])
    return None


def delivered(connection: Connection, taken: Taken, status: int) -> None:
    """Record that the receiver accepted it, unless it was replayed or taken again meanwhile."""
    connection.execute(DELIVERED, _key_of(taken) | {"status": status})


def failed(
    connection: Connection,
    taken: Taken,
    reason: str,
    *,
    status: int | None,
    delay: timedelta | None,
    egress_away: bool = False,
) -> DeliveryState | None:
    """Record the failed try, and send it again after `delay`; None, or the end of its day, gives it up.

    `egress_away`: our own proxy gave no connection, so its day begins anew with the next try.

    Returns the new state, None if it was replayed or taken again meanwhile.
    """
    values = {"reason": reason, "status": status, "delay": delay, "egress_away": egress_away}
    state = connection.scalar(FAILED, _key_of(taken) | values)
    return None if state is None else DeliveryState(state)


def give_up_old(connection: Connection) -> int:
    """Give up deliveries whose day is over since their first try, PORTION at most; returns their number.

    A receiver that does not answer may not get another try of each delivery within the day.
    """
    return connection.execute(GIVE_UP_OLD).rowcount


def stop_all(session: Session, producer_id: uuid.UUID) -> None:
    """Stop sending a producer's messages until `send_all`, without giving any up."""
    session.execute(STOP_ALL, {"of_producer": producer_id})


def send_all(session: Session, producer_id: uuid.UUID) -> None:
    """Make all waiting messages of a producer due now."""
    session.execute(SEND_ALL, {"of_producer": producer_id})


def forget(connection: Connection, kept: timedelta) -> int:
    """Delete deliveries that ended longer ago than `kept`, PORTION at most; returns their number."""
    return connection.execute(FORGET, {"kept": kept}).rowcount


def _key_of(taken: Taken) -> dict[str, object]:
    return {"its_id": taken.id, "its_lease": taken.lease_until}


# Functions in the database, which the triggers of jobs and batches call as well.
ANNOUNCE_EVENT = text("SELECT announce_event(:url, :kind, CAST(:data AS json), :producer_id)").bindparams(
    bindparam("url", type_=Text),
    bindparam("kind", type_=Text),
    bindparam("data", type_=Text),
    bindparam("producer_id", type_=Uuid),
)
ANNOUNCE = text("SELECT announce(:url, :kind, CAST(:data AS json), :producer_id)").bindparams(
    bindparam("url", type_=Text),
    bindparam("kind", type_=Text),
    bindparam("data", type_=Text),
    bindparam("producer_id", type_=Uuid),
)


def announce(
    database: Database, *, url: str, kind: str, data: Mapping[str, Any], producer_id: uuid.UUID | None = None
) -> uuid.UUID:
    """Queue a message of type `kind` with `data` for `url`; it is sent once the caller's transaction commits.

    Returns the delivery's id, which is the `webhook-id`. Without a producer it is signed with the
    installation's secret. Raises InvalidWebhookError for an address that can never work, TypeError or
    ValueError for data that is not JSON.
    """
    check_webhook_url(url)
    written = json.dumps(data, allow_nan=False)
    values = {"url": url, "kind": kind, "data": written, "producer_id": producer_id}
    delivery_id: uuid.UUID = database.execute(ANNOUNCE, values).scalar_one()
    return delivery_id


def announce_event(
    database: Database,
    kind: EventType,
    data: Mapping[str, Any],
    *,
    url: str | None,
    producer_id: uuid.UUID | None,
) -> None:
    """Queue a message for `url`, unless it is None, and for each of the producer's endpoints that wants it.

    It is sent once the caller's transaction commits. Raises as `announce`.
    """
    if url is not None:
        check_webhook_url(url)
    written = json.dumps(data, allow_nan=False)
    values = {"url": url, "kind": kind, "data": written, "producer_id": producer_id}
    database.execute(ANNOUNCE_EVENT, values)
