"""Jobs: one picture each."""

import json
import time
from pathlib import Path
from typing import Unpack

from cutout_client.calls.files import download as download_to
from cutout_client.calls.files import redirect
from cutout_client.calls.options import JobFilters, JobOptions, fields_of
from cutout_client.calls.paging import each_of
from cutout_client.decode import view
from cutout_client.errors import NotDoneError
from cutout_client.http_request import File, FormBody, Upload
from cutout_client.route import Route
from cutout_client.steps import Flow, Items, Sleep
from cutout_client.views.jobs import Deletion, Explanation, Job, Output, Result
from cutout_client.views.page import Page

LONGEST_LOOK_S = 30
# For an API that answers at once although it was asked to wait.
SHORTEST_REST_S = 0.5
LONGEST_OUTPUT_REST_S = 5.0

ENQUEUE = Route("POST", "/v1/jobs", view(Job))
LIST = Route("GET", "/v1/jobs", view(Page))
GET = Route("GET", "/v1/jobs/{job_id}", view(Job))
DELETE = Route("DELETE", "/v1/jobs/{job_id}", view(Deletion))
CANCEL = Route("POST", "/v1/jobs/{job_id}/cancel", view(Job))
RETRY = Route("POST", "/v1/jobs/{job_id}/retry", view(Job))
RELEASE = Route("POST", "/v1/jobs/{job_id}/release", view(Job))
ACCEPT = Route("POST", "/v1/jobs/{job_id}/accept", view(Job))
RETRY_OUTPUTS = Route("POST", "/v1/jobs/{job_id}/retry-outputs", view(Job))
EXPLANATION = Route("GET", "/v1/jobs/{job_id}/explanation", view(Explanation))
RESULT = redirect("/v1/jobs/{job_id}/result")
BOUGHT = redirect("/v1/jobs/{job_id}/bought")
OUTPUT = redirect("/v1/jobs/{job_id}/outputs/{name}")
UNEXPECTED = redirect("/v1/jobs/{job_id}/unexpected")


def enqueue(
    *,
    source_url: str | None = None,
    image: File | None = None,
    idempotency_key: str | None = None,
    **options: Unpack[JobOptions],
) -> Flow[Job]:
    """Enqueue one picture: its address, or the picture as bytes, an open file or a path.

    The request has an effect once, however often this client sends it. To send it again yourself, for
    example after a restart, pass the same `idempotency_key`, such as an order's number, within 24 hours.
    With `unique` `producer` JobExistsError names the job that has the external id.
    """
    fields = {name: value for name, value in fields_of(options).items() if value is not None}
    if (source_url is None) == (image is None):
        raise ValueError("give either `source_url` or `image`")
    if image is None:
        return (
            yield from ENQUEUE.ask(json=fields | {"source_url": source_url}, idempotency_key=idempotency_key)
        )
    if "metadata" in fields:
        fields["metadata"] = json.dumps(fields["metadata"])
    body = FormBody(fields, "image", Upload(image))
    return (yield from ENQUEUE.ask(body=body, idempotency_key=idempotency_key))


def get(job_id: str) -> Flow[Job]:
    """A job as it is now."""
    return GET.ask(job_id)


def listed(*, page_size: int | None = None, **filters: Unpack[JobFilters]) -> Items[Job]:
    """Yield your jobs, the newest first unless `order` is `oldest`."""
    return each_of(LIST, Job, query=filters, page_size=page_size)


def wait(job_id: str, *, timeout_s: float = 600.0, outputs: bool = True) -> Flow[Job]:
    """Wait until the job is final or held, and with `outputs` until each output is made or failed.

    Raises NotDoneError after `timeout_s`; the job and its outputs continue.
    """
    ends_at = time.monotonic() + timeout_s
    rest = SHORTEST_REST_S
    while True:
        began = time.monotonic()
        seconds = max(0, min(LONGEST_LOOK_S, int(ends_at - began)))
        job = yield from GET.ask(job_id, query={"wait": seconds}, wait_s=seconds)
        if not job.needs_nobody and (job.has_all_outputs or not outputs):
            return job
        if time.monotonic() >= ends_at:
            raise NotDoneError(_not_done(job, timeout_s))
        if job.needs_nobody:
            pause = SHORTEST_REST_S - (time.monotonic() - began)
        else:
            # The API answers at once for a job that is final.
            pause = min(job.poll_after_seconds or rest, LONGEST_OUTPUT_REST_S)
            rest = min(2 * rest, LONGEST_OUTPUT_REST_S)
        yield Sleep(max(0.0, min(pause, ends_at - time.monotonic())))


