"""Notice before a key expires: without it its user is refused from one second to the next."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cutout.models import ApiKey, Producer
from cutout.models.database import Database

NOTICE = timedelta(days=14)
# A key that nobody used for so long is missed by nobody when it ends.
IN_USE_WITHIN = timedelta(days=30)
IS_VALID = ApiKey.revoked_at.is_(None) & (ApiKey.expires_at > func.now())


def expires_soon(expires_at: datetime | None) -> bool:
    """Whether a key that is valid now ends within NOTICE."""
    return expires_at is not None and expires_at - datetime.now(UTC) <= NOTICE


def expiring_keys(session: Session) -> Sequence[tuple[ApiKey, Producer | None]]:
    """The valid keys that end within NOTICE, with their producers if any, the first to end first."""
    rows = session.execute(
        select(ApiKey, Producer)
        .outerjoin(Producer, Producer.id == ApiKey.producer_id)
        .where(IS_VALID, ApiKey.expires_at <= func.now() + NOTICE)
        .order_by(ApiKey.expires_at)
    )
    return [(row.ApiKey, row.Producer) for row in rows]


def soonest_expiry(database: Database) -> datetime | None:
    """When the first of the valid keys that are in use ends; None if none does."""
    is_in_use = ApiKey.last_used_at > func.now() - IN_USE_WITHIN
    found: datetime | None = database.scalar(select(func.min(ApiKey.expires_at)).where(IS_VALID, is_in_use))
    return found
