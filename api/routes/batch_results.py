"""What became of a batch, as a file."""

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session

from api.access import AtHand, ProducerId
from api.openapi import problems
from api.patient_stream import PatientStream
from api.problems import ProblemError
from api.router import v1_router
from api.routes.jobs import require_own_batch
from api.schemas import Code
from api.services import Services
from jobs.results_manifest import (
    CutoutLinks,
    Format,
    Kept,
    NoManifestError,
    Selection,
    find_manifest,
    open_results,
    write_as_input,
    write_results,
)
from jobs.results_manifest.formats import MEDIA_TYPES
from jobs.states import State

router = v1_router("/v1/batches", "batches")

MOST_FILTERS = 20
ANY_TYPE = "application/octet-stream"
FILE: dict[str, Any] = {
    "description": "The file, written while it is read",
    "content": {
        media_type: {"schema": {"type": "string"}} for media_type in (*MEDIA_TYPES.values(), ANY_TYPE)
    },
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which file is wanted; `kept` is the manifest that it is to look like."""

    selection: Selection
    form: Format
    links: CutoutLinks | None
    kept: Kept | None

    @property
    def file_name(self) -> str:
        return f"results-{self.selection.batch_id}" + ("" if self.kept else f".{self.form}")

    def pieces(self, at_hand: Services) -> Iterator[bytes]:
        """The file. Between two pieces no connection is held, however slowly they are read."""
        with ExitStack() as stack:
            if self.kept is None:
                found = stack.enter_context(open_results(at_hand.engine, self.selection))
                yield from write_results(found, self.form, self.links)
            else:
                yield from write_as_input(at_hand.engine, at_hand.bucket, self.kept, self.links, Counter())


@router.get(
    "/{batch_id}/results",
    response_class=PatientStream,
    responses={200: FILE},
    openapi_extra=problems("no-manifest"),
)
async def get_results(
    batch_id: uuid.UUID,
    at_hand: AtHand,
    producer_id: ProducerId,
    *,
    form: Annotated[
        Format | None, Query(alias="format", description="CSV (the default), or a JSON object a line")
    ] = None,
    state: Annotated[
        list[State] | None, Query(max_length=MOST_FILTERS, description="Only jobs in these states")
    ] = None,
    code: Annotated[
        list[Code] | None, Query(max_length=MOST_FILTERS, description="Only jobs with these error codes")
    ] = None,
    as_input: Annotated[
        bool, Query(description="The manifest that went in, in its own format, with columns cutout_… added")
    ] = False,
    links: Annotated[bool, Query(description="Add links to the cutouts, good for a day")] = False,
) -> PatientStream:
    """What became of each job of a batch, in the order enqueued, as far as it is now."""
    if as_input and (form or state or code):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            "as_input gives the whole manifest in its own format; leave format, state and code out",
            field="as_input",
        )
    kept = await run_in_threadpool(_check, at_hand, batch_id, producer_id, as_input)
    maker = await run_in_threadpool(CutoutLinks, at_hand.bucket) if links else None
    asked = _Asked(
        Selection(batch_id, tuple(state or ()), tuple(code or ())), form or Format.CSV, maker, kept
    )
    return PatientStream(
        asked.pieces(at_hand),
        media_type=ANY_TYPE if kept else MEDIA_TYPES[asked.form],
        headers={
            "Content-Disposition": f'attachment; filename="{asked.file_name}"',
            "Cache-Control": "no-store",
        },
    )


def _check(at_hand: Services, batch_id: uuid.UUID, producer_id: uuid.UUID, as_input: bool) -> Kept | None:  # noqa: FBT001 - run_in_threadpool passes it on by place
    with Session(at_hand.engine) as session:
        require_own_batch(session, batch_id, producer_id)
        try:
            return find_manifest(session, batch_id) if as_input else None
        except NoManifestError:
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "no-manifest",
                f"the batch {batch_id} has no manifest, or it is still being read; leave as_input out",
                field="as_input",
            ) from None
