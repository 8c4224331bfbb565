"""Definition of a schedule, checked as far as possible before its first run."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise
from typing import Any, Self

from cutout.enums import AtWindowEnd, CatchUp, Overlap, Priority, ReturnForm
from cutout.ingest.options import IngestOptions
from cutout.ingest.sources.read_options import ReadOptions
from cutout.network.url_hints import not_an_address
from cutout.outputs.options import RequestedOutputs
from cutout.queue.enqueue import LONGEST_SOURCE, InvalidJobError, NewJob
from cutout.queue.metadata import Metadata, metadata_fault
from cutout.schedules.cron import Cron, cron_of
from cutout.schedules.schedule_errors import InvalidScheduleError
from cutout.storage import split_address
from cutout.text import CONTROL, name_fault
from cutout.webhooks.webhook_urls import InvalidWebhookError, check_webhook_url

LONGEST_NAME = 100
LEAST_GRACE_S, MOST_GRACE_S = 30, 7 * 86_400
MOST_CREDITS = 2**31 - 1
OUTPUTS = "outputs"
# The number of coming runs whose distances are compared with the jitter.
RUNS_COMPARED = 50


@dataclass(frozen=True, slots=True)
class Options:
    """Options of each run's batch, without its budget.

    `foreign`: requested over the network, so its source and its pictures must be web addresses.
    """

    forms: tuple[ReturnForm, ...] = (ReturnForm.RGBA,)
    priority: Priority = Priority.NORMAL
    weight: float = 1.0
    reuse: bool = True
    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    keys: bool = False
    foreign: bool = False
    delimiter: str | None = None
    many: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    outputs: RequestedOutputs = field(default_factory=RequestedOutputs)

    @property
    def reading(self) -> ReadOptions:
        return ReadOptions(
            self.columns,
            self.encoding,
            self.keys,
            self.foreign,
            self.delimiter,
            self.many,
            self.include,
            self.exclude,
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "forms": list(self.forms),
            "priority": int(self.priority),
            "weight": self.weight,
            "reuse": self.reuse,
            "columns": dict(self.columns),
            "encoding": self.encoding,
            "keys": self.keys,
            "foreign": self.foreign,
            **self.reading.more(),
            # A program of the release before takes no schedule that has them.
            **({OUTPUTS: outputs} if (outputs := self.outputs.as_options()) else {}),
        }

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """Build from the value of as_json()."""
        forms = tuple(ReturnForm(form) for form in kept["forms"])
        patterns = {name: tuple(kept[name]) for name in ("include", "exclude") if name in kept}
        outputs = RequestedOutputs.of_options(kept.get(OUTPUTS, {}))
        others = {"forms": forms, "priority": Priority(kept["priority"]), OUTPUTS: outputs}
        return cls(**{**kept, **patterns, **others})

    def ingest_options(self, name: str) -> IngestOptions:
        """The options of one run's ingest, without those that differ from run to run, and those for outputs,
        which may depend on the settings.
        """
        return IngestOptions(
            name,
            forms=self.forms,
            priority=self.priority,
            weight=self.weight,
            reuse=self.reuse,
            reading=self.reading,
        )


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A new schedule. Raises InvalidScheduleError for values that can never work.

    A run fails before it enqueues anything if its source has fewer than `min_source_share` (0 to 1) of the
    last run's pictures: a broken export must not look like a removed catalog. Each run's report is sent to
    `webhook_url`. The batch of each run has the `metadata`.
    """

    name: str
    source: str
    cron: str
    zone: str = "UTC"
    options: Options = field(default_factory=Options)
    window: tuple[time, time] | None = None
    at_window_end: AtWindowEnd = AtWindowEnd.WAIT
    run_budget: int | None = None
    month_budget: int | None = None
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LATEST
    jitter_seconds: int = 0
    grace_seconds: int = 300
    min_source_share: float = 0.5
    producer_id: uuid.UUID | None = None
    webhook_url: str | None = None
    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        if self.metadata is not None and (fault := metadata_fault(self.metadata)):
            raise InvalidScheduleError("metadata", f"metadata {fault}")
        if self.webhook_url is not None:
            _require_webhook(self.webhook_url)
        _require_name(self.name)
        require_source(self.source, on_the_web=self.options.foreign)
        _require_jitter(cron_of(self.cron, self.zone), self.jitter_seconds)
        _require_between("grace_seconds", self.grace_seconds, LEAST_GRACE_S, MOST_GRACE_S)
        for budget in (self.run_budget, self.month_budget):
            if budget is not None:
                _require_between("budget", budget, 0, MOST_CREDITS)
        if not 0 <= self.min_source_share <= 1:
            raise InvalidScheduleError(
                "min_source_share",
                f"{self.min_source_share} is not a share; use one from 0 to 1, such as 0.5",
            )


def _require_name(name: str) -> None:
    if not 1 <= len(name) <= LONGEST_NAME or name != name.strip():
        raise InvalidScheduleError(
            "name",
            f"the name {name[:LONGEST_NAME]!r} does not have 1 to {LONGEST_NAME} characters without blanks"
            " around them; change it",
        )
    if fault := name_fault(name):
        raise InvalidScheduleError("name", f"the name {name!r} {fault}")


def _require_webhook(url: str) -> None:
    try:
        check_webhook_url(url)
    except InvalidWebhookError as error:
        raise InvalidScheduleError("webhook_url", str(error)) from None


def _require_jitter(cron: Cron, seconds: int) -> None:
    """Raise InvalidScheduleError unless each run is due before the next one fires: they keep their order."""
    ahead = islice(cron.after(datetime.now(UTC)), RUNS_COMPARED)
    closest = min((later - earlier for earlier, later in pairwise(ahead)), default=timedelta.max)
    if not 0 <= seconds < closest.total_seconds():
        raise InvalidScheduleError(
            "jitter_seconds",
            f"the jitter of {seconds} s is not less than the {closest.total_seconds():.0f} s between two"
            " runs; use less",
        )


def _require_between(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidScheduleError(name, f"{name} is {value}, which is out of bounds; use {least} to {most}")


# Plain http is only for private hosts that the settings name; the ingest enforces that.
WEB, BUCKET = ("https://", "http://"), "s3://"


def require_source(source: str, *, on_the_web: bool = False) -> None:
    """Raise InvalidScheduleError unless it is a manifest's address, a prefix of a bucket or an absolute path.

    `on_the_web` allows only the address: producers may not name local places.
    """
    shown = source[:200]
    if source.startswith(WEB):
        try:
            NewJob(source)
        except InvalidJobError as error:
            raise _invalid(str(error)) from None
        return
    if fault := not_an_address(source):
        raise _invalid(f"the source {shown!r} {fault}")
    if on_the_web:
        raise _invalid(f"the source {shown!r} does not begin with {WEB[0]}; give the address of a manifest")
    if len(source) > LONGEST_SOURCE:
        raise _invalid(f"the source has {len(source)} characters; use at most {LONGEST_SOURCE}")
    if CONTROL.search(source):
        raise _invalid(f"the source {shown!r} has control characters; remove them")
    if source.startswith(BUCKET):
        if not (split_address(source) or ("", ""))[0]:
            raise _invalid(f"the source {shown!r} names no bucket; write s3://bucket/prefix")
    elif not source.startswith("/"):
        raise _invalid(
            f"the source {shown!r} is no https:// address, no s3://bucket/prefix and no absolute path; give"
            " one of them"
        )


def _invalid(text: str) -> InvalidScheduleError:
    return InvalidScheduleError("source", text)
