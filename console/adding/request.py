"""Requests of batches by a form: one batch a form, however often it is sent."""

import hashlib
import uuid
from dataclasses import dataclass
from http import HTTPStatus

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from console.faults import PageError
from cutout.actions import Asked
from cutout.actions.adding import add_source
from cutout.enums import Priority
from cutout.ingest import IngestOptions
from cutout.producers.ceilings import AboveCeilingError, ceilings_of
from cutout.producers.idempotency import KeptAnswer, find_answer, keep_answer, lock_key
from cutout.producers.quotas import take_quota


@dataclass(frozen=True, slots=True)
class Requested:
    """The batch of a form; `again`: it was made by an earlier sending of the same form."""

    batch_id: uuid.UUID
    again: bool = False


def find_sent(connection: Connection, producer_id: uuid.UUID, token: uuid.UUID) -> Requested | None:
    """The batch that was made of the form with this token; None if it was not sent before."""
    with Session(connection, join_transaction_mode="rollback_only") as session:
        kept = find_answer(session, producer_id, _key(token))
    return None if kept is None else Requested(uuid.UUID(bytes=kept.body), again=True)


def request_batch(
    connection: Connection,
    asked: Asked,
    order: IngestOptions,
    token: uuid.UUID,
    *,
    source: str,
    manifest_key: str | None,
) -> Requested:
    """Request the batch, in the caller's transaction, or find the one that the form made before.

    Raises PageError, 409, while the same form is carried out, or 422 above a ceiling, RightMissingError, and
    QuotaReachedError.
    """
    producer_id = order.producer_id
    if producer_id is None:
        raise LookupError("a form's batch belongs to a producer")
    with Session(connection, join_transaction_mode="rollback_only") as session:
        if not lock_key(session, producer_id, _key(token)):
            raise PageError(
                HTTPStatus.CONFLICT, "This form is being carried out.", "Look at “Batches” in a moment."
            )
        if before := find_sent(connection, producer_id, token):
            return before
        _require_within(session, order)
        # The number of its jobs is not known yet: there must be room for one.
        take_quota(session, producer_id, 1)
        batch_id = add_source(session, asked, source, order, manifest_key=manifest_key)
        digest = hashlib.sha256(token.bytes).digest()
        kept = KeptAnswer(digest, HTTPStatus.SEE_OTHER, None, None, batch_id.bytes)
        keep_answer(session, producer_id, _key(token), kept)
        session.flush()
    return Requested(batch_id)


def _require_within(session: Session, order: IngestOptions) -> None:
    ceilings = ceilings_of(session, order.producer_id)
    try:
        ceilings.require_priority(Priority(order.priority))
        ceilings.require_weight(order.weight)
    except AboveCeilingError as error:
        raise PageError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{str(error).capitalize()}.") from None


def _key(token: uuid.UUID) -> str:
    return f"console {token}"
