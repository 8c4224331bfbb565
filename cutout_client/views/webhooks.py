"""Webhook endpoints and deliveries, as the API shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server of yours that receives messages. Of its address only the host is shown.

    `secret` verifies its messages. It is in the answers that made it and in no other: where such an answer
    was lost and asked for again, it is None, and `rotate_secret` makes another.
    """

    id: str
    host: str
    has_path_or_query: bool
    events: tuple[str, ...]
    description: str | None
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: str | None
    failing_since: datetime | None
    created_at: datetime
    secret: str | None = field(default=None, repr=False)
    etag: str | None = field(default=None, compare=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to one of your servers. `state` is waiting, delivered or given_up."""

    id: str
    type: str
    host: str
    state: str
    tries: int
    due_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None
    endpoint_id: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
