"""The killer: strikes processes and servers as planned, and remembers what was in flight then."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis
from sqlalchemy import Connection, text

from local import Child
from local.server import Server
from tests.soak.lines import WITH_LINES, WorkerLines
from tests.soak.places import Place
from tests.soak.plan import Kind, Strike
from tests.soak.system import System
from tests.support.proxy import Mode, Proxy
from tests.support.read_only import read_only

# A statement that was on its way when its worker was struck is done by then; a rescue comes later.
COUNT_AFTER_S = 1.0
STRIKES_AT_ONCE = 16
LOOK_S = 0.05

OPEN_CALLS = text(
    "SELECT count(*) FROM attempts WHERE ended_at IS NULL AND worker_id ="
    " (SELECT id FROM workers WHERE pid = :pid ORDER BY started_at DESC LIMIT 1)"
)


@dataclass(frozen=True)
class Struck:
    """A strike that was carried out: `at_s` seconds after the start, the calls that were in doubt by it."""

    at_s: float
    kind: Kind
    target: str
    in_flight: int = 0


class Killer:
    """Whatever it stops, it starts again."""

    def __init__(self, system: System, strikes: Sequence[Strike]) -> None:
        self._system = system
        self._strikes = strikes
        self._locks = {kind: threading.Lock() for kind in ("Postgres", "Redis", "bucket", "results")}
        self._began = time.monotonic()
        self.struck: list[Struck] = []
        self.wrong: list[str] = []

    def run(self, stopping: threading.Event) -> None:
        """Strike as planned, each strike in a thread of its own; raises what went wrong with a server."""
        self._began = time.monotonic()
        with ThreadPoolExecutor(STRIKES_AT_ONCE) as pool:
            carried_out = []
            for strike in self._strikes:
                if stopping.wait(max(self._began + strike.at_s - time.monotonic(), 0.0)):
                    break
                carried_out.append(pool.submit(self._strike, strike))
        for strike_done in carried_out:
            strike_done.result()

    def _strike(self, strike: Strike) -> None:
        STRIKES[strike.kind](self, strike)

    def _kill_worker(self, strike: Strike) -> None:
        self._kill_process(strike, self._system.workers)

    def _kill_dispatcher(self, strike: Strike) -> None:
        self._kill_process(strike, self._system.dispatchers)

    def _kill_api(self, strike: Strike) -> None:
        self._kill_process(strike, self._system.apis)

    def _kill_ingester(self, strike: Strike) -> None:
        self._kill_process(strike, self._system.ingesters)

    def _kill_redis(self, strike: Strike) -> None:
        self._kill_server(strike, "Redis", self._system.services.valkey)

    def _kill_postgres(self, strike: Strike) -> None:
        self._kill_server(strike, "Postgres", self._system.services.postgres)

    def _kill_bucket(self, strike: Strike) -> None:
        self._kill_server(strike, "bucket", self._system.services.seaweed)

    def _cut_off_from_postgres(self, strike: Strike) -> None:
        self._cut_off(strike, lambda lines: lines.postgres)

    def _cut_off_from_bucket(self, strike: Strike) -> None:
        self._cut_off(strike, lambda lines: lines.bucket)

    def _kill_process(self, strike: Strike, places: Sequence[Place]) -> None:
        with _one_of(places, strike.which) as place:
            at_s, pid, name = self._now(), place.child.pid, _log_name(place.child)
            place.child.kill()
            in_flight = self._open_calls(pid)
            self._note(at_s, strike, name, in_flight)
            place.follow()

    def _freeze_worker(self, strike: Strike) -> None:
        with _one_of(self._system.workers, strike.which) as place:
            at_s, pid = self._now(), place.child.pid
            if pid is None:
                self._note(at_s, strike, f"{_log_name(place.child)}, which had ended")
                return
            with _frozen(pid, strike.seconds):
                self._note(at_s, strike, _log_name(place.child), self._open_calls(pid))

    def _replace_worker(self, strike: Strike) -> None:
        with _one_of(self._system.workers, strike.which) as place:
            at_s, pid, at_work = self._now(), place.child.pid, place.at_work
            before = place.follow()
        before.stop()
        # None, unless Postgres was away for longer than it could wait.
        self._note(at_s, strike, _log_name(before), self._open_calls(pid))
        if before.exit_code and at_work:
            self.wrong.append(f"{_log_name(before)} ended with code {before.exit_code} after SIGTERM")

    def _kill_server(self, strike: Strike, name: str, server: Server | None) -> None:
        assert server is not None
        with self._locks[name]:
            at_s = self._now()
            server.kill()
            time.sleep(strike.seconds)
            server.start()
            self._note(at_s, strike, f"{name}, away for {self._now() - at_s:.1f} s")

    def _freeze_bucket(self, strike: Strike) -> None:
        server = self._system.services.seaweed
        with self._locks["bucket"]:
            assert server is not None
            assert server.pid is not None
            self._note(self._now(), strike, f"bucket, for {strike.seconds:.1f} s")
            with _frozen(server.pid, strike.seconds):
                pass

    def _take_no_writes(self, strike: Strike) -> None:
        with self._locks["Postgres"]:
            self._note(self._now(), strike, f"Postgres, for {strike.seconds:.1f} s")
            with read_only(self._system.engine):
                time.sleep(strike.seconds)

    def _cut_off(self, strike: Strike, line: Callable[[WorkerLines], Proxy]) -> None:
        """Refused or, every other time, only silent."""
        mode = Mode.STALL if strike.which * 1000 % 2 < 1 else Mode.REFUSE
        with _one_of(self._system.workers[:WITH_LINES], strike.which) as place:
            at_s, pid = self._now(), place.child.pid
            proxy = line(self._system.lines.workers[self._system.workers.index(place)])
            proxy.set(mode)
            try:
                begun = time.monotonic()
                in_flight = self._open_calls(pid) if strike.kind is Kind.WORKER_WITHOUT_POSTGRES else 0
                time.sleep(max(strike.seconds - (time.monotonic() - begun), 0.0))
            finally:
                proxy.set(Mode.PASS)
            self._note(at_s, strike, f"{_log_name(place.child)}, {mode} {strike.seconds:.1f} s", in_flight)

    def _refuse_results(self, strike: Strike) -> None:
        with self._locks["results"]:
            self._note(self._now(), strike, f"results, for {strike.seconds:.1f} s")
            self._system.lines.results.set(Mode.REFUSE)
            time.sleep(strike.seconds)
            self._system.lines.results.set(Mode.PASS)

    def _kill_decoders(self, strike: Strike) -> None:
        """As a picture would that crashes its decoder."""
        with _one_of(self._system.workers, strike.which) as place:
            ended = 0
            for pid in _decoders_of(place.child.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSEGV)
                    ended += 1
            self._note(self._now(), strike, f"{ended} of {_log_name(place.child)}")

    def _empty_redis(self, strike: Strike) -> None:
        with self._locks["Redis"]:
            _patiently(self._system.redis.flushall)
            self._note(self._now(), strike, "Redis")

    def _open_calls(self, pid: int | None) -> int:
        """How many calls a worker that was just struck had begun and not ended."""
        if pid is None:
            return 0
        time.sleep(COUNT_AFTER_S)

        def count(connection: Connection) -> int:
            return int(connection.execute(OPEN_CALLS, {"pid": pid}).scalar_one())

        return self._system.ask(count)

    def _note(self, at_s: float, strike: Strike, target: str, in_flight: int = 0) -> None:
        self.struck.append(Struck(at_s, strike.kind, target, in_flight))

    def _now(self) -> float:
        return time.monotonic() - self._began


STRIKES: dict[Kind, Callable[[Killer, Strike], None]] = {
    Kind.WORKER_KILLED: Killer._kill_worker,
    Kind.WORKER_FROZEN: Killer._freeze_worker,
    Kind.WORKER_REPLACED: Killer._replace_worker,
    Kind.DISPATCHER_KILLED: Killer._kill_dispatcher,
    Kind.REDIS_KILLED: Killer._kill_redis,
    Kind.REDIS_EMPTIED: Killer._empty_redis,
    Kind.POSTGRES_KILLED: Killer._kill_postgres,
    Kind.BUCKET_KILLED: Killer._kill_bucket,
    Kind.BUCKET_FROZEN: Killer._freeze_bucket,
    Kind.POSTGRES_READ_ONLY: Killer._take_no_writes,
    Kind.WORKER_WITHOUT_POSTGRES: Killer._cut_off_from_postgres,
    Kind.WORKER_WITHOUT_BUCKET: Killer._cut_off_from_bucket,
    Kind.RESULTS_REFUSED: Killer._refuse_results,
    Kind.DECODER_KILLED: Killer._kill_decoders,
    Kind.API_KILLED: Killer._kill_api,
    Kind.INGESTER_KILLED: Killer._kill_ingester,
}


@contextmanager
def _one_of(places: Sequence[Place], which: float) -> Iterator[Place]:
    """The place that was drawn, or the next that is at work and that nobody strikes; locked."""
    first = int(which * len(places))
    in_turn = [*places[first:], *places[:first]]
    while True:
        for place in sorted(in_turn, key=lambda place: not place.at_work):
            if place.lock.acquire(blocking=False):
                try:
                    yield place
                finally:
                    place.lock.release()
                return
        time.sleep(LOOK_S)


def _decoders_of(worker: int | None) -> list[int]:
    """The processes that decode pictures for a worker."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == worker and b"prepare_child" in (each / "cmdline").read_bytes():
                found.append(int(each.name))
    return found


@contextmanager
def _frozen(pid: int, seconds: float) -> Iterator[None]:
    """Stop the process, and let it go on after `seconds`, come what may."""
    ends_at = time.monotonic() + seconds
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
        time.sleep(max(ends_at - time.monotonic(), 0.0))
    finally:
        # It is gone if the soak was broken off.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _patiently(work: Callable[[], object]) -> None:
    while True:
        try:
            work()
        except redis.RedisError:
            time.sleep(LOOK_S)
        else:
            return


def _log_name(child: Child) -> str:
    return child.log.parent.name if child.log else child.command[-1]
