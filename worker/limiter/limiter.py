"""The limit of one account for all workers: calls per second and calls in flight, learned and kept in Redis.

Callers get slots in order, each with the time of its turn: a caller sleeps until then, and asks for
permission right before the first byte. All times are by the Redis server's clock. limiter.lua learns.
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
# A worker that died holds its slots for so long; a living one renews those of its open calls every RENEW_S.
LEASE_S = 10.0
RENEW_S = 3.0
# A slot is renewed for so long before its call is recorded: a caller that cannot record it by then has lost
# the slot, and the others wait no longer than this and a lease.
BEGIN_WITHIN_S = 5.0
# Pause after Redis lost its state: every worker renews its open calls within it.
PAUSE_AFTER_LOSS_S = 4.0
# A sent call counts for so much longer than the window, since the network may delay a later call less.
GUARD_S = 0.005
FIRST_LEVEL = 3.0
# A slot is given so long before its turn: the attempt is recorded between the two.
LEAD_S = 0.1
# Longest wait for permission after the turn.
SEND_WITHIN_S = 5.0
# A permission whose answer took longer is asked for again; limiter.lua counts it for longer.
PERMISSION_S = 1.0
# Redis learns of sent calls with the next command, or within this, which is before they stop to count.
REPORT_SENT_S = 0.25
NO_CEILING = 10_000


class LimiterError(Exception):
    """There is no slot: the caller must not call now."""


class LimitReached(LimiterError):  # noqa: N818 - an answer, not a fault
    """The wait would be longer than the caller accepts; try again in `retry_in_s` seconds."""

    def __init__(self, retry_in_s: float) -> None:
        super().__init__(f"the limit is reached for another {retry_in_s:.1f} s")
        self.retry_in_s = retry_in_s


class LimiterAway(LimiterError):  # noqa: N818 - an answer, not a fault
    """Redis does not answer; a call without it could break the limit."""


class SlotLapsed(LimiterError):  # noqa: N818 - an answer, not a fault
    """The slot was held for too long without a call; another may have it now."""


class LimiterFeedback(StrEnum):
    """Feedback of a call's end for the limit."""

    OK = "ok"
    """The endpoint answered, whether it accepted the picture or not."""
    SLOW = "slow"
    """The endpoint says that calls come too fast."""
    FLOW = "flow"
    """Calls come too fast together with those of other customers; believed if it lasts more than a second."""
    FAILED = "failed"
    """The endpoint fails or does not answer: several in a row open the circuit."""
    UNUSED = "unused"
    """No call went out."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Bounds that are never exceeded, whatever is learned; None where only learning decides."""

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
        """Whether both bounds are given, so that nothing has to be learned."""
        return self.calls_per_second is not None and self.calls_in_flight is not None

    @property
    def first_level(self) -> float:
        """The number of calls that may be open before anything is learned."""
        return self.most if self.known else min(FIRST_LEVEL, self.most)


