"""Batches: many pictures together, as a list or as a manifest."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import httpx

from cutout_client.calls.files import download as download_to
from cutout_client.calls.files import file_route, redirect, save_body
from cutout_client.calls.options import (
    BatchChanges,
    BatchFilters,
    FetchedManifestOptions,
    ListOptions,
    ManifestOptions,
    fields_of,
)
from cutout_client.calls.paging import each_of
from cutout_client.decode import view
from cutout_client.errors import BrokenAnswerError, BrokenDownloadError, NotDoneError
from cutout_client.http_request import File, FileBody, Progress, Upload
from cutout_client.route import Route
from cutout_client.steps import Answer, Flow, Item, Items, Read, Send, Sleep
from cutout_client.views.batches import Action, Batch, BatchSummary
from cutout_client.views.page import Page

LONGEST_LOOK_S = 30
SHORTEST_REST_S = 0.5
LONGEST_REST_S = 5.0
LONGEST_LINE = 8 * 1024 * 1024
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".xml": "application/xml",
    ".zip": "application/zip",
}
ANY_TYPE = "application/octet-stream"

CREATE = Route("POST", "/v1/batches", view(Batch))
LIST = Route("GET", "/v1/batches", view(Page))
GET = Route("GET", "/v1/batches/{batch_id}", view(Batch))
PATCH = Route("PATCH", "/v1/batches/{batch_id}", view(Batch))
DELETE = Route("DELETE", "/v1/batches/{batch_id}", view(Batch))
CANCEL = Route("POST", "/v1/batches/{batch_id}/cancel", view(Batch))
RETRY = Route("POST", "/v1/batches/{batch_id}/retry", view(Batch))
PAUSE = Route("POST", "/v1/batches/{batch_id}/pause", view(Batch))
RESUME = Route("POST", "/v1/batches/{batch_id}/resume", view(Batch))
APPROVE = Route("POST", "/v1/batches/{batch_id}/approve", view(Batch))
ADD_OUTPUTS = Route("POST", "/v1/batches/{batch_id}/outputs", view(Batch))
RETRY_OUTPUTS = Route("POST", "/v1/batches/{batch_id}/retry-outputs", view(Batch))
ACTIONS = Route("GET", "/v1/batches/{batch_id}/actions", view(Page))
RESULTS = file_route("/v1/batches/{batch_id}/results")
REJECTS = redirect("/v1/batches/{batch_id}/rejects")


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job for a new batch. Without a return form it has the batch's."""

    external_id: str
    source_url: str
    return_form: str | None = None


def create(
    name: str,
    jobs: Iterable[NewJob] = (),
    *,
    idempotency_key: str | None = None,
    **options: Unpack[ListOptions],
) -> Flow[Batch]:
    """Enqueue a list of pictures, all or none; or make an empty batch for jobs with its `batch_id`."""
    asked = fields_of(options) | {"name": name, "jobs": [_job_fields(job) for job in jobs]}
    return (yield from CREATE.ask(json=asked, idempotency_key=idempotency_key))


def create_from_url(
    name: str,
    manifest_url: str,
    *,
    idempotency_key: str | None = None,
    **options: Unpack[FetchedManifestOptions],
) -> Flow[Batch]:
    """Enqueue the pictures of a manifest at an https address; it is read after the answer, see `ingest`."""
    asked = fields_of(options) | {"name": name, "manifest_url": manifest_url}
    return (yield from CREATE.ask(json=asked, idempotency_key=idempotency_key))


def create_from_file(
    name: str,
    manifest: File,
    *,
    media_type: str | None = None,
    progress: Progress | None = None,
    idempotency_key: str | None = None,
    **options: Unpack[ManifestOptions],
) -> Flow[Batch]:
    """Upload a manifest of any size, such as a CSV or a zip of pictures; it is read after the answer.

    The manifest is a path, bytes or an open file, and sent while it is read. Without `media_type` its name
    says what it is. `progress` is called with the bytes sent so far and all bytes; an upload that is sent
    again begins anew.
    """
    query: dict[str, Any] = fields_of(options) | {"name": name}
    if "map" in query:
        query["map"] = _map_text(query["map"])
    if "metadata" in query:
        query["metadata"] = json.dumps(query["metadata"])
    body = FileBody(Upload(manifest, progress), media_type or _media_type(manifest))
    return (yield from CREATE.ask(query=query, body=body, idempotency_key=idempotency_key))


