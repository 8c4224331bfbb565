"""Whose turn it is: receivers one after the other, so that a slow or dead one holds up none but itself."""

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

SENDERS = 8
AT_ONCE = 2
# So many senders at most are with receivers that never answered or last did not: those that do answer find
# one free, however many dead addresses there are.
UNPROVEN_AT_ONCE = SENDERS // 2
FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0
MOST_REMEMBERED = 10_000


@dataclass(slots=True)
class _Host:
    sending: int = 0
    proven: bool = False
    failures: int = 0
    rests_until: float = 0.0


class Turns:
    """Shared by the senders. A receiver that is ill rests between tries, longer each time, up to a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[str] = deque()
        self._hosts: dict[str, _Host] = {}
        self._stopped = False

    def stop(self) -> None:
        """Give no more turns."""
        self._stopped = True

    def __len__(self) -> int:
        """How many receivers wait for a turn."""
        return len(self._queue)

    def add(self, names: Iterable[str]) -> None:
        """Give these a turn, unless they wait for one."""
        with self._lock:
            queued = set(self._queue)
            self._queue.extend(name for name in names if name not in queued)

    def next(self) -> str | None:
        """The receiver whose turn it is, to be given to `done`; None if there is none that may go now."""
        with self._lock:
            now = time.monotonic()
            for _ in range(0 if self._stopped else len(self._queue)):
                name = self._queue.popleft()
                host = self._hosts.setdefault(name, _Host())
                if host.rests_until > now:
                    # Whoever looks for receivers finds it again.
                    continue
                if self._may_go(host):
                    host.sending += 1
                    return name
                self._queue.append(name)
            return None

    def done(self, name: str, *, ill: bool | None, more: bool) -> None:
        """End a turn. `ill` is None if nothing was sent; `more` asks for another turn."""
        with self._lock:
            host = self._hosts[name]
            host.sending -= 1
            if ill is not None:
                _learn(host, ill=ill)
            if more and name not in self._queue:
                self._queue.append(name)
            if len(self._hosts) > MOST_REMEMBERED:
                self._hosts = {name: host for name, host in self._hosts.items() if host.sending}

    def _may_go(self, host: _Host) -> bool:
        if host.proven:
            return host.sending < AT_ONCE
        unproven = sum(other.sending for other in self._hosts.values() if not other.proven)
        return host.sending < 1 and unproven < UNPROVEN_AT_ONCE


def _learn(host: _Host, *, ill: bool) -> None:
    host.proven = not ill
    host.failures = host.failures + 1 if ill else 0
    if ill:
        rest = min(FIRST_REST_S * 2.0 ** min(host.failures - 1, 10), LONGEST_REST_S)
        host.rests_until = time.monotonic() + rest
