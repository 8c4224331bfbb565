"""Pools of connections of this process, by name, with the seconds that their users waited."""

import threading
import time
import weakref
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool


class MeasuredPool(QueuePool):
    """A pool that adds up how long it took to get a connection: until one is free, opened or tested.

    After `dispose` it keeps none: a thread that has one at that time, or takes one later, closes it.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._lock = threading.Lock()
        self.disposed = False
        self.waited_s = 0.0
        self.taken = 0

    def connect(self) -> PoolProxiedConnection:
        """A connection; raises as the pool does."""
        began = time.monotonic()
        try:
            return super().connect()
        finally:
            with self._lock:
                self.waited_s += time.monotonic() - began
                self.taken += 1

    def dispose(self) -> None:
        """Close the connections that nobody uses."""
        self.disposed = True
        super().dispose()

    def recreate(self) -> QueuePool:
        """The pool that an engine has after its `dispose`."""
        pool = super().recreate()
        if isinstance(pool, MeasuredPool):
            pool.disposed = True
        return pool

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        super()._do_return_conn(record)
        # Read after the return, so that one of both threads closes it.
        if self.disposed:
            super().dispose()


@dataclass(frozen=True, slots=True)
class PoolUse:
    """The use of all pools of one name; `taken` and `waited_s` count since the process began."""

    size: int
    checked_out: int
    taken: int
    waited_s: float


_engines: "weakref.WeakKeyDictionary[Engine, str]" = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def know(engine: Engine, name: str) -> None:
    """Count the engine's pool under the name, as long as the engine is in use."""
    with _lock:
        _engines[engine] = name


def pools() -> dict[str, PoolUse]:
    """The pools of this process by name."""
    with _lock:
        known = list(_engines.items())
    found: dict[str, PoolUse] = {}
    for engine, name in known:
        pool, sum_ = engine.pool, found.get(name, PoolUse(0, 0, 0, 0.0))
        if isinstance(pool, MeasuredPool):
            found[name] = PoolUse(
                sum_.size + pool.size(),
                sum_.checked_out + pool.checkedout(),
                sum_.taken + pool.taken,
                sum_.waited_s + pool.waited_s,
            )
    return found