def get(batch_id: str) -> Flow[Batch]:
    """A batch as it is now."""
    return GET.ask(batch_id)


def listed(*, page_size: int | None = None, **filters: Unpack[BatchFilters]) -> Items[BatchSummary]:
    """Yield your batches without their counts, the newest first unless `order` is `oldest`."""
    return each_of(LIST, BatchSummary, query=filters, page_size=page_size)


def wait(
    batch_id: str, *, timeout_s: float = 3600.0, outputs: bool = True, held: bool = False
) -> Flow[Batch]:
    """Wait until the batch is finished, and with `outputs` until its outputs and scores are made or failed.

    With `held`, wait only until it does not continue by itself: jobs that are left wait for a person, such
    as those of a plan for `approve`. An empty batch is not waited for. Raises NotDoneError after
    `timeout_s`; the batch continues.
    """
    ends_at = time.monotonic() + timeout_s
    rest = SHORTEST_REST_S
    while True:
        began = time.monotonic()
        seconds = max(0, min(LONGEST_LOOK_S, int(ends_at - began)))
        batch = yield from GET.ask(batch_id, query={"wait": seconds}, wait_s=seconds)
        over = batch.is_finished or held or batch.total == 0
        if over and not batch.needs_nobody and (batch.has_all_outputs or not outputs):
            return batch
        if time.monotonic() >= ends_at:
            raise NotDoneError(_not_done(batch, timeout_s))
        # The API answers at once while a manifest is read, and for a batch whose jobs are final or held.
        at_once = time.monotonic() - began < SHORTEST_REST_S
        pause = min(batch.poll_after_seconds or rest, LONGEST_REST_S) if at_once else SHORTEST_REST_S
        rest = min(2 * rest, LONGEST_REST_S) if at_once else SHORTEST_REST_S
        yield Sleep(max(0.0, min(pause, ends_at - time.monotonic())))


def patch(batch_id: str, *, if_match: str | None = None, **changes: Unpack[BatchChanges]) -> Flow[Batch]:
    """Change a batch. With `if_match`, its `etag`, raises ChangedMeanwhileError if another was faster."""
    return PATCH.ask(batch_id, json=changes, if_match=if_match)


def delete(batch_id: str, *, objects: bool = False, if_match: str | None = None) -> Flow[Batch]:
    """Delete a batch whose jobs have ended, with its jobs, manifest, results and messages.

    It goes on by itself: the batch is `deleting`, then not found. With `objects` its pictures are deleted too
    unless another job of yours has them. Raises MissingError once it is deleted, also if an earlier try of
    this call did it.
    """
    return DELETE.ask(batch_id, query={"objects": objects}, if_match=if_match)


def approve(batch_id: str, *, if_match: str | None = None, idempotency_key: str | None = None) -> Flow[Batch]:
    """Let the jobs of a batch with a plan go, at the price that its plan says."""
    return APPROVE.ask(batch_id, if_match=if_match, idempotency_key=idempotency_key)


def cancel(batch_id: str, *, if_match: str | None = None, idempotency_key: str | None = None) -> Flow[Batch]:
    """Withdraw all jobs of a batch that have not ended; what is paid for is still copied.

    No call of it begins from the answer on. Its jobs are withdrawn by and by: wait for it.
    """
    return CANCEL.ask(batch_id, if_match=if_match, idempotency_key=idempotency_key)


def retry(batch_id: str, *, if_match: str | None = None, idempotency_key: str | None = None) -> Flow[Batch]:
    """Queue all jobs of a batch that failed or are held again; called again they cost again."""
    return RETRY.ask(batch_id, if_match=if_match, idempotency_key=idempotency_key)


def pause(batch_id: str, *, if_match: str | None = None, idempotency_key: str | None = None) -> Flow[Batch]:
    """Let no further call of a batch go out. What is out is finished and copied."""
    return PAUSE.ask(batch_id, if_match=if_match, idempotency_key=idempotency_key)


def resume(batch_id: str, *, if_match: str | None = None, idempotency_key: str | None = None) -> Flow[Batch]:
    """Let the calls of a batch go out again."""
    return RESUME.ask(batch_id, if_match=if_match, idempotency_key=idempotency_key)


