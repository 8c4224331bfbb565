"""Types of events that a webhook endpoint can ask for."""

from enum import StrEnum


class EventType(StrEnum):
    """An entry of an endpoint's `events`. The functions of the database announce each by this name."""

    ALL = "*"
    """Every event but those about single jobs, which must be named."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    JOB_HELD = "job.held"
    JOB_RENDERED = "job.rendered"
    BATCH_FINISHED = "batch.finished"
    BATCH_RENDERED = "batch.rendered"
    INGEST_FAILED = "ingest.failed"
    SCHEDULE_REPORT = "schedule.report"
    SCHEDULE_SKIPPED = "schedule.skipped"
    SCHEDULE_PAUSED = "schedule.paused"
    WEBHOOK_DISABLED = "webhook.disabled"


TEST = "webhook.test"
"""The type of a message that is sent to one endpoint on request, whatever its `events`."""
