"""Fetching the source of a job, unless its cutout was bought before."""

from dataclasses import dataclass, field

from cutout.enums import Reuse
from cutout.queue.attempts.outcomes import Outcome
from cutout.queue.claims import Claim
from cutout.queue.reuse.acquire import Acquired
from cutout.queue.reuse.identity import Recipe
from cutout.storage.object_keys import sha256_in_key
from worker.pipeline.context import WorkerContext
from worker.pipeline.reuse import serve_or_acquire


@dataclass(frozen=True, slots=True)
class FetchedSource:
    """A source's bytes, and their SHA-256 if it is known by now.

    `made_otherwise`: a cutout of them was bought under another preparation.
    """

    data: bytes = field(repr=False)
    sha256: bytes | None = None
    made_otherwise: bool = False


def fetch_source(context: WorkerContext, claim: Claim, recipe: Recipe) -> FetchedSource | Outcome:
    """Fetch the source, or return the job's outcome if it needs no call now. Raises SourceError.

    A cutout bought before is looked up first: an unchanged picture is not even fetched.
    """
    sha256, made_otherwise = None, False
    if claim.reuses and context.settings.reuse is not Reuse.OFF:
        key = context.bucket.key_of(claim.source)
        sha256 = sha256_in_key(key) if key else None
        if sha256 is None:
            return _fetch_if_changed(context, claim, recipe)
        found = serve_or_acquire(context, claim, sha256, recipe)
        if not isinstance(found, Acquired):
            return found
        made_otherwise = found.made_otherwise
    data = context.sources.read(claim.source, owner=claim.producer_id)
    return FetchedSource(data, sha256, made_otherwise)


def _fetch_if_changed(context: WorkerContext, claim: Claim, recipe: Recipe) -> FetchedSource | Outcome:
    """Fetch a source whose bytes may change behind its address."""
    remembered = context.store.find_validator(claim.source)
    picture = context.sources.read_changed(claim.source, remembered, owner=claim.producer_id)
    if picture is None and remembered is not None:
        found = serve_or_acquire(context, claim, remembered.content_sha256, recipe)
        if not isinstance(found, Acquired):
            return found
        picture = context.sources.read_changed(claim.source, None, owner=claim.producer_id)
    if picture is None:
        raise TypeError(f"{claim.source} was read without a validator and is said to be unchanged")
    seen = picture.validator
    if (picture.etag or picture.last_modified) and seen != remembered:
        context.store.save_validator(claim.source, seen)
    found = serve_or_acquire(context, claim, seen.content_sha256, recipe)
    if not isinstance(found, Acquired):
        return found
    return FetchedSource(picture.data, seen.content_sha256, found.made_otherwise)
