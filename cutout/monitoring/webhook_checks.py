"""Health check of webhook endpoints: whether the service disabled any."""

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError

from cutout.enums import DisabledReason
from cutout.models import WEBHOOK_ENDPOINTS
from cutout.monitoring.check import Check, is_reported_elsewhere

DISABLED = select(func.count()).where(
    WEBHOOK_ENDPOINTS.c.disabled_at.is_not(None),
    WEBHOOK_ENDPOINTS.c.disabled_reason != DisabledReason.BY_PRODUCER,
)
REMEDY = (
    "tell their producers; `cutout webhooks endpoints` lists them, and a PATCH with `enabled` enables one"
)


def check_endpoints(engine: Engine) -> list[Check]:
    """Name the number of endpoints that were disabled for their answers; empty if there are none."""
    try:
        with engine.connect() as connection:
            disabled = connection.scalars(DISABLED).one()
    except DBAPIError as error:
        if is_reported_elsewhere(error):
            return []
        raise
    if not disabled:
        return []
    are = "webhook endpoint is" if disabled == 1 else "webhook endpoints are"
    found = f"{disabled} {are} disabled, since it answered 410 or failed for days"
    return [Check("webhooks", ok=True, found=found, remedy=REMEDY, needed=False)]
