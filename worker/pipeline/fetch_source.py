"""The way to the bytes that are to be sent, unless no call is needed for them."""

from dataclasses import dataclass, field

from cutout import queue
from cutout.enums import Reuse
from cutout.queue.attempts.outcomes import Outcome
from cutout.queue.claims import Claim
from cutout.storage.object_keys import sha256_in_key
from worker.pipeline.context import WorkerContext
from worker.pipeline.reuse import served


@dataclass(frozen=True, slots=True)
class Obtained:
    """A source's bytes, and their SHA-256 if it is known by now.

    `made_otherwise`: a cutout of them was bought under another preparation.
    """

    data: bytes = field(repr=False)
    sha256: bytes | None = None
    made_otherwise: bool = False


def fetch_source(context: WorkerContext, claim: Claim) -> Obtained | Outcome:
    """The source, or what became of the job without a call. Raises SourceError.

    What is known of the source is asked first: an unchanged picture is not even fetched.
    """
    if not claim.reuses or context.settings.reuse is Reuse.OFF:
        return Obtained(context.sources.read(claim.source, owner=claim.producer_id))
    key = context.bucket.key_of(claim.source)
    uploaded = sha256_in_key(key) if key else None
    if uploaded is None:
        return _obtain_unknown(context, claim)
    mine = served(context, claim, uploaded)
    if not isinstance(mine, queue.Acquired):
        return mine
    return Obtained(
        context.sources.read(claim.source, owner=claim.producer_id), uploaded, mine.made_otherwise
    )


def _obtain_unknown(context: WorkerContext, claim: Claim) -> Obtained | Outcome:
    """Of a source whose bytes may change behind its address."""
    remembered = context.store.find_validator(claim.source)
    picture = context.sources.read_changed(claim.source, remembered, owner=claim.producer_id)
    if picture is None and remembered is not None:
        outcome = served(context, claim, remembered.content_sha256)
        if not isinstance(outcome, queue.Acquired):
            return outcome
        picture = context.sources.read_changed(claim.source, None, owner=claim.producer_id)
    if picture is None:
        raise TypeError("a source that nothing is remembered of cannot be unchanged")
    seen = picture.remembered
    if (picture.etag or picture.last_modified) and seen != remembered:
        context.store.save_validator(claim.source, seen)
    mine = served(context, claim, seen.content_sha256)
    if not isinstance(mine, queue.Acquired):
        return mine
    return Obtained(picture.data, seen.content_sha256, mine.made_otherwise)
