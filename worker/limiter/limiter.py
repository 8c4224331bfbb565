"""One limit for all workers of an account: calls per second and calls in flight, kept and learned in Redis.

A slot is waited for in order and reserves its turn: the caller sleeps until then, and asks once more right
before the first byte. All times are the Redis server's. What is learned and how: limiter.lua.
"""

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import redis

log = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("limiter.lua").read_text(encoding="utf-8")
MICROSECONDS = 1_000_000
# A worker that died holds its slots for so long; a living one says every RENEW_S that its calls are open.
LEASE_S = 10.0
RENEW_S = 3.0
# So long a slot is renewed before its call is known to go out: whoever cannot write the call down by then has
# lost it, and the others wait no longer than this and a lease.
BEGIN_WITHIN_S = 5.0
# After Redis lost its state, time for every worker to say which calls it has open.
REST_AFTER_LOSS_S = 4.0
# A sent call counts for so much longer than the window: what the network may delay one more than a later one.
GUARD_S = 0.005
FIRST_LEVEL = 3.0
# A slot is given so long before its turn, for what has to be written down between the two.
LEAD_S = 0.1
# Past its turn, a call waits no longer for room in its second.
SEND_WITHIN_S = 5.0
# A permission that was asked for so long ago is asked for anew; limiter.lua counts it for longer.
PERMISSION_S = 1.0
# Sent calls are told to Redis with the next command, or within this; sooner than they would no longer count.
TELL_SENT_S = 0.25
NO_CEILING = 10_000


class LimiterError(Exception):
    """No slot: the caller must not call now."""


class LimitReached(LimiterError):  # noqa: N818 - an answer, not a fault
    """The wait would be longer than the caller is willing; come back in `retry_in_s` seconds."""

    def __init__(self, retry_in_s: float) -> None:
        super().__init__(f"the limit is reached for another {retry_in_s:.1f} s")
        self.retry_in_s = retry_in_s


class LimiterAway(LimiterError):  # noqa: N818 - an answer, not a fault
    """Redis does not answer; calling without it could break the limit."""


class SlotLapsed(LimiterError):  # noqa: N818 - an answer, not a fault
    """The slot was held for too long without a call; another may have it now."""


class Ending(StrEnum):
    """What a call's end says about the limit."""

    OK = "ok"
    """The endpoint answered, whatever it thought of the picture."""
    SLOW = "slow"
    """Too fast."""
    FLOW = "flow"
    """Too fast together with strangers; believed if it lasts for more than a second."""
    FAILED = "failed"
    """The endpoint itself is at fault, or does not answer: a run of these opens the circuit."""
    UNUSED = "unused"
    """No call went out."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What is never exceeded, whatever is learned; None where only learning decides."""

    calls_per_second: float | None = None
    calls_in_flight: int | None = None

    @property
    def most(self) -> int:
        """The most calls open at once."""
        return self.calls_in_flight or NO_CEILING

    @property
    def calls_in_window(self) -> int:
        """The most calls sent in any window; 0 without a ceiling on the rate."""
        return math.ceil(self.calls_per_second or 0)

    @property
    def window_s(self) -> float:
        """The window's length: a second, or longer where the rate is no whole number."""
        return self.calls_in_window / self.calls_per_second if self.calls_per_second else 0.0

    @property
    def known(self) -> bool:
        """Whether somebody knows the limit, so that nothing need be found out."""
        return self.calls_per_second is not None and self.calls_in_flight is not None

    @property
    def first_level(self) -> float:
        """The calls allowed open before anything is learned."""
        return self.most if self.known else min(FIRST_LEVEL, self.most)


@dataclass(frozen=True, slots=True)
class Learned:
    """What a lost state is restored from: calls allowed open, and the ceiling found; None is not known yet.

    `open_calls` says whether calls may be open now that a new state would not know of.
    """

    level: float | None
    top: float | None
    open_calls: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """The limit as it stands; seconds, calls, and counts since the state began.

    `level` calls may be open and `open_calls` are; `waiting` callers wait. `top` is the ceiling found, None
    before the first slow answer. `rest_s` and `circuit_s` say for how long no call goes out, 0 if any may.
    """

    level: float
    top: float | None
    open_calls: int
    waiting: int
    latency_s: float
    prepare_s: float
    begun: int
    slow: int
    rest_s: float
    circuit_s: float
    slow_ago_s: float | None


