"""Steps of a flow: a flow yields them, a transport carries them out and sends back what came of them.

A flow is a generator that does no input or output itself, so that the same flow serves both clients.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cutout_client.http_request import Request

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. `stream` is a transport's own and there while its body is to be read.

    `after_lost`: an earlier try of the same request may have had its effect, for its answer was lost.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = b""
    stream: Any = None
    after_lost: bool = False

    @property
    def is_success(self) -> bool:
        """Whether the status is a 2xx."""
        return self.status // 100 == 2  # noqa: PLR2004 - the class of a status


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request, again if need be, and get the Answer. A streamed one that succeeds is to be read."""

    request: Request
    streamed: bool = False
    # Pieces of this size, or as they come.
    piece_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """Send a request once. Raises httpx.TransportError in the flow."""

    send: Send


@dataclass(frozen=True, slots=True)
class Read:
    """The next piece of a streamed answer; b"" at its end. Raises httpx.TransportError in the flow."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Close:
    """Close a streamed answer. A transport closes those that are left open at the end of the flow."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work(Generic[T]):
    """Call a function that may block, such as one that writes a file."""

    function: Callable[[], T]


@dataclass(frozen=True, slots=True)
class Item(Generic[T]):
    """A value for the caller of an iteration."""

    value: T


Step = Send | Try | Read | Close | Sleep | Work[Any]
Flow = Generator[Step, Any, T]
Items = Generator[Step | Item[T], Any, None]


def whole(flow: Flow[T]) -> Items[T]:
    """An iteration with the value of the flow as its one item."""
    yield Item((yield from flow))


def work(function: Callable[[], S]) -> Flow[S]:
    """The value of a function that may block."""
    done: S = yield Work(function)
    return done
