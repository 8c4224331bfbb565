"""Processor time that goes into reading bodies: one producer has a quarter of what there is.

Reading holds the interpreter, which all requests share. So what a producer's bodies took is counted, by the
processor's clock, and a body whose producer took too much waits. Meanwhile its client cannot send either.
"""

import time
import uuid
from asyncio import sleep
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from starlette.types import Message, Receive

from api import metrics
from api.limits.producer_slots import PRODUCERS_TO_FILL
from api.limits.producer_threads import Threads

SHARE = 1 / PRODUCERS_TO_FILL
# Some ten lists of 10,000 jobs, one after the other.
BURST_S = 1.0
# What is less is not worth a timer.
LEAST_REST_S = 0.0005
# To receive a byte and hand it on takes 2 to 5 ns: 200 MB at once, then 50 MB/s.
S_A_BYTE = 5e-9
# Cost of a refused large body beside reading it, with the connection that ends with it: 12 a second.
S_A_REFUSAL = 0.02
# Beyond this many producers the one longest unused is forgotten, and owes nothing when it comes again.
MOST_PRODUCERS = 10_000

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class _Account:
    """The seconds that a producer may still take, below 0 if it took more, as they were at `at`.

    `since_rest` are those that it took since it last left the event loop to others.
    """

    left: float
    at: float
    since_rest: float = 0.0


class ReadingTime:
    """Seconds that each producer's bodies took to read. Belongs to one event loop."""

    share, burst_s = SHARE, BURST_S

    def __init__(self) -> None:
        self._accounts: OrderedDict[uuid.UUID, _Account] = OrderedDict()

    def spend(self, of: uuid.UUID, seconds: float) -> None:
        """Add seconds to a producer's account."""
        account = self._account(of)
        account.left -= seconds
        account.since_rest += seconds

    def measured(self, of: uuid.UUID, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` at once and return its result; its time is counted."""
        began = time.thread_time()
        try:
            return work(*args, **kwargs)
        finally:
            self.spend(of, time.thread_time() - began)

    async def measured_in(
        self, threads: Threads, of: uuid.UUID, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work` on one of these threads and return its result; its time there is counted."""
        await self.turn(of)
        took = 0.0

        def measured() -> T:
            nonlocal took
            began = time.thread_time()
            try:
                return work(*args, **kwargs)
            finally:
                took = time.thread_time() - began

        try:
            return await threads.run(of, measured)
        finally:
            self.spend(of, took)

    async def turn(self, of: uuid.UUID) -> None:
        """Return once the producer may go on, after a rest as long as its work since the last one."""
        account = self._account(of)
        pause_s = -account.left / self.share
        if account.since_rest >= LEAST_REST_S:
            pause_s, account.since_rest = max(pause_s, account.since_rest), 0.0
        await sleep(max(pause_s, 0.0))
        metrics.READING_PAUSED.inc(max(pause_s, 0.0))

    @contextmanager
    def refusals_counted(self, of: uuid.UUID) -> Iterator[None]:
        """Count a body that is refused in the context."""
        try:
            yield
        except Exception:
            self.spend(of, S_A_REFUSAL)
            raise

    def paced(self, receive: Receive, of: uuid.UUID) -> Receive:
        """Receives a body of the producer as fast as its share allows."""

        async def receive_in_turn() -> Message:
            await self.turn(of)
            message = await receive()
            self.spend(of, len(message.get("body", b"")) * S_A_BYTE)
            return message

        return receive_in_turn

    def _account(self, of: uuid.UUID) -> _Account:
        now = time.monotonic()
        account = self._accounts.get(of)
        if account is None:
            account = self._accounts[of] = _Account(self.burst_s, now)
            if len(self._accounts) > MOST_PRODUCERS:
                self._accounts.popitem(last=False)
        else:
            self._accounts.move_to_end(of)
            account.left = min(self.burst_s, account.left + (now - account.at) * self.share)
            account.at = now
        return account
