"""Parts of pages that somebody watches: each is made anew in turn, once for all tabs that show it.

Their number bounds how often: operators' parts together, and producers' together, are made anew REFRESHES
times a second, each producer's as often as another's. While few are watched, a page shows what was two
seconds ago; while many are, its time says how old it is. A signal lets operators' parts alone come sooner:
when a producer's come does not tell when others work.
"""

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from http import HTTPStatus

from console.faults import PageError
from console.parts import Part
from console.views import ScreenRequest

log = logging.getLogger(__name__)

# A second, of operators and of producers each: one takes some 5 ms of a processor's time, of 20 for all tabs.
REFRESHES = 1.0
BEAT_S = 2.0
SIGNALLED_S = 1.0
# A part that took long rests so many times as long.
REST = 5.0

AWAY = b"event: away\ndata:\n\n"
ENDED = b"event: ended\ndata:\n\n"

Make = Callable[[ScreenRequest, str], Awaitable[Part]]


@dataclass(eq=False, slots=True)
class Watched:
    """One part; `wakers` are of the tabs that show it, and times are on the monotonic clock."""

    wanted: ScreenRequest
    name: str
    wakers: set[asyncio.Event] = field(default_factory=set)
    part: Part | None = None
    fault: bytes = b""
    begun_at: float = 0.0
    took_s: float = 0.0
    signalled: bool = False
    task: "asyncio.Task[None] | None" = None

    @property
    def owner(self) -> uuid.UUID | None:
        return self.wanted.viewer.producer_id

    def news(self, seen: Part | None) -> bytes:
        """The event for a tab that was sent `seen`; nothing if that is the newest."""
        if self.fault or self.part is None:
            return self.fault
        if self.part is seen:
            return b""
        return self.part.event(whole=seen is None or seen.tag != self.part.tag)


class WatchedParts:
    """All that are watched in this process. Belongs to one event loop."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._all: dict[Hashable, Watched] = {}
        self._of_owner: Counter[uuid.UUID | None] = Counter()

    def watch(self, wanted: ScreenRequest, name: str, waker: asyncio.Event) -> Watched:
        """The part, made anew unless that was just done; `waker` is set whenever it was."""
        watched = self._all.get((wanted, name))
        if watched is None:
            watched = self._all[wanted, name] = Watched(wanted, name)
            self._of_owner[watched.owner] += 1
        watched.wakers.add(waker)
        if time.monotonic() - watched.begun_at >= SIGNALLED_S:
            self._refresh(watched)
        else:
            waker.set()
        return watched

    def leave(self, watched: Watched, waker: asyncio.Event) -> None:
        """Forget the tab, and the part with its last one."""
        watched.wakers.discard(waker)
        if not watched.wakers:
            del self._all[watched.wanted, watched.name]
            self._of_owner -= Counter([watched.owner])

    def refresh_due(self, *, signalled: bool) -> None:
        """Begin to make those parts anew whose turn it is."""
        now = time.monotonic()
        for watched in self._all.values():
            watched.signalled |= signalled and watched.owner is None
            if now >= watched.begun_at + self._pause(watched):
                self._refresh(watched)

    def _pause(self, watched: Watched) -> float:
        owner = watched.owner
        owners = 1 if owner is None else len(self._of_owner) - (None in self._of_owner)
        in_turn = self._of_owner[owner] * owners / REFRESHES
        return max(SIGNALLED_S if watched.signalled else BEAT_S, in_turn, watched.took_s * REST)

    def _refresh(self, watched: Watched) -> None:
        if watched.task is None:
            watched.begun_at, watched.signalled = time.monotonic(), False
            watched.task = asyncio.create_task(self._make_anew(watched))

    async def _make_anew(self, watched: Watched) -> None:
        try:
            watched.part, watched.fault = await self._make(watched.wanted, watched.name), b""
        except PageError as error:
            # What is not there any more is told by the page itself, once it is loaded anew.
            watched.fault = AWAY if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else ENDED
        except Exception:
            log.exception("a watched part of the console failed")
            watched.fault = AWAY
        finally:
            watched.task, watched.took_s = None, time.monotonic() - watched.begun_at
        for waker in watched.wakers:
            waker.set()
