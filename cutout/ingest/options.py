"""What is asked of an ingest, and what of it tells one ingest from another."""

import uuid
from dataclasses import dataclass, field
from typing import Any, Self

from cutout.enums import JobMessages, Priority, ReturnForm
from cutout.ingest.chunks import Asking
from cutout.ingest.sources.open_source import Reading
from cutout.ingest.sources.source import Source, fingerprint
from cutout.models import Batch, Ingest
from cutout.producers.ceilings import UNBOUNDED, Ceilings
from cutout.queue.blocks.approval import PLAN

FOREIGN, STRICT, SCHEDULE, SHRINKS_TO = "foreign", "strict", "schedule", "shrinks_to"


@dataclass(frozen=True, slots=True)
class Order:
    """How a batch is to be made of a source. With `plan` its jobs are held until somebody approves; with
    `strict` the first reject ends it.

    With a `schedule_id` only what changed since that schedule's last run is enqueued, and nothing at all if
    fewer than the share `shrinks_to` of the pictures that it saw then are left.
    """

    name: str
    forms: tuple[ReturnForm, ...] = (ReturnForm.RGBA,)
    priority: Priority = Priority.NORMAL
    weight: float = 1.0
    budget: int | None = None
    reuse: bool = True
    plan: bool = False
    strict: bool = False
    reading: Reading = field(default_factory=Reading)
    producer_id: uuid.UUID | None = None
    schedule_id: uuid.UUID | None = None
    shrinks_to: float = 0.0
    webhook_url: str | None = None
    webhook_jobs: JobMessages = JobMessages.NONE
    # Of its producer, when it is read.
    ceilings: Ceilings = field(default=UNBOUNDED, compare=False)

    @property
    def asking(self) -> Asking:
        return Asking(self.forms, self.priority, self.ceilings)

    @property
    def options(self) -> dict[str, Any]:
        """What is kept of it: to write results back into the manifest, and to know it again."""
        return {
            "name": self.name,
            "forms": list(self.forms),
            "priority": int(self.priority),
            "columns": dict(self.reading.columns),
            "encoding": self.reading.encoding,
            "keys": self.reading.keys,
            **{word: True for word, asked in self._flags.items() if asked},
            **self.reading.more(),
            **({SCHEDULE: str(self.schedule_id), SHRINKS_TO: self.shrinks_to} if self.schedule_id else {}),
        }

    @property
    def _flags(self) -> dict[str, bool]:
        return {PLAN: self.plan, FOREIGN: self.reading.foreign}

    @classmethod
    def of(cls, ingest: Ingest, batch: Batch) -> Self:
        """As it was when the ingest was requested."""
        kept = ingest.options
        return cls(
            name=batch.name,
            forms=tuple(ReturnForm(form) for form in kept["forms"]),
            priority=Priority(kept["priority"]),
            weight=batch.weight,
            budget=batch.budget,
            reuse=batch.reuse,
            plan=PLAN in kept,
            strict=STRICT in kept,
            reading=Reading.of(kept, foreign=FOREIGN in kept),
            producer_id=batch.producer_id,
            schedule_id=uuid.UUID(kept[SCHEDULE]) if SCHEDULE in kept else None,
            shrinks_to=kept.get(SHRINKS_TO, 0.0),
            webhook_url=batch.webhook_url,
            webhook_jobs=JobMessages(batch.webhook_jobs),
        )

    def fingerprint(self, source: Source, requested: uuid.UUID | None = None) -> bytes:
        """The same for the same command on an unchanged source, or the same request."""
        batch = [self.weight, self.budget, self.reuse, str(self.producer_id)]
        return fingerprint(source.identity, [self.options, batch, *([str(requested)] if requested else [])])
