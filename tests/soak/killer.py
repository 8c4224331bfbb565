"""The killer: strikes processes and servers as planned, and remembers what it struck when."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from local import Child
from local.server import Server
from tests.soak.lines import WITH_LINES, WorkerLines
from tests.soak.places import Place
from tests.soak.plan import Kind, Strike
from tests.soak.struck import Struck
from tests.soak.system import System
from tests.support.proxy import Mode, Proxy
from tests.support.read_only import read_only

STRIKES_AT_ONCE = 16
LOOK_S = 0.05


class Killer:
    """Whatever it stops, it starts again."""

    def __init__(self, system: System, strikes: Sequence[Strike]) -> None:
        self._system = system
        self._strikes = strikes
        self._locks = {kind: threading.Lock() for kind in ("Postgres", "Redis", "bucket", "results")}
        self._began = time.monotonic()
        self._began_at = time.time()
        self.struck: list[Struck] = []
        self.wrong: list[str] = []

    def run(self, stopping: threading.Event) -> None:
        """Strike as planned, each strike in a thread of its own; raises what went wrong with a server."""
        self._began, self._began_at = time.monotonic(), time.time()
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
            began_at, pid, name = time.time(), place.child.pid, _log_name(place.child)
            place.child.kill()
            self._note(began_at, strike, name, pid)
            place.follow()

    def _freeze_worker(self, strike: Strike) -> None:
        with _one_of(self._system.workers, strike.which) as place:
            began_at, pid = time.time(), place.child.pid
            if pid is None:
                self._note(began_at, strike, f"{_log_name(place.child)}, which had ended")
                return
            with _frozen(pid, strike.seconds):
                pass
            self._note(began_at, strike, _log_name(place.child), pid)

    def _replace_worker(self, strike: Strike) -> None:
        with _one_of(self._system.workers, strike.which) as place:
            began_at, pid, at_work = time.time(), place.child.pid, place.at_work
            before = place.follow()
        before.stop()
        self._note(began_at, strike, _log_name(before), pid)
        if before.exit_code and at_work:
            self.wrong.append(f"{_log_name(before)} ended with code {before.exit_code} after SIGTERM")

    def _kill_server(self, strike: Strike, name: str, server: Server | None) -> None:
        assert server is not None
        with self._locks[name]:
            began_at = time.time()
            server.kill()
            time.sleep(strike.seconds)
            server.start()
            self._note(began_at, strike, f"{name}, away for {time.time() - began_at:.1f} s")

    def _freeze_bucket(self, strike: Strike) -> None:
        server = self._system.services.seaweed
        with self._locks["bucket"]:
            assert server is not None
            assert server.pid is not None
            began_at = time.time()
            with _frozen(server.pid, strike.seconds):
                pass
            self._note(began_at, strike, f"bucket, for {strike.seconds:.1f} s")

    def _take_no_writes(self, strike: Strike) -> None:
        with self._locks["Postgres"]:
            began_at = time.time()
            with read_only(self._system.engine):
                time.sleep(strike.seconds)
            self._note(began_at, strike, f"Postgres, for {strike.seconds:.1f} s")

    def _cut_off(self, strike: Strike, line: Callable[[WorkerLines], Proxy]) -> None:
        """Refused or, every other time, only silent."""
        mode = Mode.STALL if strike.which * 1000 % 2 < 1 else Mode.REFUSE
        with _one_of(self._system.workers[:WITH_LINES], strike.which) as place:
            began_at, pid = time.time(), place.child.pid
            proxy = line(self._system.lines.workers[self._system.workers.index(place)])
            proxy.set(mode)
            try:
                time.sleep(strike.seconds)
            finally:
                proxy.set(Mode.PASS)
            self._note(began_at, strike, f"{_log_name(place.child)}, {mode} {strike.seconds:.1f} s", pid)

    def _refuse_results(self, strike: Strike) -> None:
        with self._locks["results"]:
            began_at = time.time()
            self._system.lines.results.set(Mode.REFUSE)
            time.sleep(strike.seconds)
            self._system.lines.results.set(Mode.PASS)
            self._note(began_at, strike, f"results, for {strike.seconds:.1f} s")

    def _kill_decoders(self, strike: Strike) -> None:
        """As a picture would that crashes its decoder."""
        with _one_of(self._system.workers, strike.which) as place:
            began_at, ended = time.time(), 0
            for pid in _decoders_of(place.child.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSEGV)
                    ended += 1
            self._note(began_at, strike, f"{ended} of {_log_name(place.child)}", place.child.pid)

    def _empty_redis(self, strike: Strike) -> None:
        with self._locks["Redis"]:
            began_at = time.time()
            _patiently(self._system.redis.flushall)
            self._note(began_at, strike, "Redis")

    def _note(self, began_at: float, strike: Strike, target: str, pid: int | None = None) -> None:
        at_s, ended_at = began_at - self._began_at, time.time()
        self.struck.append(Struck(at_s, strike.kind, target, began_at, ended_at, pid))


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
            if parent == worker and b"decoder_child" in (each / "cmdline").read_bytes():
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
