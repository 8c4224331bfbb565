"""The bearer of a key as it sees itself."""

import uuid
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from api.limits.rate_limit import RequestLimit
from api.schemas.examples import A_MOMENT
from cutout.enums import Scope
from cutout.producers.identity import Identity


class ProducerView(BaseModel):
    """The producer to which the key belongs."""

    id: uuid.UUID
    name: Annotated[str, Field(examples=["shop"])]


class KeyView(BaseModel):
    """The key. Its text is not stored, and cannot be shown again."""

    id: uuid.UUID
    name: Annotated[str, Field(examples=["nightly export"])]
    scopes: Annotated[list[Scope], Field(examples=[["enqueue", "read"]])]
    created_at: Annotated[datetime, Field(examples=[A_MOMENT])]
    expires_at: Annotated[
        datetime | None, Field(description="Null if it does not expire", examples=[A_MOMENT])
    ]


class RequestRateView(BaseModel):
    """The requests that the key may send, to each process of the API."""

    per_second: Annotated[float, Field(examples=[200])]
    burst: Annotated[int, Field(description="The most at once after a pause", examples=[2000])]


class CeilingsView(BaseModel):
    """The most that may be asked for; null where there is no ceiling."""

    priority: Annotated[str | None, Field(examples=["normal"])]
    weight: Annotated[float | None, Field(examples=[10])]


class QuotaView(BaseModel):
    """Unfinished jobs: how many there may be, and how many there are; null without a quota."""

    unfinished_jobs: Annotated[int | None, Field(description="The most at once", examples=[100_000])]
    used: Annotated[int | None, Field(examples=[1234])]


class IdentityView(BaseModel):
    """A producer, its key, and its limits."""

    producer: ProducerView
    key: KeyView
    request_rate: RequestRateView
    ceilings: CeilingsView
    quota: QuotaView


def view_identity(found: Identity, limit: RequestLimit) -> IdentityView:
    """Make the view of a key and its producer."""
    top = found.ceilings.top_priority
    return IdentityView(
        producer=ProducerView(id=found.producer_id, name=found.producer_name),
        key=KeyView(
            id=found.key_id,
            name=found.key_name,
            scopes=[Scope(scope) for scope in found.scopes],
            created_at=found.created_at,
            expires_at=found.expires_at,
        ),
        request_rate=RequestRateView(per_second=limit.per_second, burst=int(limit.burst)),
        ceilings=CeilingsView(
            priority=None if top is None else top.name.lower(), weight=found.ceilings.most_weight
        ),
        quota=QuotaView(unfinished_jobs=found.job_quota, used=found.quota_taken),
    )
