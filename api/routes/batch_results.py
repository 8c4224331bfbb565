"""The results of a batch, as a file."""

import uuid
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from sqlalchemy.orm import Session

from api.dependencies import ProducerId, ServicesDep
from api.media_types import require_accepted
from api.openapi import problems
from api.problems import ProblemError
from api.router import v1_router
from api.routes.jobs import require_own_batch
from api.schemas import Code
from api.services import Services
from api.streaming import PatientStream, in_turns
from cutout.enums import State
from cutout.results import (
    CutoutLinks,
    Format,
    KeptManifest,
    NoManifestError,
    ResultsFile,
    Selection,
    find_manifest,
)
from cutout.results.formats import MEDIA_TYPES
from cutout.results.results_file import ANY_TYPE

router = v1_router("/v1/batches", "batches")

MOST_FILTERS = 20
FORMATS = {media_type.partition(";")[0]: form for form, media_type in MEDIA_TYPES.items()}
FILE: dict[str, Any] = {
    "description": "The file, written while it is read",
    "content": {
        media_type: {"schema": {"type": "string"}} for media_type in (*MEDIA_TYPES.values(), ANY_TYPE)
    },
}


async def _download_place(services: ServicesDep, producer_id: ProducerId) -> AsyncIterator[None]:
    """A place for a file until its last byte is sent."""
    with services.downloads.held(producer_id):
        yield


# scope="request": over when the answer has been sent, or could not be.
DownloadPlace = Annotated[None, Depends(_download_place, scope="request")]


@router.get(
    "/{batch_id}/results",
    response_class=PatientStream,
    responses={200: FILE},
    openapi_extra=problems("no-manifest"),
)
async def get_results(
    batch_id: uuid.UUID,
    request: Request,
    services: ServicesDep,
    producer_id: ProducerId,
    _place: DownloadPlace,
    *,
    form: Annotated[
        Format | None,
        Query(
            alias="format",
            description="CSV, or a JSON object a line; without it the header `Accept` says which, CSV first",
        ),
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
    links: Annotated[bool, Query(description="Add links to the pictures, good for a day")] = False,
    image_column: Annotated[
        str | None,
        Query(
            pattern=r"^[A-Za-z0-9-]{1,40}$",
            description="With as_input and links: links to this rendition or form replace the pictures'"
            " addresses",
            examples=["amazon"],
        ),
    ] = None,
) -> PatientStream:
    """The result of each job of a batch so far, in the order in which they were enqueued."""
    if as_input and (form or state or code):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            "as_input gives the whole manifest in its own format; leave format, state and code out",
            field="as_input",
        )
    if image_column is not None and not (as_input and links):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            "image_column needs as_input=true and links=true",
            field="image_column",
        )
    kept = await services.threads.run(producer_id, _check, services, batch_id, producer_id, as_input)
    if form is None and not as_input:
        form = FORMATS[require_accepted(request, tuple(FORMATS))]
    maker = await services.threads.run(producer_id, CutoutLinks, services.bucket) if links else None
    asked = ResultsFile(
        Selection(batch_id, tuple(state or ()), tuple(code or ())),
        form or Format.CSV,
        maker,
        kept,
        image_column,
    )
    file_name = f"results-{batch_id}" + ("" if kept else f".{asked.form}")
    pieces = asked.pieces(services.engine, services.bucket)
    return PatientStream(
        in_turns(pieces, services.download_threads, producer_id),
        media_type=asked.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{file_name}"',
            "Cache-Control": "no-store",
            "Vary": "Accept",
        },
    )


def _check(
    services: Services,
    batch_id: uuid.UUID,
    producer_id: uuid.UUID,
    as_input: bool,  # noqa: FBT001 - it is passed on by position
) -> KeptManifest | None:
    with Session(services.engine) as session:
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