class Slot:
    """A call that may go out now. Say how it ended; whether the circuit is open then is known afterwards."""

    def __init__(self, limiter: "Limiter", caller: str, taken_at: int, turn_at: float) -> None:
        self.caller = caller
        self.taken_at = taken_at
        self.circuit_is_open = False
        self.sent_at: float | None = None
        """When its first byte had gone out, monotonic."""
        self._limiter = limiter
        self._turn_at = turn_at
        self._permitted_at: float | None = None
        self._ending: tuple[Ending, float, str] = (Ending.UNUSED, 0.0, "")

    def keep(self) -> None:
        """Hold the slot until it is given back: the call is written down and goes out. Raises SlotLapsed."""
        self._limiter.keep(self.caller)

    def await_turn(self) -> None:
        """Wait until shortly before the call may be sent."""
        time.sleep(max(self._turn_at - time.monotonic(), 0.0))

    def await_permission(self) -> None:
        """Wait until the call may be sent, at once: all must be ready but its first byte.

        Raises LimitReached and LimiterAway.
        """
        self._permitted_at = self._limiter.await_permission(self.caller)

    def sent(self) -> None:
        """Say that the first byte has gone out: the call counts for a second from now."""
        self.sent_at = time.monotonic()
        if self._permitted_at is not None:
            self._limiter.note_sent(self.caller, self.sent_at - self._permitted_at)
            self._permitted_at = None

    def ended(
        self, ending: Ending, *, took_s: float = 0.0, rest_s: float | None = None, job: object = ""
    ) -> None:
        """Say how the call ended: OK after `took_s` seconds, 0 if they tell nothing; SLOW or FLOW with the
        rest that the endpoint asked for; FAILED with whose call it was.
        """
        self._ending = (ending, took_s or rest_s or 0.0, str(job))

    def as_arguments(self) -> list[int | str]:
        """What give_back needs. A call that was permitted and broke off counts as sent by now."""
        if self._permitted_at is not None:
            self.sent()
        ending, figure, job = self._ending
        return [self.caller, self.taken_at, ending, int(figure * MICROSECONDS), job]


