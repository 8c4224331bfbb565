"""Progress of reading a manifest, as its producer sees it."""

import uuid
from dataclasses import asdict

from pydantic import BaseModel

from cutout.billing.totals import DOLLARS_A_CREDIT
from cutout.status.batch_status import IngestState, IngestStatus
from cutout.status.producer_texts import text_for_producer


class PlanView(BaseModel):
    """The price of a batch: `calls` cost a credit each, if the batch is approved.

    About `missing` of those `already_bought` are not in the bucket any more, and cost a credit more if they
    are bought anew. At most so many `outputs` are made of them, for no credit: they take about
    `output_cpu_seconds` of a core, and `output_bytes` in the bucket.
    """

    already_bought: int
    same_picture: int
    calls: int
    dollars: float
    missing: int = 0
    outputs: int = 0
    output_cpu_seconds: int = 0
    output_bytes: int = 0


class SkippedView(BaseModel):
    """Files that are not taken for one reason, with the first names."""

    reason: str
    count: int
    names: list[str]


class IngestView(BaseModel):
    """Progress of reading a batch's manifest: pictures = jobs + rejects + duplicates.

    `skipped` are files of a zip that are not taken; `remarks` are sentences for people. `error` says why it
    ended before all was read, and `code` the same for programs, if it has one: SOURCE_KILLS_INGESTER,
    TOO_MANY_REJECTS. While it rests for want of room, `code` is QUOTA_REACHED or ARCHIVE_ROOM_TAKEN and
    `message` says so; it continues by itself. `plan` is there once all is read, if approval is needed.
    """

    state: IngestState
    kind: str
    records: int
    pictures: int
    jobs: int
    rejects: int
    duplicates: int
    skipped: list[SkippedView]
    remarks: list[str]
    rejects_url: str | None
    code: str | None
    message: str | None
    error: str | None
    plan: PlanView | None


def view_ingest(batch_id: uuid.UUID, ingest: IngestStatus) -> IngestView:
    """Make the view of this batch's ingest."""
    plan = ingest.plan
    return IngestView(
        state=ingest.state,
        kind=ingest.kind,
        **asdict(ingest.counts),
        skipped=[SkippedView(**found) for found in ingest.skipped],
        remarks=[text_for_producer(remark) for remark in ingest.remarks],
        rejects_url=f"/v1/batches/{batch_id}/rejects" if ingest.rejects_key else None,
        code=ingest.code,
        message=ingest.message,
        error=text_for_producer(ingest.error) if ingest.error else None,
        plan=PlanView(**plan, dollars=round(plan["calls"] * DOLLARS_A_CREDIT, 3)) if plan else None,
    )
