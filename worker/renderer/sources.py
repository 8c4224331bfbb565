"""The files that the outputs of a picture are made of: what was bought, its source, an earlier full size."""

import hashlib
import logging
from dataclasses import dataclass, field

from sqlalchemy import Engine

from cutout.endpoint.client import call_url
from cutout.endpoint.result import MAX_RESULT_BYTES
from cutout.queue.attempts.outcomes import Fail, Snooze
from cutout.queue.outputs import ClaimedOutput, ClaimedPicture, find_made
from cutout.queue.outputs.calibrated import EndpointProperties, read_properties
from cutout.settings import Settings
from cutout.storage import Bucket, ObjectMissingError, ObjectTooLargeError, StorageError
from worker.pipeline.sources import EGRESS_AWAY, HostTurns, SourceError, SourceFetcher
from worker.signed_objects import SignedObjectClient

log = logging.getLogger(__name__)


class NotNowError(Exception):
    """Something that the outputs need cannot be reached now, and may be later."""


class EgressAwayError(NotNowError):
    """The egress proxy gives no connection: no try is used.

    `maybe_server`: the source's server may be at fault as well.
    """

    def __init__(self, message: str, *, maybe_server: bool) -> None:
        super().__init__(message)
        self.maybe_server = maybe_server


class BoughtMissingError(Exception):
    """The bucket has no longer what was bought."""


@dataclass(frozen=True, slots=True)
class FetchedSource:
    """A source as it was bought; or no source, and the reason."""

    data: bytes | None = field(default=None, repr=False)
    problem: str | None = None


class _AlwaysWorks:
    """The bucket watch of a process that buys nothing: a storage error is judged by itself."""

    def works(self) -> bool:
        return True

    def suspect(self, error: StorageError) -> None:
        log.warning("the bucket: %s", error)


class PictureSources:
    """A reader of these files. One per thread."""

    def __init__(self, settings: Settings, engine: Engine, bucket: Bucket, hosts: HostTurns) -> None:
        self._engine = engine
        self._endpoint = call_url(settings.endpoint_url)
        self._bucket = bucket
        self._objects = SignedObjectClient(bucket)
        self._sources = SourceFetcher(settings, bucket, self._objects, hosts, _AlwaysWorks())

    def properties(self) -> EndpointProperties:
        """The endpoint's properties, as its calibration found them."""
        with self._engine.connect() as connection:
            return read_properties(connection, self._endpoint)

    def bought(self, picture: ClaimedPicture) -> bytes:
        """The bought file. Raises BoughtMissingError, NotNowError."""
        try:
            data = self._objects.read(picture.bought.key, max_bytes=MAX_RESULT_BYTES).data
        except (ObjectMissingError, ObjectTooLargeError) as error:
            raise BoughtMissingError(str(error)) from error
        except StorageError as error:
            raise NotNowError(str(error)) from error
        if hashlib.sha256(data).digest() != picture.bought.sha256:
            raise BoughtMissingError(f"{picture.bought.key} is not the object any more that was bought")
        return data

    def full_size(self, picture: ClaimedPicture, output: ClaimedOutput) -> bytes | None:
        """The full-size cutout, if one was made before and the bucket has it."""
        with self._engine.connect() as connection:
            made = find_made(connection, picture, output, "rgba")
        if made is None or made.key is None or made.key == picture.bought.key:
            return None
        try:
            data = self._objects.read(made.key, max_bytes=MAX_RESULT_BYTES).data
        except StorageError as error:
            log.info("the full-size cutout %s is not used: %s", made.key, error)
            return None
        return data if hashlib.sha256(data).digest() == made.sha256 else None

    def source(self, picture: ClaimedPicture) -> FetchedSource:
        """The source, if it is still the one that was bought. Raises NotNowError if it may be later."""
        try:
            data = self._sources.read(picture.source, owner=picture.producer_id)
        except SourceError as error:
            if isinstance(error.outcome, Fail):
                return FetchedSource(problem=f"{error.outcome.code}: {error.outcome.message}")
            if isinstance(error.outcome, Snooze) and error.outcome.code == EGRESS_AWAY:
                away = error.outcome
                raise EgressAwayError(away.message, maybe_server=away.of_source) from error
            raise NotNowError(str(getattr(error.outcome, "message", error.outcome))) from error
        if picture.source_sha256 and hashlib.sha256(data).digest() != picture.source_sha256:
            return FetchedSource(problem="the source has changed since its cutout was bought")
        return FetchedSource(data)

    def close(self) -> None:
        """Close this thread's connections."""
        self._sources.close()
        self._objects.close()
