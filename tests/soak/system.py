"""A whole system of the soak's own, to be killed piece by piece: servers, sandbox, all of our processes."""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import redis
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from cutout.enums import Scope
from cutout.models.database import connect, patiently
from cutout.producers.producers import create_producer
from cutout.settings import PREFIX, load_settings
from cutout.storage import Bucket
from local import LocalServices
from migrations.run import upgrade
from tests.soak.lines import WITH_LINES, Lines
from tests.soak.options import Options
from tests.soak.places import Place
from tests.soak.plan import SILENCE_S
from tests.soak.times import CALL_DEADLINE_S
from tests.support.ports import free_port
from tests.support.sandbox import Sandbox

WORKERS = 4
DISPATCHERS = 2
READY_WITHIN_S = 60.0
LATENCY_S = 0.8
# Fast, or slow where less than 0.
CLOCKS_OFF_S = {"worker-3": -90.0, "dispatcher-2": 90.0, "api": 90.0}
DECODER_BYTES = "300000000"
ROOT = Path(__file__).parents[2]
# Room for the calls of dead workers: their slots come back when the deadline is over.
CALLS_IN_FLIGHT = 40
THREADS = 12
# A busy machine may keep the sandbox from answering at once.
CONTROL_TIMEOUT_S = 60.0
# A result this old goes into the lifeboat, as one does that meets a bucket away.
LIFEBOAT_AFTER_S = 3.0
# Whoever runs the soak may have a Postgres of their own (local/binaries.py).
POSTGRES_BIN = f"{PREFIX}LOCAL_POSTGRES_BIN"
# Where it is set, every process compiles anew what it imports, for seconds of CPU.
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"

T = TypeVar("T")


