"""Parts of pages that somebody watches: each is made anew in turn, once for all tabs that show it.

All together are made anew REFRESHES times a second, half of them for operators and half for producers if both
look, and each producer's as often as another's. While few are watched, a page shows what was two seconds ago;
while many are, its time says how old it is. A signal lets operators' parts alone come sooner: when a
producer's come tells how many look, not when others work.
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

# A second: one takes 5 to 10 ms of a processor's time, and open pages shall not take 2% of it.
REFRESHES = 1.0
# Turns that are left over while few look.
MOST_LEFT = 2.0
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

    def is_due(self, now: float) -> bool:
        """Whether it may be made anew if it is its turn."""
        rest_s = max(SIGNALLED_S if self.signalled else BEAT_S, self.took_s * REST)
        return self.task is None and now >= self.begun_at + rest_s

    def news(self, seen: Part | None) -> bytes:
        """The event for a tab that was sent `seen`; nothing if that is the newest."""
        if self.fault or self.part is None:
            return self.fault
        if self.part is seen:
            return b""
        return self.part.event(whole=seen is None or seen.tag != self.part.tag)


class WatchedParts:
    """All that are watched in this process. Belongs to one event loop."""

    def __init__(self, make: Make, clock: Callable[[], float] = time.monotonic) -> None:
        self._make, self._clock = make, clock
        self._all: dict[Hashable, Watched] = {}
        self._of_owner: Counter[uuid.UUID | None] = Counter()
        # Of operators, and of producers.
        self._turns = {True: 0.0, False: 0.0}
        self._counted_at = clock()

    def watch(self, wanted: ScreenRequest, name: str, waker: asyncio.Event) -> Watched:
        """The part, made anew unless that was just done; `waker` is set whenever it was."""
        watched = self._all.get((wanted, name))
        if watched is None:
            watched = self._all[wanted, name] = Watched(wanted, name)
            self._of_owner[watched.owner] += 1
        watched.wakers.add(waker)
        if self._clock() - watched.begun_at >= SIGNALLED_S:
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
        now = self._clock()
        passed_s, self._counted_at = now - self._counted_at, now
        for is_operator in self._turns:
            of_kind = [each for each in self._all.values() if (each.owner is None) is is_operator]
            share = 1.0 if len(of_kind) == len(self._all) else 0.5
            self._turns[is_operator] = min(self._turns[is_operator] + passed_s * REFRESHES * share, MOST_LEFT)
            for watched in of_kind:
                watched.signalled |= signalled and is_operator
            due = [watched for watched in of_kind if watched.is_due(now)]
            # An owner with twice as many waits twice as long for each.
            due.sort(key=lambda each: (now - each.begun_at) / self._of_owner[each.owner])
            while due and self._turns[is_operator] >= 1:
                self._turns[is_operator] -= 1
                self._refresh(due.pop())

    def _refresh(self, watched: Watched) -> None:
        if watched.task is None:
            watched.begun_at, watched.signalled = self._clock(), False
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
            watched.task, watched.took_s = None, self._clock() - watched.begun_at
        for waker in watched.wakers:
            waker.set()