def cancel(job_id: str, *, if_match: str | None = None, idempotency_key: str | None = None) -> Flow[Job]:
    """Withdraw a job that has not ended. What is paid for is still copied, and ends as succeeded."""
    return CANCEL.ask(job_id, if_match=if_match, idempotency_key=idempotency_key)


def retry(job_id: str, *, if_match: str | None = None, idempotency_key: str | None = None) -> Flow[Job]:
    """Queue a job that failed or is held again; called again it costs again."""
    return RETRY.ask(job_id, if_match=if_match, idempotency_key=idempotency_key)


def release(job_id: str, *, if_match: str | None = None, idempotency_key: str | None = None) -> Flow[Job]:
    """Queue a job that is held again; called again it costs again."""
    return RELEASE.ask(job_id, if_match=if_match, idempotency_key=idempotency_key)


def accept(job_id: str, *, if_match: str | None = None, idempotency_key: str | None = None) -> Flow[Job]:
    """Make the unexpected picture of a held job its cutout, for no credit; look at it first."""
    return ACCEPT.ask(job_id, if_match=if_match, idempotency_key=idempotency_key)


def retry_outputs(
    job_id: str, *, if_match: str | None = None, idempotency_key: str | None = None
) -> Flow[Job]:
    """Make the outputs of a job that failed again, for no credit."""
    return RETRY_OUTPUTS.ask(job_id, if_match=if_match, idempotency_key=idempotency_key)


def delete(job_id: str, *, objects: bool = False, if_match: str | None = None) -> Flow[Deletion]:
    """Delete a job that has ended, with `objects` its pictures too unless another job of yours has them.

    Raises MissingError for a job that is deleted, also if an earlier try of this call did it.
    """
    return DELETE.ask(job_id, query={"objects": objects}, if_match=if_match)


def explanation(job_id: str) -> Flow[Explanation]:
    """Why a job is not done yet or what became of it, and likewise its outputs."""
    return EXPLANATION.ask(job_id)


def download(job_id: str, to: str | Path, *, output: str | None = None) -> Flow[Path]:
    """Download a job's picture and check its hash. The file is whole or not there.

    `output` is the name of one of its outputs; without it, the picture in its form and final size. Raises
    OutputWaitingError while that is still to be made, OutputFailedError if it cannot be.
    """
    job = yield from GET.ask(job_id)
    found: Result | Output | None = job.result
    if output is not None and output != job.return_form:
        found = next((each for each in job.outputs if each.name == output), None)
    sha256 = found.sha256 or "" if found else ""
    if output is None:
        return (yield from download_to(RESULT, job_id, to=to, sha256=sha256))
    return (yield from download_to(OUTPUT, job_id, output, to=to, sha256=sha256))


def download_bought(job_id: str, to: str | Path) -> Flow[Path]:
    """Download what was bought, of which the outputs are made, and check its hash."""
    job = yield from GET.ask(job_id)
    return (yield from download_to(BOUGHT, job_id, to=to, sha256=job.bought.sha256 if job.bought else ""))


def download_unexpected(job_id: str, to: str | Path) -> Flow[Path]:
    """Download the bytes that came unexpectedly for a paid call."""
    return download_to(UNEXPECTED, job_id, to=to)


def _not_done(job: Job, timeout_s: float) -> str:
    waiting = [output.name for output in job.outputs if not output.is_final]
    outputs = f" with outputs to make ({', '.join(waiting)})" if waiting else ""
    return f"the job {job.id} is {job.state}{outputs} after {timeout_s:g} s; wait again"
