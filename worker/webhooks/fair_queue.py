"""Fair queue of webhook receivers: a round robin of producers, and of the receivers of each producer.

A slow or dead receiver delays only itself, and a producer with many of them delays only its own messages.
"""

import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from cutout.webhooks.receivers import Receiver, Waiting

SENDERS = 48
# A receiver that answers gets two messages at a time, and one more after each quick answer: at 0.1 s, 24 at a
# time are more than 200 a second. No producer has more senders than are idle, so half of them at most.
AT_FIRST = 2
MOST_AT_ONCE = SENDERS // 2
# To a receiver that takes longer, more at a time would only wait there.
QUICK_S = 2.0
# Most senders that are used for receivers without a proof that they answer, in all and of one producer: so
# receivers that do answer find a free sender, however many dead addresses there are.
UNPROVEN_AT_ONCE = SENDERS // 3
UNPROVEN_OF_ONE = 4
# A producer without such a sender gets one all the same while this many senders are idle.
IDLE_FOR_THE_NEXT = SENDERS // 4
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0
# Per producer: receivers that are remembered, and receivers that wait for a turn.
MOST_REMEMBERED = 2000
MOST_QUEUED = 500


@dataclass(slots=True)
class _Host:
    sending: int = 0
    at_once: int = AT_FIRST
    proven: bool = False
    failures: int = 0
    delayed_until: float = 0.0

    @property
    def free_slots(self) -> int:
        return (self.at_once if self.proven else 1) - self.sending


@dataclass(slots=True)
class _Owner:
    """A producer's receivers; `queue` has those that wait for a turn, in order, each once."""

    queue: dict[str, None] = field(default_factory=dict)
    hosts: dict[str, _Host] = field(default_factory=dict)
    sending: int = 0
    unproven: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """A receiver whose turn it is, and whether it answered the last time."""

    receiver: Receiver
    proven: bool


class FairQueue:
    """Queue shared by the sender threads. A failing receiver is delayed between tries, for up to a minute.

    A receiver in the queue is assumed to have due messages, until a turn finds none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # In the order of their turns: the producer that had the last turn is the last one.
        self._owners: dict[uuid.UUID, _Owner] = {}
        self._sending = 0
        self._unproven = 0
        self._stopped = False

    def stop(self) -> None:
        """Give no more turns."""
        self._stopped = True

    def __len__(self) -> int:
        """The number of receivers that wait for a turn."""
        return sum(len(owner.queue) for owner in list(self._owners.values()))

    @property
    def wanted(self) -> int:
        """The number of further senders that would get a turn now; may be too high."""
        with self._lock:
            return sum(
                max(host.free_slots, 0) if (host := owner.hosts.get(name)) else 1
                for owner in self._owners.values()
                for name in owner.queue
            )

    def add(self, found: Iterable[Waiting]) -> None:
        """Queue these receivers, unless they are queued. What was learned here overrides their `proven`."""
        with self._lock:
            for receiver, proven in found:
                owner = self._owners.setdefault(receiver.owner, _Owner())
                owner.hosts.setdefault(receiver.host, _Host(proven=proven))
                if receiver.host in owner.queue or len(owner.queue) < MOST_QUEUED:
                    owner.queue.setdefault(receiver.host)

    def next(self) -> Turn | None:
        """The receiver whose turn it is, to be passed to `done`; None if none may be sent to now."""
        with self._lock:
            for owner_id in () if self._stopped else list(self._owners):
                owner = self._owners[owner_id]
                name = self._next_of(owner)
                if name is None:
                    continue
                self._owners[owner_id] = self._owners.pop(owner_id)
                host = owner.hosts[name]
                host.sending += 1
                self._count(owner, 1, proven=host.proven)
                return Turn(Receiver(owner_id, name), host.proven)
            return None

    def done(self, receiver: Receiver, *, failing: bool | None, more: bool, took_s: float = 0.0) -> None:
        """End a turn. `failing` is None if it was not contacted; `more` asks for another turn."""
        with self._lock:
            owner = self._owners[receiver.owner]
            host = owner.hosts[receiver.host]
            host.sending -= 1
            self._count(owner, -1, proven=host.proven)
            if failing is not None:
                was_proven = host.proven
                _learn(host, failing=failing, quick=took_s < QUICK_S)
                if host.proven != was_proven:
                    self._count_unproven(owner, -host.sending if host.proven else host.sending)
            if more:
                owner.queue.setdefault(receiver.host)
            else:
                owner.queue.pop(receiver.host, None)
            if len(owner.hosts) > MOST_REMEMBERED:
                owner.hosts = {
                    name: host for name, host in owner.hosts.items() if host.sending or name in owner.queue
                }

    def _next_of(self, owner: _Owner) -> str | None:
        if not owner.queue or owner.sending >= SENDERS - self._sending:
            return None
        now, may_be_new = time.monotonic(), self._may_be_unproven(owner)
        for _ in range(len(owner.queue)):
            name = next(iter(owner.queue))
            del owner.queue[name]
            host = owner.hosts[name]
            if host.delayed_until > now:
                # The search for receivers finds it again.
                continue
            owner.queue[name] = None
            if host.free_slots > 0 and (host.proven or may_be_new):
                return name
        return None

    def _may_be_unproven(self, owner: _Owner) -> bool:
        free = UNPROVEN_AT_ONCE - self._unproven
        if owner.unproven == 0:
            return free > 0 or SENDERS - self._sending > IDLE_FOR_THE_NEXT
        return owner.unproven < min(UNPROVEN_OF_ONE, free)

    def _count(self, owner: _Owner, change: int, *, proven: bool) -> None:
        owner.sending += change
        self._sending += change
        if not proven:
            self._count_unproven(owner, change)

    def _count_unproven(self, owner: _Owner, change: int) -> None:
        owner.unproven += change
        self._unproven += change


def _learn(host: _Host, *, failing: bool, quick: bool) -> None:
    host.proven = not failing
    host.failures = host.failures + 1 if failing else 0
    host.at_once = min(host.at_once + 1, MOST_AT_ONCE) if quick and not failing else AT_FIRST
    if failing:
        delay = min(FIRST_DELAY_S * 2.0 ** min(host.failures - 1, 10), LONGEST_DELAY_S)
        host.delayed_until = time.monotonic() + delay