class Limiter:
    """The limit of one account. Safe to share between threads."""

    def __init__(
        self, client: "redis.Redis", name: str, ceilings: Ceilings, recall: Callable[[], Learned | None]
    ) -> None:
        """`name` separates accounts. `recall` says what was learned, where Redis does not know."""
        self._client = client
        # Each account has a script of its own, so that each notices a server that does not know it.
        self._script = client.register_script(f"{SCRIPT}\n-- {name!r}\n")
        # One hash tag: a cluster holds all keys of an account in one place.
        self._keys = [f"{{{name}}}:{part}" for part in ("state", "open", "waiting", "asked", "sent")]
        self._ceilings = ceilings
        self._recall = recall
        # Until when each is renewed, monotonic.
        self._open: dict[str, float] = {}
        # Callers with the microseconds from asking for permission to the first byte.
        self._sent: list[tuple[str, int]] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._keeper: threading.Thread | None = None

    @contextmanager
    def slot(self, *, longest_wait_s: float, prepared_s: float = -1.0) -> Iterator[Slot]:
        """Wait for a slot and hold it while the context lasts. In it, await the turn, say how the call ended.

        Raises LimitReached rather than wait longer than `longest_wait_s`, LimiterAway without Redis.
        `prepared_s` is how long the caller took to get here, which tells how many callers keep a slot busy.
        """
        slot = self._take(time.monotonic() + longest_wait_s, prepared_s)
        try:
            yield slot
        finally:
            self._give_back(slot)

    def look(self) -> Figures | None:
        """The limit as it stands, None if nothing is known. Raises LimiterAway."""
        answer = self._ask("look")
        if not answer:
            return None
        level, top, climbs, open_calls, waiting, latency, prepare, begun, slow, rest, circuit, slow_ago = map(
            float, answer
        )
        return Figures(
            level=level,
            top=None if climbs else top,
            open_calls=int(open_calls),
            waiting=int(waiting),
            latency_s=latency / MICROSECONDS,
            prepare_s=prepare / MICROSECONDS,
            begun=int(begun),
            slow=int(slow),
            rest_s=rest / MICROSECONDS,
            circuit_s=circuit / MICROSECONDS,
            slow_ago_s=None if slow_ago < 0 else slow_ago / MICROSECONDS,
        )

    def close(self) -> None:
        """Say no more that calls are open."""
        self._closed.set()

    def keep(self, caller: str) -> None:
        """Renew the caller's slot until it is given back. Raises SlotLapsed."""
        with self._lock:
            if self._open[caller] < time.monotonic():
                raise SlotLapsed(f"no call went out within {BEGIN_WITHIN_S:.0f} s of its slot's turn")
            self._open[caller] = math.inf

    def await_permission(self, caller: str) -> float | None:
        """Wait until the caller may send; returns when it asked, None without a ceiling on the rate."""
        if not self._ceilings.calls_in_window:
            return None
        deadline = time.monotonic() + SEND_WITHIN_S
        while True:
            asked_at = time.monotonic()
            match self._ask("send", caller, int(LEASE_S * MICROSECONDS)):
                case [1, _]:
                    if time.monotonic() - asked_at < PERMISSION_S:
                        return asked_at
                case [0, wait]:
                    wait_s = wait / MICROSECONDS
                    if time.monotonic() + wait_s > deadline:
                        raise LimitReached(wait_s)
                    time.sleep(wait_s)
                case _:
                    self._restore()

    def note_sent(self, caller: str, late_s: float) -> None:
        """Tell Redis soon that the caller's first byte went out so long after permission was asked for."""
        with self._lock:
            self._sent.append((caller, math.ceil(late_s * MICROSECONDS)))

    def _take(self, deadline: float, prepared_s: float) -> Slot:
        caller = uuid.uuid4().hex
        lease, prepared = int(LEASE_S * MICROSECONDS), int(prepared_s * MICROSECONDS)
        while True:
            patience = int(max(deadline - time.monotonic(), 0.0) * MICROSECONDS)
            answer = self._ask("take", caller, patience, lease, prepared)
            match answer:
                case [1, wait, taken_at]:
                    turn_at = time.monotonic() + wait / MICROSECONDS
                    self._renew(caller, until=turn_at + BEGIN_WITHIN_S)
                    time.sleep(max(wait / MICROSECONDS - LEAD_S, 0.0))
                    return Slot(self, caller, taken_at, turn_at)
                case [0, wait]:
                    time.sleep(wait / MICROSECONDS)
                case [-1, wait]:
                    raise LimitReached(wait / MICROSECONDS)
                case _:
                    self._restore()

    def _give_back(self, slot: Slot) -> None:
        """Free the slot, and learn from its call's end. Without Redis it is free once its lease is over."""
        with self._lock:
            self._open.pop(slot.caller, None)
        arguments = slot.as_arguments()
        with suppress(redis.RedisError):
            slot.circuit_is_open = bool(self._run("give_back", *arguments))

    def _restore(self) -> None:
        """Redis has lost the state, or never had one."""
        learned = self._recall()
        rest = 0.0
        if learned:
            # Whatever was sent before is no longer of this second then.
            rest = max(self._ceilings.window_s + GUARD_S, REST_AFTER_LOSS_S if learned.open_calls else 0.0)
        level, top = (learned.level, learned.top) if learned else (None, None)
        first, most = self._ceilings.first_level, self._ceilings.most
        if level is not None and top is not None:
            begin: tuple[float, float, int] = (level, top, 0)
        elif self._ceilings.known:
            begin = (first, most, 0)
        else:
            begin = (max(level or first, first), most, 1)
        self._ask("restore", *begin, int(rest * MICROSECONDS))

    def _renew(self, caller: str, *, until: float) -> None:
        with self._lock:
            self._open[caller] = until
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep_open, name="slots", daemon=True)
                self._keeper.start()

    def _keep_open(self) -> None:
        renewed = time.monotonic()
        while not self._closed.wait(min(RENEW_S, TELL_SENT_S)):
            if time.monotonic() - renewed >= RENEW_S:
                renewed = time.monotonic()
                self._renew_open()
            elif self._sent:
                with suppress(redis.RedisError):
                    self._run("sent")

    def _renew_open(self) -> None:
        # Under the lock: a slot given back meanwhile must not come alive again.
        with self._lock:
            now = time.monotonic()
            if held := [caller for caller, until in self._open.items() if until >= now]:
                with suppress(redis.RedisError):
                    self._run_with("renew", "", int(LEASE_S * MICROSECONDS), *held)

    def _ask(self, command: str, *arguments: float | str) -> Any:
        try:
            return self._run(command, *arguments)
        except redis.RedisError as error:
            raise LimiterAway(f"Redis does not answer ({type(error).__name__})") from error

    def _run(self, command: str, *arguments: float | str) -> Any:
        with self._lock:
            sent, self._sent = self._sent, []
        try:
            told = " ".join(f"{caller}:{late}" for caller, late in sent)
            return self._run_with(command, told, *arguments)
        except redis.RedisError:
            with self._lock:
                self._sent += sent
            raise

    def _run_with(self, command: str, told: str, *arguments: float | str) -> Any:
        ceilings = self._ceilings
        window = int(ceilings.window_s * MICROSECONDS)
        words = [ceilings.most, ceilings.calls_in_window, window, told, *arguments]
        try:
            return self._evaluate(command, *words)
        except redis.exceptions.NoScriptError:
            self._client.script_load(self._script.script)
            self._evaluate("met", *words[:3], "")
            return self._evaluate(command, *words)

    def _evaluate(self, command: str, *words: float | str) -> Any:
        return self._client.evalsha(self._script.sha, len(self._keys), *self._keys, command, *words)