class System:
    """Runs for as long as the context lasts. Data and logs lie in `directory` and stay."""

    def __init__(self, directory: Path, options: Options) -> None:
        self.directory = directory
        self.options = options
        self._context = ExitStack()
        self.ended: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as context:
            self.services = context.enter_context(LocalServices(self.directory))
            settings = ("--latency", str(LATENCY_S), "--url-lifetime", str(self.options.result_lifetime_s))
            self.sandbox = context.enter_context(Sandbox(self.directory / "sandbox.log", *settings))
            self.lines = context.enter_context(Lines(self.services, self.sandbox.url))
            self.sandbox.set(results_url=self.lines.results.url)
            self.control = context.enter_context(
                httpx.Client(base_url=f"{self.sandbox.url}/sandbox", timeout=CONTROL_TIMEOUT_S)
            )
            ours = self._settings()
            self.settings = load_settings(
                _env_file=None, **{name.removeprefix(PREFIX).lower(): value for name, value in ours.items()}
            )
            self.engine = connect(self.settings.database_url.get_secret_value(), connections=20, name="soak")
            context.callback(self.engine.dispose)
            upgrade(self.engine)
            self.bucket = Bucket(self.settings)
            context.callback(self.bucket.close)
            self.bucket.create()
            # The killer's own: each command says whether Redis is there.
            self.redis = redis.Redis.from_url(self.services.redis_url, socket_timeout=5)
            context.callback(self.redis.close)
            self.environment = _without_settings() | ours | self._producer() | {"PYTHONPATH": str(ROOT)}
            self.api = httpx.Client(
                base_url=f"{ours['CUTOUT_API_URL']}/v1",
                headers={"Authorization": f"Bearer {self.environment['CUTOUT_API_KEY']}"},
                timeout=20.0,
            )
            context.callback(self.api.close)
            self._start(context)
            self._context = context.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.close()

    def ask(self, work: Callable[[Connection], T]) -> T:
        """Read from the database, again and again while Postgres is away."""
        return patiently(self.engine, work)

    def control_json(self, path: str) -> Any:
        """The answer of a control route of the sandbox."""
        return self.control.get(path).raise_for_status().json()

    def tend(self) -> None:
        """Follow those that ended by themselves by others, as a supervisor would; `ended` says who."""
        for place in self.places:
            if place.child.pid is None and place.lock.acquire(blocking=False):
                try:
                    if place.child.pid is None:
                        self.ended.append(f"{place.child.log} ended with code {place.child.exit_code}")
                        place.follow()
                finally:
                    place.lock.release()

    def _settings(self) -> dict[str, str]:
        lifeboat, lifetime = self.directory / "lifeboat", self.options.result_lifetime_s
        lifeboat.mkdir()
        return {
            **self.services.environment(),
            "CUTOUT_S3_BUCKET": "soak",
            "CUTOUT_ENDPOINT_URL": self.sandbox.url,
            "CUTOUT_ENDPOINT_API_KEYS": self.sandbox.key,
            "CUTOUT_RESULT_HOSTS": self.lines.results.url,
            "CUTOUT_API_URL": f"http://127.0.0.1:{free_port()}",
            "CUTOUT_PREPARE_MEMORY_BYTES": DECODER_BYTES,
            "CUTOUT_CALLS_PER_SECOND": f"{self.options.calls_per_second:.3f}",
            "CUTOUT_CALLS_IN_FLIGHT": str(CALLS_IN_FLIGHT),
            "CUTOUT_CALL_DEADLINE_SECONDS": str(CALL_DEADLINE_S),
            "CUTOUT_RESULT_LIFETIME_SECONDS": str(lifetime),
            "CUTOUT_WORKER_THREADS": str(THREADS),
            "CUTOUT_WORKER_SILENCE_SECONDS": str(SILENCE_S),
            "CUTOUT_MESSAGE_LEASE_SECONDS": "5",
            "CUTOUT_LIFEBOAT_DIR": str(lifeboat),
            "CUTOUT_LIFEBOAT_SECONDS": str(lifetime - LIFEBOAT_AFTER_S),
            "CUTOUT_SPOOL_DIR": str(self.directory / "spool"),
        }

    def _producer(self) -> dict[str, str]:
        """The producer of all batches."""
        with Session(self.engine) as session, session.begin():
            producer, key = create_producer(session, "soak", scopes=list(Scope))
            self.producer_id = producer.id
        return {"CUTOUT_API_KEY": key}

    @property
    def places(self) -> list[Place]:
        """All processes of ours."""
        return [*self.dispatchers, *self.workers, *self.apis, *self.ingesters]

    def _start(self, context: ExitStack) -> None:
        self.dispatchers: list[Place] = []
        self.workers: list[Place] = []
        self.apis: list[Place] = []
        self.ingesters: list[Place] = []
        context.callback(self._end_all)
        for number in range(DISPATCHERS):
            self.dispatchers.append(self._place(f"dispatcher-{number + 1}", "dispatcher"))
        for number in range(WORKERS):
            its = self.lines.workers[number].settings if number < WITH_LINES else {}
            self.workers.append(self._place(f"worker-{number + 1}", "worker", its=its))
        port = self.environment["CUTOUT_API_URL"].rpartition(":")[2]
        self.apis.append(self._place("api", "api", "--port", port))
        self.ingesters.append(self._place("ingester", "ingester"))
        self._wait_for_workers()

    def _place(self, name: str, *command: str, its: Mapping[str, str] | None = None) -> Place:
        environment = self.environment | dict(its or {})
        clock_off_s = CLOCKS_OFF_S.get(name, 0.0)
        return Place(name, command, self.directory, environment, clock_off_s=clock_off_s)

    def _wait_for_workers(self) -> None:
        registered, deadline = text("SELECT count(*) FROM workers"), time.monotonic() + READY_WITHIN_S
        while self.ask(lambda connection: connection.execute(registered).scalar_one()) < WORKERS:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the workers did not get ready; see {self.directory}/worker-*/log")
            time.sleep(0.1)

    def _end_all(self) -> None:
        # Nothing is left to be finished, and a broken run must end too.
        for place in self.places:
            with suppress(TimeoutError):
                place.child.kill()


def _without_settings() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name == POSTGRES_BIN or not name.startswith((PREFIX, "AWS_", NO_BYTECODE))
    }
