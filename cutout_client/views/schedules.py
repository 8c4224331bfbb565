"""Schedules and their runs, as the API shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A batch of a manifest that repeats. While it is paused, `next_fire_at` is None.

    `skips_at` is the time of the next run if that is to be skipped.
    """

    id: str
    name: str
    manifest_url: str
    cron: str
    zone: str
    window: str | None
    at_window_end: str
    return_form: tuple[str, ...]
    forms: str | None
    full_size: bool | None
    outputs: tuple[str, ...]
    file_name: str | None
    priority: str
    weight: float
    budget: int | None
    month_budget: int | None
    reuse: bool
    encoding: str | None
    map: Mapping[str, str]
    delimiter: str | None
    many: bool
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    overlap: str
    catch_up: str
    jitter_seconds: int
    grace_seconds: int
    min_source_share: float
    created_at: datetime
    paused_at: datetime | None
    paused_by_operator_at: datetime | None
    next_fire_at: datetime | None
    next_due_at: datetime | None
    skips_at: datetime | None = None
    webhook_host: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    etag: str | None = field(default=None, compare=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a schedule. `note` says why it failed; `report_url` is there once it has ended."""

    id: str
    fire_at: datetime
    fired_at: datetime
    state: str
    batch_id: str | None
    note: str | None
    counts: Mapping[str, int] | None
    started_at: datetime | None
    finished_at: datetime | None
    report_url: str | None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ComingRun:
    """A run to come: in UTC, as the zone's clocks show it, and with its jitter; or `skipped`."""

    fire_at: datetime
    local: datetime
    due_at: datetime
    skipped: bool = False
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
