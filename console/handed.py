"""The parts of the API's process that the console uses: key lookups, shared counts, addresses, links."""

import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from fastapi import Request, Response
from sqlalchemy import Engine
from starlette.types import Scope

from cutout.ingest import IngestOptions
from cutout.monitoring.check import Check
from cutout.settings import Settings
from cutout.status.batch_status import BatchStatus
from cutout.storage import Bucket

T = TypeVar("T")


class TooManyTriesError(Exception):
    """Too many wrong keys came from an address; `wait_s` says how long to wait."""

    def __init__(self, wait_s: float) -> None:
        super().__init__()
        self.wait_s = wait_s


class Tries(Protocol):
    """Tries of keys and tokens by a client's address, at this door and the API's together."""

    def take(self, address: str, /) -> None:
        """Count one. Raises TooManyTriesError."""

    def give_back(self, address: str, /) -> None:
        """Count it no more: what was tried is valid."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A valid key with which somebody signs in; `may_look`: it has the scope for it."""

    id: uuid.UUID
    may_look: bool
    suspended: bool


class OptionError(ValueError):
    """An option of a batch that cannot be; `field` is its name."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class TakeUpload(Protocol):
    """Reads a request's body on a thread for uploads, in the producer's turn; None is an operator.

    Raises PageError past the producer's share, for a body that is too large or too slow, and what `work`
    raises.
    """

    async def __call__(
        self, request: Request, of: uuid.UUID | None, work: Callable[[Iterator[bytes]], T], /
    ) -> T: ...


class Downloads(Protocol):
    """Files that are sent while they are made, in a producer's turns; None is an operator.

    `place` is held until the last byte is sent; zips of pictures have places of their own. `run` makes
    what a file needs first, on a thread, and `send` answers once the file has begun; it breaks off when
    `goes_on`, asked every few seconds, says no. They raise PageError past the producer's share, and
    without the bucket.
    """

    def place(self, of: uuid.UUID | None, *, has_pictures: bool) -> AbstractContextManager[None]: ...

    async def run(self, of: uuid.UUID | None, work: Callable[[Engine, Bucket], T]) -> T: ...

    async def send(
        self,
        of: uuid.UUID | None,
        pieces: Callable[[Engine, Bucket], Iterator[bytes]],
        *,
        media_type: str,
        headers: Mapping[str, str],
        goes_on: Callable[[], Awaitable[bool]],
    ) -> Response: ...


class CountedBatch(Protocol):
    """A batch with its counts, credits, and the seconds that its jobs still take, if known."""

    @property
    def status(self) -> BatchStatus: ...
    @property
    def credits(self) -> int: ...
    @property
    def eta_seconds(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Handed:
    """Functions and settings of the API's process.

    `find_key` looks up the text of a key for a client's address; it raises TooManyTriesError, and limits
    both doors together, as `tries` does for tokens. `count` counts a batch at most once a second for all
    who ask, None as producer for an operator. `wait_for` takes one of the requests that a key may send, or
    says how many seconds it must wait. `link` gives a link to an object of the bucket that needs no
    credentials, for some minutes. `read_options` makes the options of a planned batch of texts by the API's
    names, and raises OptionError. `check_all` makes all health checks that are possible in this process,
    which takes seconds.
    """

    settings: Settings
    find_key: Callable[[str, str], Awaitable[KnownKey | None]]
    tries: Tries
    count: Callable[[uuid.UUID, uuid.UUID | None], Awaitable[CountedBatch | None]]
    wait_for: Callable[[uuid.UUID], float]
    address_of: Callable[[Scope], str]
    link: Callable[[str], str]
    bucket: Bucket
    upload: TakeUpload
    downloads: Downloads
    read_options: Callable[[Mapping[str, list[str]], uuid.UUID], IngestOptions]
    check_all: Callable[[Engine], list[Check]]
