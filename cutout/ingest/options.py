"""Options of an ingest, and the fingerprint that identifies the same ingest again."""

import uuid
from dataclasses import dataclass, field
from typing import Any, Self

from cutout.enums import JobMessages, Priority, ReturnForm
from cutout.ingest.batch_window import BatchWindow
from cutout.ingest.chunks import Defaults
from cutout.ingest.ingest_errors import IngestError
from cutout.ingest.sources.read_options import ReadOptions
from cutout.ingest.sources.source import Source, fingerprint
from cutout.models import Batch, Ingest
from cutout.network.shown_urls import without_secrets
from cutout.outputs.options import OutputOptions
from cutout.outputs.recipes import RecipeError
from cutout.producers.ceilings import UNBOUNDED, Ceilings
from cutout.queue.blocks.approval import PLAN
from cutout.queue.metadata import Metadata

FOREIGN, STRICT, SCHEDULE, MIN_SOURCE_SHARE = "foreign", "strict", "schedule", "min_source_share"


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """Options for making a batch from a source.

    With `plan` its jobs are held until someone approves; with `strict` the first reject ends it. With a
    `schedule_id` only pictures that changed since that schedule's last run are enqueued, and none at all if
    fewer than `min_source_share` (0 to 1) of the pictures that it saw then are left. With a `window` calls go
    out in these hours of each day alone; a schedule has its own.
    """

    name: str
    forms: tuple[ReturnForm, ...] = (ReturnForm.RGBA,)
    priority: Priority = Priority.NORMAL
    weight: float = 1.0
    budget: int | None = None
    reuse: bool = True
    plan: bool = False
    strict: bool = False
    outputs: OutputOptions = field(default_factory=OutputOptions)
    reading: ReadOptions = field(default_factory=ReadOptions)
    producer_id: uuid.UUID | None = None
    schedule_id: uuid.UUID | None = None
    min_source_share: float = 0.0
    webhook_url: str | None = None
    webhook_jobs: JobMessages = JobMessages.NONE
    metadata: Metadata | None = None
    window: BatchWindow | None = None
    # Its producer's, read together with the ingest.
    ceilings: Ceilings = field(default=UNBOUNDED, compare=False)

    @property
    def defaults(self) -> Defaults:
        return Defaults(self.forms, self.priority, self.ceilings)

    def check_columns(self, source: Source) -> None:
        """Raise IngestError if a template of file names has a field that is no column of the source."""
        if source.columns is None:
            return
        try:
            self.outputs.check_columns(source.columns)
        except RecipeError as error:
            raise IngestError(str(error)) from error

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
            **self.outputs.as_options(),
            **(
                {SCHEDULE: str(self.schedule_id), MIN_SOURCE_SHARE: self.min_source_share}
                if self.schedule_id
                else {}
            ),
        }

    def to_be_shown(self, source: str | None = None) -> dict[str, Any]:
        """The options that the batch has no columns for, by the names of the API, as stored with the batch.

        `source` is an address of the web, which is shown without what may be a secret.
        """
        reading = self.reading
        return {
            "return_form": list(self.forms),
            "priority": self.priority.name.lower(),
            "plan": self.plan,
            "strict": self.strict,
            "forms": self.outputs.forms.value,
            "full_size": self.outputs.full_size,
            "manifest_url": None if source is None else without_secrets(source),
            "map": dict(reading.columns),
            "encoding": reading.encoding,
            "delimiter": reading.delimiter,
            "many": reading.many,
            "include": list(reading.include),
            "exclude": list(reading.exclude),
            **(self.window.as_options if self.window else {}),
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
            outputs=OutputOptions.of_options(stored),
            producer_id=batch.producer_id,
            schedule_id=uuid.UUID(stored[SCHEDULE]) if SCHEDULE in stored else None,
            min_source_share=stored.get(MIN_SOURCE_SHARE, 0.0),
            webhook_url=batch.webhook_url,
            webhook_jobs=JobMessages(batch.webhook_jobs),
        )

    def identity(self, source: Source) -> bytes | None:
        """Identify the pictures of a source with their versions, of which the forms are part.

        None if its identity says less.
        """
        return fingerprint(source.identity, list(self.forms)) if source.has_identity_of_pictures else None

    def fingerprint(self, source: Source, requested: uuid.UUID | None = None) -> bytes:
        """Identify the ingest: equal for the same command on an unchanged source, or for the same request.

        The name, weight and budget of a requested batch may be changed while its source is read.
        """
        if requested is not None:
            fixed = {name: value for name, value in self.as_json.items() if name != "name"}
            return fingerprint(source.identity, [fixed, str(requested)])
        batch = [self.weight, self.budget, self.reuse, str(self.producer_id)]
        return fingerprint(source.identity, [self.as_json, batch])
