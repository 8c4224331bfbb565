"""Orders to the sandbox and to the broker: one after the other, each watched until it has struck."""

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from cutout.enums import Step
from tests.soak.plan import Mischief, Order
from tests.soak.system import System

LOOK_S = 0.1
# Older than a message's lease: its job has been handed out again.
LATE_AFTER_S = 8.0
UNACKNOWLEDGED = "unacked"
# Calls between two orders: those that find out whether the endpoint is well again must not all be struck, or
# no other goes out, and no strike on a worker meets one.
CALLS_BETWEEN = 6


@dataclass
class Placed:
    """An order for so many calls; `placed_at` and `struck_at` (None: not yet) are Unix seconds."""

    kind: Mischief
    placed_at: float
    struck_at: float | None = None
    calls: int = 1


class Orders:
    """Places what is planned."""

    def __init__(self, system: System, orders: Sequence[Order]) -> None:
        self._system = system
        self._orders = orders
        self._late: list[threading.Timer] = []
        self.placed: list[Placed] = []

    def run(self, stopping: threading.Event) -> None:
        """Place one order after the other; what has not struck when `stopping` is set is withdrawn."""
        began = time.monotonic()
        for order in self._orders:
            if stopping.wait(max(began + order.at_s - time.monotonic(), 0.0)):
                break
            self._place(order, stopping)
            self._let_calls_pass(stopping)
        self._system.control.delete("/faults").raise_for_status()
        for timer in self._late:
            timer.join()

    def _place(self, order: Order, stopping: threading.Event) -> None:
        placed = Placed(order.kind, time.time())
        self.placed.append(placed)
        if order.kind in (Mischief.REPEATED, Mischief.LATE):
            placed.struck_at = time.time() if self._repeat(late=order.kind is Mischief.LATE) else None
            return
        fault = {"kind": order.kind, "next": 1, **order.options}
        placed.calls = int(str(fault["next"]))
        self._system.control.post("/faults", json=fault).raise_for_status()
        while not stopping.wait(LOOK_S):
            if not self._system.control_json("/faults"):
                placed.struck_at = time.time()
                return
        placed.calls = sum(left["struck"] for left in self._system.control_json("/faults"))
        placed.struck_at = time.time() if placed.calls else None

    def _let_calls_pass(self, stopping: threading.Event) -> None:
        """Wait until some calls have come that nothing was ordered for."""
        enough = self._calls_so_far() + CALLS_BETWEEN
        while self._calls_so_far() < enough and not stopping.wait(LOOK_S):
            pass

    def _calls_so_far(self) -> int:
        return int(self._system.control_json("/stats?seconds=1")["arrived"])

    def _repeat(self, *, late: bool) -> int:
        """Send all messages that wait or are worked on a second time; returns how many."""
        try:
            messages = self._messages()
        except redis.RedisError:
            return 0
        if late:
            timer = threading.Timer(LATE_AFTER_S, self._send, [messages])
            timer.start()
            self._late.append(timer)
        else:
            self._send(messages)
        return len(messages)

    def _messages(self) -> list[tuple[str, bytes]]:
        prefix = self._system.settings.redis_prefix
        # redis-py types its answers for its async twin too.
        client: Any = self._system.redis
        waiting = [(step, message) for step in Step for message in client.lrange(f"{prefix}{step}", 0, -1)]
        taken = map(json.loads, client.hvals(f"{prefix}{UNACKNOWLEDGED}"))
        return waiting + [(key, json.dumps(message).encode()) for message, _exchange, key in taken]

    def _send(self, messages: list[tuple[str, bytes]]) -> None:
        prefix = self._system.settings.redis_prefix
        try:
            for step, message in messages:
                self._system.redis.lpush(f"{prefix}{step}", _without_expiry(message))
        except redis.RedisError:
            # Redis was struck meanwhile; what was sent was sent.
            return


def _without_expiry(message: bytes) -> bytes:
    """The message as a worker with a slow clock would read it: not too old."""
    content = json.loads(message)
    content["headers"]["expires"] = None
    return json.dumps(content).encode()
