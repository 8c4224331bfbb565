"""Sources of pictures: the bucket, other buckets that are named, and public web addresses."""

import hashlib
import random
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

import httpx

from cutout.enums import Step
from cutout.images.not_pictures import login_page_at
from cutout.network import (
    AddressPolicy,
    BadStatus,
    EgressUnavailable,
    Fetched,
    FetchError,
    GuardedTransport,
    HostList,
    NotModified,
    NotReached,
    Timeouts,
    TooLarge,
    UrlRefused,
    egress_proxy,
    fetch,
)
from cutout.network.hosts import port_of
from cutout.network.url_rules import server_of
from cutout.queue.attempts.outcomes import Fail, Outcome, Retry, Snooze
from cutout.queue.reuse.source_validators import SourceValidator
from cutout.settings import Settings
from cutout.storage import (
    Bucket,
    BucketMissingError,
    ObjectMissingError,
    ObjectTooLargeError,
    StorageError,
    StorageRefusedError,
    split_address,
)
from worker.pipeline.source_failures import outcome_of_failure
from worker.signed_objects import SignedObjectClient

DEADLINE_S = 60.0
# The fetch ends once a server is silent for so long, at first or half way.
SILENCE_S = 10.0
TIMEOUTS = Timeouts(write=SILENCE_S, read=SILENCE_S, total=DEADLINE_S)
MOST_REDIRECTS = 5
SOURCE_BUSY = "SOURCE_BUSY"
BUSY_SNOOZE_S = 1.0
EGRESS_AWAY = "EGRESS_AWAY"
EGRESS_SNOOZE_S = 15.0
# Between the tries of a source that the egress proxy does not reach, so that all of them take ten minutes at
# least: an outage of some servers cannot be told from faults of theirs.
NOT_REACHED_DELAYS_S = (120.0, 180.0)
# Parameters of URLs that expire: S3, CloudFront and Google, Azure, and others.
SIGNATURES = {"x-amz-signature", "signature", "x-goog-signature", "sig", "expires", "token", "hmac"}
MAY_PASS = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class SourceError(Exception):
    """The picture cannot be fetched; `outcome` is the outcome of its job."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


class SourceBusyError(SourceError):
    """Too many requests are under way; `snooze` is the outcome of the job."""

    def __init__(self, snooze: Snooze) -> None:
        super().__init__(snooze)
        self.snooze = snooze


@dataclass(frozen=True, slots=True)
class SourcePicture:
    """A source's bytes, and the validators that its server sent with them."""

    data: bytes = field(repr=False)
    etag: str | None = None
    last_modified: str | None = None

    @property
    def validator(self) -> SourceValidator:
        """The server's validators, and the SHA-256 of the bytes."""
        return SourceValidator(self.etag, self.last_modified, hashlib.sha256(self.data).digest())


class Web:
    """HTTP for sources: https to public addresses, or to others that the settings allow."""

    def __init__(self, settings: Settings) -> None:
        self._private = HostList.parse(settings.source_private_hosts)
        self.transport = GuardedTransport(
            TIMEOUTS, policy=AddressPolicy(self._private), proxy=egress_proxy(settings.egress)
        )

    def check(self, url: httpx.URL) -> None:
        """Raise UrlRefused for an address that may not be fetched."""
        if url.scheme != "https" and not self._private.allows(url.host, port_of(url)):
            raise UrlRefused(
                f"{url.host} would be fetched by plain http; use https, or name it in"
                " CUTOUT_SOURCE_PRIVATE_HOSTS"
            )


class HostTurns:
    """A bound on requests to one server at a time: a catalog's pictures often lie at one that is not ours.

    A producer with no request at a server gets one all the same: others must not keep it from a server that
    several use.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._changed = threading.Condition()
        self._hosts: defaultdict[str, Counter[uuid.UUID | None]] = defaultdict(Counter)

    @contextmanager
    def turn(self, host: str, owner: uuid.UUID | None = None, *, within_s: float = 0.0) -> Iterator[None]:
        """Count a request at the host, and wait so long for its turn.

        Raises SourceBusyError if there are too many: the job comes back soon.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(host, owner), within_s):
                count = self._hosts[host][owner]
                busy = f"{count} pictures are being fetched from {host}, which is all that it may serve"
                raise SourceBusyError(Snooze(SOURCE_BUSY, busy, BUSY_SNOOZE_S))
            self._hosts[host][owner] += 1
        try:
            yield
        finally:
            with self._changed:
                self._leave(host, owner)
                self._changed.notify_all()

    def _has_room(self, host: str, owner: uuid.UUID | None) -> bool:
        held = self._hosts.get(host)
        return held is None or not held[owner] or held.total() < self._at_once

    def _leave(self, host: str, owner: uuid.UUID | None) -> None:
        held = self._hosts[host]
        held[owner] -= 1
        if not held[owner]:
            del held[owner]
        if not held:
            del self._hosts[host]


class StorageWatch(Protocol):
    """Judge of the bucket: whether it works, and a note of an error that may be the bucket's."""

    def works(self) -> bool: ...
    def suspect(self, error: StorageError) -> None: ...


