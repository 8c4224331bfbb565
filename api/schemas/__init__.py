"""Schemas of requests and responses. States and forms are those of cutout.enums, no others."""

from api.schemas.batch_requests import BatchRequest, ManifestQuery
from api.schemas.batch_views import BatchList, BatchSummary, BatchView, summarize, view_batch
from api.schemas.fields import Code, ExternalId
from api.schemas.job_requests import JobForm, JobOptions, JobRequest
from api.schemas.job_views import ExplanationView, JobList, JobView, view_job
from api.schemas.patches import BatchPatch, SchedulePatch
from api.schemas.schedule_requests import ScheduleRequest
from api.schemas.schedule_views import (
    ComingRunList,
    RunList,
    RunView,
    ScheduleList,
    ScheduleView,
    view_coming,
    view_run,
    view_schedule,
)

__all__ = [
    "BatchList",
    "BatchPatch",
    "BatchRequest",
    "BatchSummary",
    "BatchView",
    "Code",
    "ComingRunList",
    "ExplanationView",
    "ExternalId",
    "JobForm",
    "JobList",
    "JobOptions",
    "JobRequest",
    "JobView",
    "ManifestQuery",
    "RunList",
    "RunView",
    "ScheduleList",
    "SchedulePatch",
    "ScheduleRequest",
    "ScheduleView",
    "summarize",
    "view_batch",
    "view_coming",
    "view_job",
    "view_run",
    "view_schedule",
]
