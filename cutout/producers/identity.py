"""The identity of a key: its producer, what it may do, and how much of that is left."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from cutout.models import ApiKey, Producer
from cutout.models.database import Database
from cutout.producers.ceilings import Ceilings
from cutout.producers.quotas import count_anew


@dataclass(frozen=True, slots=True)
class Identity:
    """A key and its producer. `quota_taken` is the number of unfinished jobs, None without a quota."""

    producer_id: uuid.UUID
    producer_name: str
    key_id: uuid.UUID
    key_name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    ceilings: Ceilings
    job_quota: int | None
    quota_taken: int | None


def find_identity(database: Database, key_id: uuid.UUID) -> Identity | None:
    """The key with its producer, in the caller's transaction: the unfinished jobs may be counted anew."""
    query = select(
        ApiKey.producer_id,
        Producer.name.label("producer_name"),
        ApiKey.id.label("key_id"),
        ApiKey.name.label("key_name"),
        ApiKey.scopes,
        ApiKey.created_at,
        ApiKey.expires_at,
        Producer.top_priority,
        Producer.most_weight,
        Producer.job_quota,
        Producer.quota_taken,
    ).where(ApiKey.id == key_id, Producer.id == ApiKey.producer_id)
    row = database.execute(query).one_or_none()
    if row is not None and row.job_quota is not None:
        count_anew(database, row.producer_id)
        row = database.execute(query).one_or_none()
    if row is None:
        return None
    return Identity(
        row.producer_id,
        row.producer_name,
        row.key_id,
        row.key_name,
        tuple(row.scopes),
        row.created_at,
        row.expires_at,
        Ceilings.of(row.top_priority, row.most_weight),
        row.job_quota,
        None if row.job_quota is None else row.quota_taken,
    )
