"""The producer of a key, as the API shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cutout_client.views.batches import ActionError


@dataclass(frozen=True, slots=True)
class Producer:
    """The producer to which a key belongs."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Key:
    """The key of this client, without its text. `scopes` are enqueue, read and admin."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class RequestRate:
    """Requests that the key may send to each process of the API."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The most that may be asked for; None without a ceiling."""

    priority: str | None
    weight: float | None


@dataclass(frozen=True, slots=True)
class Quota:
    """Unfinished jobs: how many there may be, and how many there are; None without a quota."""

    unfinished_jobs: int | None
    used: int | None


@dataclass(frozen=True, slots=True)
class Identity:
    """A producer, its key, and its limits."""

    producer: Producer
    key: Key
    request_rate: RequestRate
    ceilings: Ceilings
    quota: Quota
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRecord:
    """A change that was asked for. `by` is producer, with a key of yours, or operator; None: not recorded.

    `changed` counts what it did, `credits` is the most that it may cost, if that was known.
    """

    id: str
    kind: str
    by: str | None
    key_id: str | None
    key_name: str | None
    subject: str
    subject_id: str | None
    batch_id: str | None
    requested_at: datetime
    finished_at: datetime | None
    changed: int
    credits: int | None
    undone_at: datetime | None
    error: ActionError | None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
