"""The core that all processes share. A producer that shares the database enqueues in its own transaction:

import cutout

with Session() as session, session.begin():
    product = save_product(session, ...)
    job = cutout.enqueue(session, source=product.image_url, external_id=product.sku)
"""

import uuid
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from cutout.models import Job


def enqueue(
    session: "Session",
    *,
    source: str,
    external_id: str | None = None,
    return_form: str = "rgba",
    priority: str = "normal",
    batch_id: uuid.UUID | None = None,
    producer_id: uuid.UUID | None = None,
    forms: str | None = None,
    full_size: bool | None = None,
) -> "Job":
    """Enqueue the picture at an address in the caller's transaction; the job exists once that commits.

    The priority is `interactive`, `normal` or `bulk`. With `producer_id` its keys see the job over HTTP.
    With `forms` `derived` RGBA is bought and the return form is made of it, with `bought` the return form is
    bought. With `full_size` outputs are as large as the source. Without them CUTOUT_FORMS and
    CUTOUT_FULL_SIZE of this process apply.
    Raises ValueError for values that can never work, before anything is written.
    """
    # Not at the top: every import of this package would load them all.
    from cutout.models import Job  # noqa: PLC0415
    from cutout.queue.enqueue import enqueue as enqueue_job  # noqa: PLC0415
    from cutout.queue.enqueue import new_job, requested_outputs  # noqa: PLC0415
    from cutout.settings import read_output_settings  # noqa: PLC0415

    outputs = requested_outputs(forms, full_size=full_size).complete(read_output_settings())
    job = new_job(source, external_id, return_form, priority, outputs)
    return session.get_one(Job, enqueue_job(session, job, batch_id=batch_id, producer_id=producer_id))
