"""Whose turn it is: receivers one after the other, so that a slow or dead one holds up none but itself."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

SENDERS = 32
# A receiver that answers is sent two messages at a time, and one more for each quick answer: at 0.1 s, 24 are
# more than 200 a second. Some senders are left for the others.
AT_FIRST = 2
MOST_AT_ONCE = 24
# From one that takes longer, more at a time would only wait there.
QUICK_S = 2.0
# So many senders at most are with receivers that never answered or last did not: those that do answer find
# one free, however many dead addresses there are.
UNPROVEN_AT_ONCE = 4
FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0
MOST_REMEMBERED = 10_000


@dataclass(slots=True)
class _Host:
    sending: int = 0
    at_once: int = AT_FIRST
    proven: bool = False
    failures: int = 0
    rests_until: float = 0.0


class Turns:
    """Shared by the senders. A receiver that is ill rests between tries, longer each time, up to a minute.

    One that waits for a turn is believed to have messages due, until a turn finds none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # In order, each once.
        self._queue: dict[str, None] = {}
        self._hosts: dict[str, _Host] = {}
        self._stopped = False

    def stop(self) -> None:
        """Give no more turns."""
        self._stopped = True

    def __len__(self) -> int:
        """How many receivers wait for a turn."""
        return len(self._queue)

    @property
    def wanted(self) -> int:
        """How many more senders would have a turn now, or more."""
        with self._lock:
            return sum(max(_places(self._hosts.get(name)), 0) for name in self._queue)

    def add(self, names: Iterable[str]) -> None:
        """Give these a turn, unless they wait for one."""
        with self._lock:
            self._queue.update(dict.fromkeys(names))

    def next(self) -> str | None:
        """The receiver whose turn it is, to be given to `done`; None if there is none that may go now."""
        with self._lock:
            now = time.monotonic()
            for _ in range(0 if self._stopped else len(self._queue)):
                name = next(iter(self._queue))
                del self._queue[name]
                host = self._hosts.setdefault(name, _Host())
                if host.rests_until > now:
                    # Whoever looks for receivers finds it again.
                    continue
                self._queue[name] = None
                if self._may_go(host):
                    host.sending += 1
                    return name
            return None

    def done(self, name: str, *, ill: bool | None, more: bool, took_s: float = 0.0) -> None:
        """End a turn. `ill` is None if nothing was sent; `more` asks for another turn."""
        with self._lock:
            host = self._hosts[name]
            host.sending -= 1
            if ill is not None:
                _learn(host, ill=ill, quick=took_s < QUICK_S)
            if more:
                self._queue.setdefault(name)
            else:
                self._queue.pop(name, None)
            if len(self._hosts) > MOST_REMEMBERED:
                self._hosts = {name: host for name, host in self._hosts.items() if host.sending}

    def _may_go(self, host: _Host) -> bool:
        if host.proven:
            return _places(host) > 0
        unproven = sum(other.sending for other in self._hosts.values() if not other.proven)
        return host.sending < 1 and unproven < UNPROVEN_AT_ONCE


def _places(host: _Host | None) -> int:
    if host is None:
        return 1
    return (host.at_once if host.proven else 1) - host.sending


def _learn(host: _Host, *, ill: bool, quick: bool) -> None:
    host.proven = not ill
    host.failures = host.failures + 1 if ill else 0
    host.at_once = min(host.at_once + 1, MOST_AT_ONCE) if quick and not ill else AT_FIRST
    if ill:
        rest = min(FIRST_REST_S * 2.0 ** min(host.failures - 1, 10), LONGEST_REST_S)
        host.rests_until = time.monotonic() + rest
