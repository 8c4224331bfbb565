"""Options of an ingest, and the fingerprint that identifies the same ingest again."""

import uuid
from dataclasses import dataclass, field
from typing import Any, Self

from cutout.enums import JobMessages, Priority, ReturnForm
from cutout.ingest.chunks import Defaults
from cutout.ingest.sources.read_options import ReadOptions
from cutout.ingest.sources.source import Source, fingerprint
from cutout.models import Batch, Ingest
from cutout.producers.ceilings import UNBOUNDED, Ceilings
from cutout.queue.blocks.approval import PLAN

FOREIGN, STRICT, SCHEDULE, MIN_SOURCE_SHARE = "foreign", "strict", "schedule", "min_source_share"


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """Options for making a batch from a source.

    With `plan` its jobs are held until someone approves; with `strict` the first reject ends it. With a
    `schedule_id` only pictures that changed since that schedule's last run are enqueued, and none at all if
    fewer than `min_source_share` (0 to 1) of the pictures that it saw then are left.
    """

    name: str
    forms: tuple[ReturnForm, ...] = (ReturnForm.RGBA,)
    priority: Priority = Priority.NORMAL
    weight: float = 1.0
    budget: int | None = None
    reuse: bool = True
    plan: bool = False
    strict: bool = False
    reading: ReadOptions = field(default_factory=ReadOptions)
    producer_id: uuid.UUID | None = None
    schedule_id: uuid.UUID | None = None
    min_source_share: float = 0.0
    webhook_url: str | None = None
    webhook_jobs: JobMessages = JobMessages.NONE
    # Its producer's, read together with the ingest.
    ceilings: Ceilings = field(default=UNBOUNDED, compare=False)

    @property
    def defaults(self) -> Defaults:
        return Defaults(self.forms, self.priority, self.ceilings)

    @property
    def as_json(self) -> dict[str, Any]:
        """The options as stored with the ingest, for results written back into the manifest and for the
        fingerprint.
        """
        return {
            "name": self.name,
            "forms": list(self.forms),
            "priority": int(self.priority),
            "columns": dict(self.reading.columns),
            "encoding": self.reading.encoding,
            "keys": self.reading.keys,
            **{name: True for name, is_set in self._flags.items() if is_set},
            **self.reading.more(),
            **(
                {SCHEDULE: str(self.schedule_id), MIN_SOURCE_SHARE: self.min_source_share}
                if self.schedule_id
                else {}
            ),
        }

    @property
    def _flags(self) -> dict[str, bool]:
        return {PLAN: self.plan, FOREIGN: self.reading.foreign}

    @classmethod
    def of(cls, ingest: Ingest, batch: Batch) -> Self:
        """Restore the options that the ingest was requested with."""
        stored = ingest.options
        return cls(
            name=batch.name,
            forms=tuple(ReturnForm(form) for form in stored["forms"]),
            priority=Priority(stored["priority"]),
            weight=batch.weight,
            budget=batch.budget,
            reuse=batch.reuse,
            plan=PLAN in stored,
            strict=STRICT in stored,
            reading=ReadOptions.of(stored, foreign=FOREIGN in stored),
            producer_id=batch.producer_id,
            schedule_id=uuid.UUID(stored[SCHEDULE]) if SCHEDULE in stored else None,
            min_source_share=stored.get(MIN_SOURCE_SHARE, 0.0),
            webhook_url=batch.webhook_url,
            webhook_jobs=JobMessages(batch.webhook_jobs),
        )

    def fingerprint(self, source: Source, requested: uuid.UUID | None = None) -> bytes:
        """Identify the ingest: equal for the same command on an unchanged source, or for the same request."""
        batch = [self.weight, self.budget, self.reuse, str(self.producer_id)]
        return fingerprint(source.identity, [self.as_json, batch, *([str(requested)] if requested else [])])
