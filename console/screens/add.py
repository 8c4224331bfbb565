"""Add work: a form for a manifest, a zip, pictures or an address; its batch waits for approval."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus

from anyio import from_thread, to_thread
from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection
from starlette.requests import ClientDisconnect

from console.adding.form import EMPTY, FormFault, ShownForm, options_of, producers_for, window_of
from console.adding.request import Requested, find_sent, request_batch
from console.adding.sent_form import Fields, SentForm
from console.adding.sources import name_for, require_address, sent_pieces
from console.console import Console, console_of
from console.faults import PageError, SignedOutError
from console.handed import OptionError
from console.pages import answer_headers, frame, viewer_of
from console.screens.router import screen_router
from console.viewer import Right, Viewer
from cutout.ingest import IngestError, IngestOptions
from cutout.ingest.uploads import UPLOADED, UploadError, keep_pieces
from cutout.models.database import is_away
from cutout.producers.quotas import QuotaReachedError, count_anew
from cutout.storage import StorageError
from cutout.telemetry import logs

router = screen_router()

ADDRESS = "/console/add"
NOTHING_STORED = "Nothing was stored."
CLIENT_LEFT = 499


@dataclass(frozen=True, slots=True)
class Order:
    """A form that can be carried out; `sent` is what an earlier sending of it made."""

    fields: Fields
    options: IngestOptions
    token: uuid.UUID
    url: str
    sent: Requested | None = None


class _FaultyFormError(Exception):
    """A form that is to be shown again with its fault."""

    def __init__(self, fields: Fields, fault: FormFault) -> None:
        super().__init__(fault.text)
        self.fields, self.fault = fields, fault


@router.get(ADDRESS)
async def show(request: Request) -> Response:
    """The empty form."""
    viewer_of(request).require(Right.OPERATE)
    return await _page(request, EMPTY)


@router.post(ADDRESS)
async def add(request: Request) -> Response:
    """Store what comes, request the batch, and go to its page; a form sent again leads to the same batch."""
    console, viewer = console_of(request), viewer_of(request)
    viewer.require(Right.OPERATE)
    work = _Sending(request, console, viewer)
    try:
        made = await work.carry_out()
    except _FaultyFormError as error:
        return await _page(request, error.fields, error.fault)
    except ClientDisconnect:
        return Response(status_code=CLIENT_LEFT)
    logs.note(batch_id=str(made.batch_id))
    again = "?sent=again" if made.again else ""
    return RedirectResponse(f"/console/batches/{made.batch_id}{again}", status_code=HTTPStatus.SEE_OTHER)


class _Sending:
    """One sending of the form."""

    def __init__(self, request: Request, console: Console, viewer: Viewer) -> None:
        self._request, self._console, self._viewer = request, console, viewer

    async def carry_out(self) -> Requested:
        """The batch of the form. After _FaultyFormError, PageError or ClientDisconnect nothing is left."""
        handed = self._console.handed
        order, key = await handed.upload(self._request, self._viewer.producer_id, self._receive)
        if order.sent is not None:
            return order.sent
        try:
            made = await self._request_batch(order, key)
        except Exception as error:
            # Where Postgres went away the batch may be there, and would have nothing to be read from.
            if not (isinstance(error.__cause__, Exception) and is_away(error.__cause__)):
                await self._drop(key)
            raise
        if made.again:
            await self._drop(key)
        return made

    def _receive(self, pieces: Iterator[bytes]) -> tuple[Order, str | None]:
        """Read the form and store its files; to be called in a thread."""
        form = SentForm(self._request.headers.get("content-type", ""), pieces)
        fields = form.fields()
        order = from_thread.run(self._understand, fields, form.first_name)
        if order.sent is not None:
            return order, None
        handed = self._console.handed
        with _told(fields):
            stored = sent_pieces(form)
            if order.url:
                if next(stored, b""):
                    raise _FaultyFormError(fields, FormFault("There are a file and an address.", "Send one."))
                return order, None
            most = handed.settings.max_archive_bytes
            return order, keep_pieces(handed.bucket, stored, max_archive_bytes=most)

    async def _understand(self, fields: Fields, first_file: str | None) -> Order:
        """Look at everything that can be wrong before the files come."""
        token, producer_id = _token(fields), await self._producer(fields)
        sent = await self._console.pool.read(
            lambda connection: find_sent(connection, producer_id, token), of=self._viewer.producer_id
        )
        url = "".join(fields.get("url", [])).strip()
        if sent is None:
            self._require_source(fields, url, first_file)
        given = options_of(fields)
        given.setdefault("name", [name_for(first_file, url)])
        try:
            options = self._console.handed.read_options(given, producer_id)
            options = replace(options, window=window_of(fields))
        except OptionError as error:
            raise _FaultyFormError(fields, FormFault(str(error), field=error.field)) from None
        if url.startswith("s3://"):
            options = replace(options, reading=replace(options.reading, foreign=False))
        return Order(fields, options, token, url, sent)

    def _require_source(self, fields: Fields, url: str, first_file: str | None) -> None:
        if not url:
            if first_file is None:
                text = "There is nothing to read."
                raise _FaultyFormError(fields, FormFault(text, "Choose files, or name an address.", "files"))
            return
        if first_file is not None:
            raise _FaultyFormError(fields, FormFault("There are a file and an address.", "Send one.", "url"))
        try:
            require_address(url, self._console.handed.settings, may_be_prefix=self._viewer.is_operator)
        except (ValueError, IngestError) as error:
            raise _FaultyFormError(fields, FormFault(f"The address {error}.", field="url")) from None

    async def _producer(self, fields: Fields) -> uuid.UUID:
        if self._viewer.producer_id is not None:
            return self._viewer.producer_id
        chosen = "".join(fields.get("producer", []))
        known = await self._console.pool.read(lambda c: producers_for(c, self._viewer), of=None)
        for producer_id, _ in known:
            if str(producer_id) == chosen:
                return producer_id
        fault = FormFault("There is no such producer.", "Choose one of the list.", "producer")
        raise _FaultyFormError(fields, fault)

    async def _request_batch(self, order: Order, key: str | None) -> Requested:
        # The session may have ended while the files came.
        viewer = await self._console.viewer(self._request)
        if viewer is None:
            raise SignedOutError
        viewer.require(Right.OPERATE)
        options, source = order.options, order.url or UPLOADED

        def work(connection: Connection) -> Requested:
            return request_batch(
                connection, viewer.asked(), options, order.token, source=source, manifest_key=key
            )

        try:
            return await self._console.pool.change(work, of=self._viewer.producer_id)
        except QuotaReachedError as error:
            owner = error.producer_id
            await self._console.pool.change(lambda c: count_anew(c, owner), of=self._viewer.producer_id)
            fault = FormFault(f"There is no room: {error}.", "Wait until other jobs have ended.")
            raise _FaultyFormError(order.fields, fault) from None

    async def _drop(self, key: str | None) -> None:
        if key is not None:
            await to_thread.run_sync(self._console.handed.bucket.delete, key)


@contextmanager
def _told(fields: Fields) -> Iterator[None]:
    """Turn errors of an upload into the form with its fault, or into a page."""
    try:
        yield
    except (UploadError, IngestError) as error:
        text = f"{str(error)[:1].upper()}{str(error)[1:]}."
        raise _FaultyFormError(fields, FormFault(text, NOTHING_STORED, "files")) from None
    except PageError as error:
        if error.status is not HTTPStatus.UNPROCESSABLE_ENTITY:
            raise
        raise _FaultyFormError(fields, FormFault(error.text, error.remedy, "files")) from None
    except StorageError as error:
        text = "The bucket takes nothing at present."
        raise PageError(HTTPStatus.SERVICE_UNAVAILABLE, text, NOTHING_STORED) from error


def _token(fields: Fields) -> uuid.UUID:
    try:
        return uuid.UUID("".join(fields.get("token", [])))
    except ValueError:
        raise PageError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "This form is not complete.", "Load the page again."
        ) from None


async def _page(request: Request, given: Fields, fault: FormFault | None = None) -> Response:
    console, viewer = console_of(request), viewer_of(request)
    producers = await console.pool.read(lambda c: producers_for(c, viewer), of=viewer.producer_id)
    settings = console.handed.settings
    values = {
        **frame(request),
        "title": "Add work",
        "form": ShownForm(given, producers, fault),
        "most_bytes": settings.max_archive_bytes,
        "most_manifest_bytes": settings.max_manifest_bytes,
        "may_approve": viewer.may(Right.SPEND),
        "base_url": str(request.base_url).rstrip("/"),
    }
    page = console.templates.page("add.html", values)
    status = HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK
    # A form is used once: its token is of one batch.
    headers = {**answer_headers(console), "Cache-Control": "no-store"}
    return Response(page, status_code=status, media_type="text/html", headers=headers)
