"""Batches and their events, as the API shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class OutputCounts:
    """Outputs of a batch by state."""

    waiting: int = 0
    made: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Price of a batch that waits for approval: `calls` cost a credit each; outputs cost none."""

    calls: int
    dollars: float
    already_bought: int
    same_picture: int
    missing: int = 0
    outputs: int = 0
    output_cpu_seconds: int = 0
    output_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SkippedFiles:
    """Files of a zip that are not taken for one reason, with the first names."""

    reason: str
    count: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ingest:
    """Progress of reading a manifest: pictures = jobs + rejects + duplicates.

    `state` is reading, read or failed. `error` says why it ended early, `message` why it rests.
    """

    state: str
    kind: str
    records: int
    pictures: int
    jobs: int
    rejects: int
    duplicates: int
    skipped: tuple[SkippedFiles, ...]
    remarks: tuple[str, ...]
    rejects_url: str | None
    code: str | None
    message: str | None
    error: str | None
    plan: Plan | None


@dataclass(frozen=True, slots=True)
class ActionError:
    """Reason why an action waits, or ended before all was changed."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A change of a whole batch that was asked for and goes on by itself; `changed` counts what it did.

    `kind` is cancel, retry, add_outputs, retry_outputs or delete.
    """

    id: str
    kind: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    changed: int
    error: ActionError | None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSummary:
    """A batch in a list, as it was asked for. Options that are not known are None."""

    id: str
    name: str
    created_at: datetime
    paused_at: datetime | None
    paused_by_operator_at: datetime | None
    opens_at: datetime | None
    closes_at: datetime | None
    cancelled_at: datetime | None
    budget: int | None
    results_key: str | None
    state: str | None = None
    weight: float | None = None
    reuse: bool | None = None
    return_form: tuple[str, ...] | None = None
    priority: str | None = None
    plan: bool | None = None
    strict: bool | None = None
    forms: str | None = None
    full_size: bool | None = None
    renditions: tuple[str, ...] = ()
    file_name: str | None = None
    manifest_url: str | None = None
    map: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    delimiter: str | None = None
    many: bool | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    webhook_host: str | None = None
    webhook_jobs: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(BatchSummary):
    """Jobs enqueued together, counted by state; `outputs` and `scores` are of those that succeeded.

    `actions` are changes of the whole batch that go on, and the last that ended. `poll_after_seconds` says
    when to look again; `etag` is for `if_match`.
    """

    finished_at: datetime | None
    total: int
    counts: Mapping[str, int]
    credits: int
    eta_seconds: int | None
    outputs_eta_seconds: int | None
    ingest: Ingest | None
    outputs: OutputCounts = field(default_factory=OutputCounts)
    scores: OutputCounts = field(default_factory=OutputCounts)
    actions: tuple[Action, ...] = ()
    poll_after_seconds: int | None = None
    etag: str | None = field(default=None, compare=False)

    @property
    def is_finished(self) -> bool:
        """Whether all its jobs have ended. Its outputs may still be made."""
        return self.finished_at is not None

    @property
    def has_all_outputs(self) -> bool:
        """Whether none of its outputs and scores is waiting."""
        return not (self.outputs.waiting or self.scores.waiting)

    @property
    def needs_nobody(self) -> bool:
        """Whether it continues by itself: it is read or changed, or jobs of it are neither final nor held."""
        reading = self.ingest is not None and self.ingest.state == "reading"
        changing = any(action.finished_at is None for action in self.actions)
        return reading or changing or self.counts.get("queued", 0) + self.counts.get("running", 0) > 0


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that ended, as an event tells it; `code` says why it failed."""

    id: str
    external_id: str | None
    return_form: str
    state: str
    code: str | None


@dataclass(frozen=True, slots=True)
class BatchEvent:
    """An event of a batch. `kind` is progress, job, finished or rendered; a newer API may have others.

    `batch` is there for all but `job`, which has `job`. `id` resumes behind it.
    """

    kind: str
    id: str | None
    batch: Batch | None = None
    job: EndedJob | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
