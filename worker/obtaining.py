"""From a claim to the bytes that are to be sent, unless no call is needed for them."""

from functools import partial

from jobs import store
from jobs.keys import sha256_in_key
from jobs.outcomes import Outcome
from jobs.store import Claim
from worker.context import WorkerContext
from worker.reuse import served


def obtain(context: WorkerContext, claim: Claim) -> bytes | Outcome:
    """The source's bytes, or what became of the job without a call. Raises SourceError.

    What is known of the source is asked first: an unchanged picture is not even fetched.
    """
    if not (claim.reuses and context.settings.reuse):
        return context.sources.read(claim.source)
    key = context.bucket.key_of(claim.source)
    uploaded = sha256_in_key(key) if key else None
    if uploaded is None:
        return _obtain_unknown(context, claim)
    return served(context, claim, uploaded) or context.sources.read(claim.source)


def _obtain_unknown(context: WorkerContext, claim: Claim) -> bytes | Outcome:
    """Of a source whose bytes may change behind its address."""
    remembered = context.patiently(partial(store.recall_source, address=claim.source))
    picture = context.sources.read_changed(claim.source, remembered)
    if picture is None and remembered is not None:
        outcome = served(context, claim, remembered.content_sha256)
        if outcome is not None:
            return outcome
        picture = context.sources.read_changed(claim.source, None)
    if picture is None:
        raise TypeError("a source that nothing is remembered of cannot be unchanged")
    seen = picture.remembered
    if (picture.etag or picture.last_modified) and seen != remembered:
        context.patiently(partial(store.remember_source, address=claim.source, seen=seen))
    return served(context, claim, seen.content_sha256) or picture.data
