"""Health of webhook endpoints: since when one fails, and the end of sending to one that failed for days."""

import uuid
from datetime import timedelta

from sqlalchemy import Connection, func, null, select, update

from cutout.enums import DeliveryState, DisabledReason
from cutout.models import DELIVERIES, WEBHOOK_ENDPOINTS, constant

# Longer than a weekend with a holiday. A single message is tried for a day.
DISABLED_AFTER = timedelta(days=5)

# Failing for so long, and a message has been given up after that: silence is no failure.
GIVEN_UP_SINCE = (
    select(DELIVERIES.c.id)
    .where(
        DELIVERIES.c.producer_id == WEBHOOK_ENDPOINTS.c.producer_id,
        DELIVERIES.c.endpoint_id == WEBHOOK_ENDPOINTS.c.id,
        DELIVERIES.c.endpoint_id.is_not(None),
        DELIVERIES.c.state == constant(DeliveryState.GIVEN_UP),
        DELIVERIES.c.finished_at >= WEBHOOK_ENDPOINTS.c.failing_since + DISABLED_AFTER,
    )
    .exists()
)
DISABLE_FAILING = (
    update(WEBHOOK_ENDPOINTS)
    .where(
        WEBHOOK_ENDPOINTS.c.disabled_at.is_(None),
        WEBHOOK_ENDPOINTS.c.failing_since.is_not(None),
        WEBHOOK_ENDPOINTS.c.failing_since <= func.now() - DISABLED_AFTER,
        GIVEN_UP_SINCE,
    )
    .values(disabled_at=func.now(), disabled_reason=constant(DisabledReason.FAILING))
    .returning(WEBHOOK_ENDPOINTS.c.id)
)


def note_success(connection: Connection, endpoint_id: uuid.UUID, url: str) -> None:
    """Record that the endpoint accepted a message at `url`, unless it has another address by now."""
    connection.execute(
        update(WEBHOOK_ENDPOINTS)
        .where(
            WEBHOOK_ENDPOINTS.c.id == endpoint_id,
            WEBHOOK_ENDPOINTS.c.url == url,
            WEBHOOK_ENDPOINTS.c.failing_since.is_not(None),
        )
        .values(failing_since=null())
    )


def note_failure(connection: Connection, endpoint_id: uuid.UUID, url: str) -> None:
    """Record that a try at `url` has failed, unless earlier ones did, or it has another address by now."""
    connection.execute(
        update(WEBHOOK_ENDPOINTS)
        .where(
            WEBHOOK_ENDPOINTS.c.id == endpoint_id,
            WEBHOOK_ENDPOINTS.c.url == url,
            WEBHOOK_ENDPOINTS.c.failing_since.is_(None),
        )
        .values(failing_since=func.now())
    )


def disable_gone(connection: Connection, endpoint_id: uuid.UUID, url: str) -> bool:
    """Disable an endpoint that answered 410, unless it has another address by now; whether it was enabled."""
    disabled = connection.execute(
        update(WEBHOOK_ENDPOINTS)
        .where(
            WEBHOOK_ENDPOINTS.c.id == endpoint_id,
            WEBHOOK_ENDPOINTS.c.url == url,
            WEBHOOK_ENDPOINTS.c.disabled_at.is_(None),
        )
        .values(disabled_at=func.now(), disabled_reason=constant(DisabledReason.GONE))
    )
    return disabled.rowcount > 0


def disable_failing(connection: Connection) -> list[uuid.UUID]:
    """Disable the endpoints that accepted nothing for DISABLED_AFTER; returns their ids."""
    return list(connection.scalars(DISABLE_FAILING))
