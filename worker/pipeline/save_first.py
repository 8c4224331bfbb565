"""Whatever bytes came for a paid call go into the bucket first, and are judged afterwards."""

import hashlib
import logging
from dataclasses import replace
from functools import partial

from cutout import queue
from cutout.endpoint.endpoint_errors import FoundFile
from cutout.queue.claims import Claim
from cutout.storage.unexpected_bytes import Unexpected, unexpected_key
from cutout.text import cut
from worker.pipeline.context import WorkerContext
from worker.pipeline.paid_result import forget

log = logging.getLogger(__name__)


def keep(context: WorkerContext, claim: Claim, found: FoundFile, reason: str) -> tuple[Claim, Unexpected]:
    """Store the bytes under a key of their own, then write that down, then forget what the lifeboat has.

    The same bytes are stored once, however often they come. Raises StorageError.
    """
    sha256 = hashlib.sha256(found.data).hexdigest()
    before = claim.unexpected
    kept = before
    if kept is None or kept.sha256 != sha256:
        kept = _stored(context, claim, found, sha256, reason)
    looks = (before.looks if before else 0) + 1
    kept = replace(kept, reason=cut(reason) or "", looks=looks, accepted=False)
    written = context.patiently(partial(queue.save_unexpected, claim=claim, found=kept))
    forget(context, claim)
    return written, kept


def _stored(context: WorkerContext, claim: Claim, found: FoundFile, sha256: str, reason: str) -> Unexpected:
    key = unexpected_key(claim.job_id, sha256, found.extension)
    metadata = {
        "job": str(claim.job_id),
        "fence": str(claim.fence),
        "form": claim.return_form,
        "reason": _as_header(reason),
    }
    context.objects.put_cutout(found.data, key=key, media_type=found.media_type, metadata=metadata)
    log.warning("what came for the paid call of job %s is kept as %s", claim.job_id, key)
    return Unexpected(
        key=key,
        reason=cut(reason) or "",
        sha256=sha256,
        media_type=found.media_type,
        extension=found.extension,
        size_bytes=len(found.data),
        width=found.width,
        height=found.height,
    )


def _as_header(reason: str) -> str:
    """The reason as metadata of S3 can bear it: ASCII on one line."""
    return " ".join((cut(reason) or "").encode("ascii", "replace").decode().split())
