"""Where a job's picture comes from: the bucket, or a web address that leads nowhere inside."""

from http import HTTPStatus

import httpx

from jobs.outcomes import Fail, Outcome, Retry, Snooze
from jobs.settings import Settings
from jobs.states import Step
from jobs.storage import (
    Bucket,
    BucketMissingError,
    ObjectMissingError,
    ObjectTooLargeError,
    StorageError,
    StorageRefusedError,
    split_address,
)
from worker.network import (
    AddressPolicy,
    BadStatus,
    FetchError,
    GuardedTransport,
    HostList,
    TooLarge,
    UrlRefused,
    fetch,
)
from worker.network.hosts import port_of
from worker.objects import ObjectLinks

DEADLINE_S = 60.0
MOST_REDIRECTS = 5
STORAGE_AWAY_SNOOZE_S = 15.0
MAY_PASS = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class SourceError(Exception):
    """The picture could not be had; `outcome` says what that means for its job."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


class SourceFetcher:
    """Reads sources. One per thread."""

    def __init__(self, settings: Settings, bucket: Bucket, objects: ObjectLinks) -> None:
        self._bucket = bucket
        self._objects = objects
        self._max_bytes = settings.max_source_bytes
        self._buckets = frozenset(settings.source_buckets)
        self._private = HostList.parse(settings.source_private_hosts)
        self._transport = GuardedTransport(policy=AddressPolicy(self._private))

    def read(self, source: str) -> bytes:
        """The picture's bytes; raises SourceError."""
        address = split_address(source)
        try:
            return self._from_web(source) if address is None else self._from_bucket(*address)
        except ObjectMissingError as error:
            raise SourceError(Fail("SOURCE_MISSING", f"{error}; upload it again")) from error
        except ObjectTooLargeError as error:
            raise SourceError(Fail("SOURCE_TOO_LARGE", str(error))) from error
        except StorageError as error:
            raise SourceError(Snooze("STORAGE_AWAY", str(error), STORAGE_AWAY_SNOOZE_S)) from error
        except FetchError as error:
            raise SourceError(_what_it_means(error)) from error

    def close(self) -> None:
        """Close this thread's connections."""
        self._transport.close()

    def _from_bucket(self, name: str, key: str) -> bytes:
        if name == self._bucket.name:
            return self._objects.read(key, max_bytes=self._max_bytes)
        if name not in self._buckets:
            raise SourceError(
                Fail(
                    "SOURCE_REFUSED",
                    f"the bucket {name!r} is not named in CUTOUT_SOURCE_BUCKETS; add it there",
                )
            )
        try:
            return self._bucket.sibling(name).read(key, max_bytes=self._max_bytes)
        except BucketMissingError as error:
            raise SourceError(
                Fail("SOURCE_MISSING", f"there is no bucket {name!r}; mend the address")
            ) from error
        except StorageRefusedError as error:
            raise SourceError(Fail("SOURCE_REFUSED", f"the bucket {name!r}: {error}")) from error

    def _from_web(self, source: str) -> bytes:
        return fetch(
            self._transport,
            source,
            max_bytes=self._max_bytes,
            deadline_s=DEADLINE_S,
            max_redirects=MOST_REDIRECTS,
            check_url=self._check_scheme,
        ).data

    def _check_scheme(self, url: httpx.URL) -> None:
        if url.scheme != "https" and not self._private.allows(url.host, port_of(url)):
            raise UrlRefused(
                f"{url.host} is asked by plain http; use https, or name it in CUTOUT_SOURCE_PRIVATE_HOSTS"
            )


def _what_it_means(error: FetchError) -> Outcome:
    match error:
        case UrlRefused():
            return Fail("SOURCE_REFUSED", f"the source's address is refused: {error}")
        case TooLarge():
            return Fail("SOURCE_TOO_LARGE", f"the source is too large: {error}")
        case BadStatus() if error.status < HTTPStatus.INTERNAL_SERVER_ERROR and error.status not in MAY_PASS:
            return Fail("SOURCE_MISSING", f"the source's server answered {error}; mend its address")
    return Retry(Step.CALL, "SOURCE_UNAVAILABLE", f"the source could not be fetched: {error}")
