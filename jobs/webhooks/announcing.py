"""Announcing what no trigger announces."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Text, Uuid, bindparam, text

from jobs.database import Database
from jobs.webhooks.addresses import check_webhook_url

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