class SourceFetcher:
    """A reader of sources. One per thread; `hosts` are shared by all."""

    def __init__(
        self,
        settings: Settings,
        bucket: Bucket,
        objects: SignedObjectClient,
        hosts: HostTurns,
        watch: StorageWatch,
    ) -> None:
        self._hosts = hosts
        self._watch = watch
        self._bucket = bucket
        self._objects = objects
        self._max_bytes = settings.max_source_bytes
        self._buckets = frozenset(settings.source_buckets)
        self._web = Web(settings)

    def read(self, source: str, *, owner: uuid.UUID | None = None) -> bytes:
        """Read the picture's bytes, for a job of the producer `owner`; raises SourceError."""
        return self._read(source, None, owner).data

    def read_changed(
        self, source: str, remembered: SourceValidator | None, *, owner: uuid.UUID | None = None
    ) -> SourcePicture | None:
        """Read the picture; None if its server says that it is unchanged. Raises SourceError."""
        try:
            return self._read(source, remembered, owner)
        except NotModified:
            return None

    def _read(
        self, source: str, remembered: SourceValidator | None, owner: uuid.UUID | None
    ) -> SourcePicture:
        address = split_address(source)
        try:
            if address is not None:
                fetched = self._from_bucket(*address, remembered)
                # The tag is enough; the time is no finer than a second.
                return SourcePicture(fetched.data, fetched.etag)
            with self._hosts.turn(server_of(source), owner):
                return self._from_web(source, remembered)
        except ObjectMissingError as error:
            raise SourceError(Fail("SOURCE_MISSING", f"{error}; upload it again")) from error
        except ObjectTooLargeError as error:
            raise SourceError(Fail("SOURCE_TOO_LARGE", str(error))) from error
        except StorageError as error:
            outcome = outcome_of_failure(error, self._watch.works)
            if isinstance(outcome, Snooze):
                self._watch.suspect(error)
            raise SourceError(outcome) from error
        except NotModified:
            raise
        except FetchError as error:
            raise SourceError(_outcome_of(error, source)) from error

    def close(self) -> None:
        """Close this thread's connections."""
        self._web.transport.close()

    def _from_bucket(self, name: str, key: str, remembered: SourceValidator | None) -> Fetched:
        etag = remembered.etag if remembered else None
        if name == self._bucket.name:
            return self._objects.read(key, max_bytes=self._max_bytes, etag=etag)
        if name not in self._buckets:
            raise SourceError(
                Fail(
                    "SOURCE_REFUSED",
                    f"the bucket {name!r} is not named in CUTOUT_SOURCE_BUCKETS; add it there",
                )
            )
        try:
            bucket = self._bucket.sibling(name)
            return self._objects.read(key, max_bytes=self._max_bytes, etag=etag, bucket=bucket)
        except BucketMissingError as error:
            raise SourceError(
                Fail("SOURCE_MISSING", f"there is no bucket {name!r}; correct the address")
            ) from error
        except StorageRefusedError as error:
            if not self._watch.works():
                raise
            raise SourceError(Fail("SOURCE_REFUSED", f"the bucket {name!r}: {error}")) from error

    def _from_web(self, source: str, remembered: SourceValidator | None) -> SourcePicture:
        fetched = fetch(
            self._web.transport,
            source,
            max_bytes=self._max_bytes,
            deadline_s=DEADLINE_S,
            max_redirects=MOST_REDIRECTS,
            check_url=self._web.check,
            etag=remembered.etag if remembered else None,
            last_modified=remembered.last_modified if remembered else None,
        )
        page = login_page_at(fetched.redirected_to, fetched.data)
        if page is not None:
            raise SourceError(Fail(page.code, page.message))
        return SourcePicture(fetched.data, fetched.etag, fetched.last_modified)


def is_lasting(status: int) -> bool:
    """Whether a server that answers with this status is expected to repeat it."""
    return status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in MAY_PASS


def _outcome_of(error: FetchError, source: str) -> Outcome:
    match error:
        case EgressUnavailable():
            return Snooze(EGRESS_AWAY, str(error), EGRESS_SNOOZE_S, of_source=error.maybe_server)
        case UrlRefused():
            return Fail("SOURCE_REFUSED", f"the source's address is refused: {error}")
        case TooLarge():
            return Fail("SOURCE_TOO_LARGE", f"the source is too large: {error}")
        case BadStatus() if is_lasting(error.status):
            return _refusal(error, source)
    delay = random.uniform(*NOT_REACHED_DELAYS_S) if isinstance(error, NotReached) else None  # noqa: S311
    message = f"the source could not be fetched: {error}"
    return Retry(Step.CALL, "SOURCE_UNAVAILABLE", message, after_seconds=delay)


def _refusal(error: BadStatus, source: str) -> Fail:
    """The failure for a lasting status, with a code and a remedy of its own."""
    code, remedy = remedy_for(error.status, source, "the picture")
    return Fail(code, f"the source's server answered {error}; {remedy}")


def remedy_for(status: int, source: str, wanted: str) -> tuple[str, str]:
    """The code for a lasting status of a server, and what to do; `wanted` is what was to be downloaded."""
    match status:
        case HTTPStatus.UNAUTHORIZED:
            remedy = f"the address needs a login: give a public or signed address, or upload {wanted}"
            return "SOURCE_NEEDS_LOGIN", remedy
        case HTTPStatus.FORBIDDEN if _is_signed(source):
            return "SOURCE_FORBIDDEN", "the signed link has most likely expired: give a fresh one"
        case HTTPStatus.FORBIDDEN:
            remedy = f"it refuses this program: allow the user agent cutout there, or upload {wanted}"
            return "SOURCE_FORBIDDEN", remedy
        case HTTPStatus.NOT_FOUND | HTTPStatus.GONE:
            return "SOURCE_MISSING", "nothing is at this address: correct it"
    remedy = f"open the address in a browser that is not logged in, and give one that shows {wanted} alone"
    return "SOURCE_STATUS", remedy


def _is_signed(source: str) -> bool:
    names = {name.lower() for name, _ in parse_qsl(urlsplit(source).query)}
    return not names.isdisjoint(SIGNATURES)