def add_outputs(
    batch_id: str,
    outputs: str | Sequence[str],
    *,
    file_name: str | None = None,
    if_match: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Batch]:
    """Let each cutout of a batch have these renditions too, for no credit. Safe to repeat.

    Jobs that have not succeeded yet get them when they do. Raises InvalidError for a recipe that is none,
    and for a name that the batch has by another recipe.
    """
    asked = fields_of({"outputs": outputs} | ({} if file_name is None else {"file_name": file_name}))
    return ADD_OUTPUTS.ask(batch_id, json=asked, if_match=if_match, idempotency_key=idempotency_key)


def retry_outputs(
    batch_id: str, *, if_match: str | None = None, idempotency_key: str | None = None
) -> Flow[Batch]:
    """Make the outputs of a batch that failed again, for no credit."""
    return RETRY_OUTPUTS.ask(batch_id, if_match=if_match, idempotency_key=idempotency_key)


def actions(batch_id: str, *, page_size: int | None = None) -> Items[Action]:
    """Yield the changes of a batch as a whole that were asked for, and how far each has come."""
    return each_of(ACTIONS, Action, batch_id, query={}, page_size=page_size)


def results(
    batch_id: str,
    *,
    state: str | Sequence[str] | None = None,
    code: str | Sequence[str] | None = None,
    links: bool = False,
) -> Items[dict[str, Any]]:
    """Yield the result of each job of a batch, in the order enqueued, while the answer is read.

    `links` adds links to the pictures, good for a day. Raises BrokenDownloadError if it breaks off.
    """
    query = {"format": "ndjson", "state": state, "code": code, "links": links}
    answer: Answer = yield Send(RESULTS.request(batch_id, query=query), streamed=True)
    RESULTS.read(answer)
    rest = b""
    while piece := (yield from _piece(answer)):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield Item(_row(line))
        if len(rest) > LONGEST_LINE:
            raise BrokenAnswerError(f"a result has more than {LONGEST_LINE} bytes")
    if rest:
        yield Item(_row(rest))


def download_results(
    batch_id: str,
    to: str | Path,
    *,
    format: str | None = None,  # noqa: A002 - the API's word
    state: str | Sequence[str] | None = None,
    code: str | Sequence[str] | None = None,
    as_input: bool = False,
    links: bool = False,
    image_column: str | None = None,
) -> Flow[Path]:
    """Download the results as a file: `csv` or `ndjson`, or with `as_input` the manifest with columns added.

    `image_column`: links to this rendition replace the pictures' addresses. The file is whole or not there.
    """
    query: dict[str, Any] = {"format": format, "state": state, "code": code, "as_input": as_input}
    return save_body(RESULTS, batch_id, query=query | {"links": links, "image_column": image_column}, to=to)


def download_rejects(batch_id: str, to: str | Path) -> Flow[Path]:
    """Download the rows of the manifest that no job could be made of (CSV). Raises ConflictError for none."""
    return download_to(REJECTS, batch_id, to=to)


def _piece(answer: Answer) -> Flow[bytes]:
    try:
        piece: bytes = yield Read(answer)
    except httpx.TransportError as error:
        raise BrokenDownloadError(
            f"the results broke off: {type(error).__name__}; read them again from the start"
        ) from error
    return piece


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise BrokenAnswerError(f"a result of {len(line)} bytes is no JSON object")
    return row


def _job_fields(job: NewJob) -> dict[str, Any]:
    asked = {"external_id": job.external_id, "source_url": job.source_url}
    return asked | ({"return_form": job.return_form} if job.return_form else {})


def _map_text(columns: Mapping[str, str]) -> str:
    """The map as a query has it: external_id=SKU,source="Image URL"."""
    quoted = {name: column.replace('"', '""') for name, column in columns.items()}
    return ",".join(f'{name}="{column}"' for name, column in quoted.items())


def _media_type(manifest: File) -> str:
    name = manifest if isinstance(manifest, str | Path) else getattr(manifest, "name", "")
    return MEDIA_TYPES.get(Path(name).suffix.lower(), ANY_TYPE) if isinstance(name, str | Path) else ANY_TYPE


def _not_done(batch: Batch, timeout_s: float) -> str:
    left = ", ".join(f"{count} {state}" for state, count in batch.counts.items() if count)
    waiting = batch.outputs.waiting + batch.scores.waiting
    outputs = f", {waiting} outputs and scores to make" if waiting else ""
    return f"the batch {batch.id} has {left or 'no jobs'}{outputs} after {timeout_s:g} s; wait again"
