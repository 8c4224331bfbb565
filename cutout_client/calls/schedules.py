"""Schedules: batches of a manifest that repeat."""

import time
from pathlib import Path
from typing import Literal, Unpack

from cutout_client.calls.files import location_of, save
from cutout_client.calls.options import ScheduleChanges, ScheduleOptions, fields_of
from cutout_client.calls.paging import each_of
from cutout_client.decode import nothing, read, view
from cutout_client.errors import NotDoneError
from cutout_client.http_request import Request
from cutout_client.route import REDIRECT, Route
from cutout_client.steps import Flow, Items, Sleep
from cutout_client.views.page import Page
from cutout_client.views.schedules import ComingRun, Run, Schedule

LOOK_EVERY_S = 1.0
LATEST = 100

CREATE = Route("POST", "/v1/schedules", view(Schedule))
LIST = Route("GET", "/v1/schedules", view(Page))
GET = Route("GET", "/v1/schedules/{schedule_id}", view(Schedule))
PATCH = Route("PATCH", "/v1/schedules/{schedule_id}", view(Schedule))
DELETE = Route("DELETE", "/v1/schedules/{schedule_id}", nothing, gone_is_done=True)
PAUSE = Route("POST", "/v1/schedules/{schedule_id}/pause", view(Schedule))
RESUME = Route("POST", "/v1/schedules/{schedule_id}/resume", view(Schedule))
SKIP = Route("POST", "/v1/schedules/{schedule_id}/skip", view(Schedule))
RESTORE = Route("POST", "/v1/schedules/{schedule_id}/restore", view(Schedule))
RUN = Route("POST", "/v1/schedules/{schedule_id}/run", view(Run))
NEXT = Route("GET", "/v1/schedules/{schedule_id}/next", view(Page))
RUNS = Route("GET", "/v1/schedules/{schedule_id}/runs", view(Page))
REPORT = Route("GET", "/v1/schedules/{schedule_id}/runs/{run_id}/report", location_of, REDIRECT)


def create(
    name: str,
    manifest_url: str,
    cron: str,
    *,
    idempotency_key: str | None = None,
    **options: Unpack[ScheduleOptions],
) -> Flow[Schedule]:
    """Ingest the manifest at an https address again and again, such as at `15 1 * * *`; a `window` bounds it.

    Each run enqueues only the pictures that are new or have changed.
    """
    asked = fields_of(options) | {"name": name, "manifest_url": manifest_url, "cron": cron}
    return CREATE.ask(json=asked, idempotency_key=idempotency_key)


def listed(*, page_size: int | None = None) -> Items[Schedule]:
    """Yield your schedules."""
    return each_of(LIST, Schedule, query={}, page_size=page_size)


def get(schedule_id: str) -> Flow[Schedule]:
    """A schedule as it was ordered, and when it fires next."""
    return GET.ask(schedule_id)


def patch(
    schedule_id: str, *, if_match: str | None = None, **changes: Unpack[ScheduleChanges]
) -> Flow[Schedule]:
    """Change a schedule. With `if_match`, its `etag`, raises ChangedMeanwhileError if another was faster."""
    return PATCH.ask(schedule_id, json=fields_of(changes), if_match=if_match)


def delete(schedule_id: str, *, if_match: str | None = None) -> Flow[None]:
    """Remove a schedule. A run that is under way continues."""
    return DELETE.ask(schedule_id, if_match=if_match)


def pause(
    schedule_id: str, *, if_match: str | None = None, idempotency_key: str | None = None
) -> Flow[Schedule]:
    """Fire no further run; one that is under way continues."""
    return PAUSE.ask(schedule_id, if_match=if_match, idempotency_key=idempotency_key)


def resume(
    schedule_id: str, *, if_match: str | None = None, idempotency_key: str | None = None
) -> Flow[Schedule]:
    """Fire again, from now on."""
    return RESUME.ask(schedule_id, if_match=if_match, idempotency_key=idempotency_key)


def skip(
    schedule_id: str, *, if_match: str | None = None, idempotency_key: str | None = None
) -> Flow[Schedule]:
    """Skip the next run; those after it fire as ever."""
    return SKIP.ask(schedule_id, if_match=if_match, idempotency_key=idempotency_key)


def restore(
    schedule_id: str, *, if_match: str | None = None, idempotency_key: str | None = None
) -> Flow[Schedule]:
    """Fire the next run after all, which was to be skipped."""
    return RESTORE.ask(schedule_id, if_match=if_match, idempotency_key=idempotency_key)


def run(
    schedule_id: str,
    *,
    accept_shrunk_source: bool = False,
    if_match: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Run]:
    """Fire one run now, in the same window and budgets.

    `accept_shrunk_source` believes a source that has lost most of its pictures.
    """
    query = {"accept_shrunk_source": accept_shrunk_source}
    return RUN.ask(schedule_id, query=query, if_match=if_match, idempotency_key=idempotency_key)


def coming(schedule_id: str, *, page_size: int | None = None) -> Items[ComingRun]:
    """Yield the coming runs, without an end unless the cron expression has one; take as many as you need."""
    return each_of(NEXT, ComingRun, schedule_id, query={}, page_size=page_size)


def runs(schedule_id: str, *, page_size: int | None = None) -> Items[Run]:
    """Yield the runs, the newest first."""
    return each_of(RUNS, Run, schedule_id, query={}, page_size=page_size)


def wait(schedule_id: str, run_id: str, *, timeout_s: float = 3600.0) -> Flow[Run]:
    """Wait until a run has ended and has its report. Raises NotDoneError after `timeout_s`; it continues."""
    ends_at = time.monotonic() + timeout_s
    while True:
        found = yield from _find(schedule_id, run_id)
        if found.report_url is not None:
            return found
        if time.monotonic() >= ends_at:
            raise NotDoneError(f"the run {run_id} is {found.state} after {timeout_s:g} s; wait again")
        yield Sleep(max(0.0, min(LOOK_EVERY_S, ends_at - time.monotonic())))


def _find(schedule_id: str, run_id: str) -> Flow[Run]:
    """The run, among the latest. Raises ValueError for one that is not."""
    page = yield from RUNS.ask(schedule_id, query={"limit": LATEST})
    for n, item in enumerate(page.data):
        run: Run = read(Run, item, f"data[{n}]")
        if run.id == run_id:
            return run
    raise ValueError(f"{run_id} is none of the latest {LATEST} runs of the schedule {schedule_id}")


def download_report(
    schedule_id: str,
    run_id: str,
    to: str | Path,
    *,
    format: Literal["json", "html"] = "json",  # noqa: A002
) -> Flow[Path]:
    """Download the report of a run that has ended, for programs or for people."""
    link = yield from REPORT.ask(schedule_id, run_id, query={"format": format})
    return (yield from save(Request("GET", link), to, of="the bucket"))