@dataclass(frozen=True, slots=True)
class Learned:
    """A lost state as far as it is known: calls that may be open, and the ceiling found; None if unknown.

    `open_calls` says whether calls may be open that a new state does not count.
    """

    level: float | None
    top: float | None
    open_calls: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """The state of the limit now; times in seconds, and counts since the state began.

    `level` calls may be open and `open_calls` are; `waiting` callers wait. `top` is the ceiling found, None
    before the first slow answer. For `rest_s` and `circuit_s` seconds no call goes out; 0 if calls may.
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
    """A slot for one call. Report the call's end with `ended`.

    `circuit_is_open` is known once the slot is given back.
    """

    def __init__(self, limiter: "Limiter", caller: str, taken_at: int, turn_at: float) -> None:
        self.caller = caller
        self.taken_at = taken_at
        self.circuit_is_open = False
        self.sent_at: float | None = None
        """Time at which its first byte had gone out (monotonic)."""
        self._limiter = limiter
        self._turn_at = turn_at
        self._permitted_at: float | None = None
        self._feedback: tuple[LimiterFeedback, float] = (LimiterFeedback.UNUSED, 0.0)
        self._job = ""

    def keep(self) -> None:
        """Keep the slot until it is given back, once the attempt is recorded. Raises SlotLapsed."""
        self._limiter.keep(self.caller)

    def await_turn(self) -> None:
        """Wait until shortly before the call may be sent."""
        time.sleep(max(self._turn_at - time.monotonic(), 0.0))

    def await_permission(self) -> None:
        """Wait until the call may be sent, which must follow at once: all but its first byte must be ready.

        Raises LimitReached and LimiterAway.
        """
        self._permitted_at = self._limiter.await_permission(self.caller)

    def sent(self) -> None:
        """Note that the first byte has gone out: the call counts for a second from now."""
        self.sent_at = time.monotonic()
        if self._permitted_at is not None:
            self._limiter.note_sent(self.caller, self.sent_at - self._permitted_at)
            self._permitted_at = None

    def ended(
        self,
        feedback: LimiterFeedback,
        *,
        took_s: float = 0.0,
        rest_s: float | None = None,
        job: object = None,
    ) -> None:
        """Report the call's end; the last report counts.

        OK comes with the duration, 0 if that says nothing; SLOW and FLOW with the pause that the endpoint
        asked for; FAILED with the job, unless an earlier report named it.
        """
        self._feedback = (feedback, took_s or rest_s or 0.0)
        if job is not None:
            self._job = str(job)

    def as_arguments(self) -> list[int | str]:
        """Arguments of `give_back`. A call that was permitted and broke off counts as sent now."""
        if self._permitted_at is not None:
            self.sent()
        feedback, figure = self._feedback
        return [self.caller, self.taken_at, feedback, int(figure * MICROSECONDS), self._job]


class Limiter:
    """The limit of one account. Safe to share between threads."""

    def __init__(
        self, client: "redis.Redis", name: str, ceilings: Ceilings, recall: Callable[[], Learned | None]
    ) -> None:
        """Make the limit of the account `name`. `recall` gives what was learned if Redis has lost it."""
        self._client = client
        # Each account has a script of its own, so that each detects a server that does not have it.
        self._script = client.register_script(f"{SCRIPT}\n-- {name!r}\n")
        # One hash tag: a cluster holds all keys of an account on one node.
        self._keys = [f"{{{name}}}:{part}" for part in ("state", "open", "waiting", "asked", "sent")]
        self._ceilings = ceilings
        self._recall = recall
        # Open slots by caller, each with the time until which it is renewed (monotonic).
        self._open: dict[str, float] = {}
        # Callers with the microseconds from the request for permission to the first byte.
        self._sent: list[tuple[str, int]] = []
        self._lock, self._meeting = threading.Lock(), threading.Lock()
        self._closed = threading.Event()
        self._renewer: threading.Thread | None = None

    @contextmanager
    def slot(self, *, longest_wait_s: float, prepared_s: float = -1.0) -> Iterator[Slot]:
        """Wait for a slot and hold it while the context lasts; in it, await the turn and report the end.

        Raises LimitReached rather than wait longer than `longest_wait_s`, and LimiterAway without Redis.
        `prepared_s` is the time that the caller took to get here; it tells how many callers keep a slot busy.
        """
        slot = self._take(time.monotonic() + longest_wait_s, prepared_s)
        try:
            yield slot
        finally:
            self._give_back(slot)

    def read(self) -> Figures | None:
        """Read the state of the limit; None if nothing is known. Raises LimiterAway."""
        answer = self._ask("read")
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
        """Renew no slots any more."""
        self._closed.set()

    def keep(self, caller: str) -> None:
        """Renew the caller's slot until it is given back. Raises SlotLapsed."""
        with self._lock:
            if self._open[caller] < time.monotonic():
                raise SlotLapsed(f"no call went out within {BEGIN_WITHIN_S:.0f} s of its slot's turn")
            self._open[caller] = math.inf

    def await_permission(self, caller: str) -> float | None:
        """Wait until the caller may send; the time at which it asked, None without a ceiling on the rate."""
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
        """Report to Redis soon that the first byte went out `late_s` after the request for permission."""
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
        """Free the slot, and learn from the call's end. Without Redis it is free once its lease is over."""
        with self._lock:
            self._open.pop(slot.caller, None)
        arguments = slot.as_arguments()
        with suppress(redis.RedisError):
            slot.circuit_is_open = bool(self._run("give_back", *arguments))

    def _restore(self) -> None:
        """Restore the state, which Redis has lost or never had."""
        learned = self._recall()
        pause_s = 0.0
        if learned:
            # After the pause, no call sent before counts in the window any more.
            pause_s = max(
                self._ceilings.window_s + GUARD_S, PAUSE_AFTER_LOSS_S if learned.open_calls else 0.0
            )
        level, top = (learned.level, learned.top) if learned else (None, None)
        first, most = self._ceilings.first_level, self._ceilings.most
        if level is not None and top is not None:
            begin: tuple[float, float, int] = (level, top, 0)
        elif self._ceilings.known:
            begin = (first, most, 0)
        else:
            begin = (max(level or first, first), most, 1)
        self._ask("restore", *begin, int(pause_s * MICROSECONDS))

    def _renew(self, caller: str, *, until: float) -> None:
        with self._lock:
            self._open[caller] = until
            if self._renewer is None:
                self._renewer = threading.Thread(target=self._renew_regularly, name="slots", daemon=True)
                self._renewer.start()

    def _renew_regularly(self) -> None:
        renewed = time.monotonic()
        while not self._closed.wait(min(RENEW_S, REPORT_SENT_S)):
            if time.monotonic() - renewed >= RENEW_S:
                renewed = time.monotonic()
                self._renew_open()
            elif self._sent:
                with suppress(redis.RedisError):
                    self._run("sent")

    def _renew_open(self) -> None:
        # Under the lock: a slot given back meanwhile must not be renewed.
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
            sent_calls = " ".join(f"{caller}:{late}" for caller, late in sent)
            return self._run_with(command, sent_calls, *arguments)
        except redis.RedisError:
            with self._lock:
                self._sent += sent
            raise

    def _run_with(self, command: str, sent_calls: str, *arguments: float | str) -> Any:
        ceilings = self._ceilings
        window = int(ceilings.window_s * MICROSECONDS)
        values = [ceilings.most, ceilings.calls_in_window, window, sent_calls, *arguments]
        try:
            return self._evaluate(command, *values)
        except redis.exceptions.NoScriptError:
            with self._meeting:
                # One pause for all threads that meet it: a later one would stop calls on a state that the
                # first thread has begun, which is not old.
                if not self._client.script_exists(self._script.sha)[0]:
                    self._client.script_load(self._script.script)
                    self._evaluate("met", *values[:3], "")
            return self._evaluate(command, *values)

    def _evaluate(self, command: str, *values: float | str) -> Any:
        return self._client.evalsha(self._script.sha, len(self._keys), *self._keys, command, *values)
