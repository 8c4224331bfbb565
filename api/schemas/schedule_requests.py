"""Requests about schedules."""

import uuid
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from api.schemas.addresses import WEB_ADDRESS, WebhookUrl
from api.schemas.fields import (
    WHOLE,
    ColumnMap,
    Delimiter,
    Metadata,
    Patterns,
    PlainText,
    PriorityName,
    ReturnForms,
)
from api.schemas.output_requests import FULL_SIZE, OutputFields
from cutout.enums import PRIORITIES, AtWindowEnd, CatchUp, Overlap, Priority, ReturnForm
from cutout.manifests.column_names import require_targets
from cutout.models import Schedule
from cutout.queue.enqueue import LONGEST_SOURCE
from cutout.schedules.cron import LONGEST_EXPRESSION
from cutout.schedules.cron_syntax import FIELDS
from cutout.schedules.definition import (
    LEAST_GRACE_S,
    LONGEST_NAME,
    MOST_CREDITS,
    MOST_GRACE_S,
    NewSchedule,
    Options,
)
from cutout.schedules.local_time import LONGEST_ZONE
from cutout.schedules.schedule_errors import InvalidScheduleError
from cutout.schedules.windows import parse_window

Credits = Annotated[int, Strict(), Field(ge=0, le=MOST_CREDITS), WHOLE]


class ScheduleRequest(OutputFields, BaseModel):
    """A batch of a manifest, to be repeated. Only what changed since the last run is enqueued."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[PlainText, Field(min_length=1, max_length=LONGEST_NAME, examples=["nightly"])]
    manifest_url: Annotated[
        str,
        Field(
            max_length=LONGEST_SOURCE,
            examples=["https://shop.example/export.csv"],
            json_schema_extra={"pattern": WEB_ADDRESS},
        ),
    ]
    cron: Annotated[
        str,
        Field(
            max_length=LONGEST_EXPRESSION,
            description="Minute, hour, day, month, weekday; or @hourly, @daily, @weekly, @monthly, @yearly",
            examples=["15 1 * * *"],
        ),
    ]
    zone: Annotated[PlainText, Field(max_length=LONGEST_ZONE, examples=["Europe/Paris"])] = "UTC"
    window: Annotated[
        str | None, Field(max_length=20, description="Calls go out only then", examples=["01:00-06:00"])
    ] = None
    at_window_end: AtWindowEnd = AtWindowEnd.WAIT
    return_form: ReturnForms = [ReturnForm.RGBA]
    priority: PriorityName = "bulk"
    weight: Annotated[float, Strict(), Field(ge=0.001, le=1000)] = 1.0
    budget: Annotated[Credits | None, Field(description="Credits that a run may cost")] = None
    month_budget: Annotated[
        Credits | None, Field(description="Credits that a calendar month's runs may cost")
    ] = None
    reuse: Annotated[bool, Strict()] = True
    full_size: Annotated[bool | None, Strict(), FULL_SIZE] = None
    encoding: Annotated[PlainText | None, Field(max_length=40)] = None
    map: ColumnMap = {}
    delimiter: Delimiter = None
    many: Annotated[
        bool, Strict(), Field(description="One id may stand for several pictures, which are numbered")
    ] = False
    include: Patterns = []
    exclude: Patterns = []
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LATEST
    jitter_seconds: Annotated[int, Strict(), Field(ge=0), WHOLE] = 0
    grace_seconds: Annotated[int, Strict(), Field(ge=LEAST_GRACE_S, le=MOST_GRACE_S), WHOLE] = 300
    min_source_share: Annotated[
        float,
        Strict(),
        Field(
            ge=0,
            le=1,
            description="A run fails if less than this share of the last run's pictures is left",
        ),
        # Smaller ones are none to Postgres, which would refuse them.
        AfterValidator(lambda share: round(share, 6)),
    ] = 0.5

    webhook_url: WebhookUrl | None = None
    metadata: Annotated[Metadata, Field(description="Your own pairs of text, also of each run's batch")] = {}

    @classmethod
    def of(cls, schedule: Schedule) -> dict[str, Any]:
        """The members of the request that a stored schedule could have been made with, as JSON."""
        options = Options.of(schedule.options)
        start, end = schedule.window_start, schedule.window_end
        # SQLAlchemy's own `metadata` is replaced below.
        same = {name: getattr(schedule, name) for name in cls.model_fields if hasattr(schedule, name)}
        return same | {
            "manifest_url": schedule.source,
            "window": f"{start:%H:%M}-{end:%H:%M}" if start and end else None,
            "return_form": list(options.forms),
            "forms": options.outputs.forms,
            "full_size": options.outputs.full_size,
            "outputs": options.outputs.texts,
            "file_name": options.outputs.file,
            "priority": Priority(options.priority).name.lower(),
            "weight": options.weight,
            "budget": schedule.run_budget,
            "reuse": options.reuse,
            "encoding": options.encoding,
            "map": dict(options.columns),
            "delimiter": options.delimiter,
            "many": options.many,
            "include": list(options.include),
            "exclude": list(options.exclude),
            "metadata": schedule.metadata_ or {},
        }

    def to_new_schedule(self, producer_id: uuid.UUID) -> NewSchedule:
        """Raises InvalidScheduleError."""
        if len(self.cron.split()) > FIELDS:
            raise InvalidScheduleError(
                "cron", f"the cron expression {self.cron!r} has more than five fields; leave the seconds out"
            )
        return NewSchedule(
            self.name,
            self.manifest_url,
            self.cron,
            self.zone,
            self._options(),
            window=parse_window(self.window) if self.window is not None else None,
            at_window_end=self.at_window_end,
            run_budget=self.budget,
            month_budget=self.month_budget,
            overlap=self.overlap,
            catch_up=self.catch_up,
            jitter_seconds=self.jitter_seconds,
            grace_seconds=self.grace_seconds,
            min_source_share=self.min_source_share,
            producer_id=producer_id,
            webhook_url=self.webhook_url,
            metadata=self.metadata,
        )

    def _options(self) -> Options:
        try:
            require_targets(self.map)
        except ValueError as error:
            raise InvalidScheduleError("map", f"map: {error}") from error
        return Options(
            tuple(self.return_form),
            PRIORITIES[self.priority],
            self.weight,
            self.reuse,
            self.map,
            self.encoding,
            foreign=True,
            delimiter=self.delimiter,
            many=self.many,
            include=tuple(self.include),
            exclude=tuple(self.exclude),
            outputs=self.requested_outputs(),
        )
