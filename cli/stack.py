"""Everything on one machine: the servers, the sandbox, and our own processes as children."""

import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy.orm import Session

from cli.startup import Startup
from cutout.enums import Scope
from cutout.models.database import connect
from cutout.producers.api_keys import renew_key
from cutout.settings import PREFIX, Settings, load_settings
from cutout.storage import Bucket
from local import Child, LocalServices, keep_ports, keep_secret
from migrations.run import upgrade

READY_WITHIN_S = 60.0
LOOK_EVERY_S = 0.05
RESTART_AFTER_S = 1.0
# A worker finishes its calls and copies before it ends.
GRACE_S = 300.0
COPIER_THREADS = "4"
METRICS_ADDRESS = "CUTOUT_METRICS_ADDRESS"
# Servers that are started here unless the setting names one.
SERVERS = {"Postgres": "CUTOUT_DATABASE_URL", "Redis": "CUTOUT_REDIS_URL", "S3": "CUTOUT_S3_ENDPOINT_URL"}


class StackError(Exception):
    """It could not be started; the text says why and where to look."""


@dataclass(frozen=True, slots=True)
class StackOptions:
    """Parts to run. `port` 0 takes a free one; without the sandbox the settings name the endpoint.

    `copiers` are workers for copies alone; `defaults` are settings for what the environment does not say.
    """

    data_dir: Path
    port: int = 0
    workers: int = 1
    copiers: int = 0
    sandbox: bool = True
    sandbox_latency_s: float = 2.1
    defaults: Mapping[str, str] = field(default_factory=dict)


class Stack:
    """A running system. `environment` holds what another process needs to be its client or its part."""

    def __init__(self, options: StackOptions, settings: Settings, environment: dict[str, str]) -> None:
        self.options = options
        self.settings = settings
        self.environment = environment
        self.children: dict[str, Child] = {}
        self.api_url = environment["CUTOUT_API_URL"]
        self.api_key = environment["CUTOUT_API_KEY"]

    def dead(self) -> list[str]:
        """The names of what ended by itself."""
        return [name for name, child in self.children.items() if child.pid is None]

    def restart_dead(self) -> list[str]:
        """Start again what ended by itself; returns the names."""
        dead = self.dead()
        for name in dead:
            time.sleep(RESTART_AFTER_S)
            self.children[name].start()
        return dead


@contextmanager
def run_stack(options: StackOptions) -> Iterator[Stack]:
    """Start everything, yield once it is ready, stop everything. Prints a line for each part meanwhile.

    Raises StackError or LocalServiceError.
    """
    with ExitStack() as context:
        with Startup() as startup:
            stack = _start(options, context, startup)
            startup.finish()
        yield stack


def _start(options: StackOptions, context: ExitStack, startup: Startup) -> Stack:
    announce(options, startup)
    services = context.enter_context(
        LocalServices(
            options.data_dir,
            database_url=os.environ.get("CUTOUT_DATABASE_URL"),
            redis_url=os.environ.get("CUTOUT_REDIS_URL"),
            s3_endpoint_url=os.environ.get("CUTOUT_S3_ENDPOINT_URL"),
            while_starting=startup.part,
        )
    )
    kept = {
        "CUTOUT_SPOOL_DIR": str(options.data_dir / "spool"),
        "CUTOUT_WEBHOOK_SECRET": keep_secret(options.data_dir / "webhook-secret"),
    }
    # No balancer is before it that would have to be told first.
    kept["CUTOUT_API_DRAIN_SECONDS"] = "0"
    environment = {**kept, **options.defaults, **_ours(), **services.environment()}
    api_port = options.port or _free_port()
    environment["CUTOUT_API_URL"] = f"http://127.0.0.1:{api_port}"
    starter = _Starter(context, services, environment, options.data_dir)
    if options.sandbox:
        with startup.part("sandbox"):
            starter.start_sandbox(options.sandbox_latency_s)
    settings = load_settings(**_as_fields(environment))
    with startup.part("tables, bucket"):
        environment["CUTOUT_API_KEY"] = _prepare(settings, options.data_dir)
    stack = Stack(options, settings, environment)
    stack.children = starter.children
    with startup.part("API"):
        starter.start("api", "cli", "api", "--port", str(api_port))
        for name, arguments in _processes(options).items():
            starter.start(name, "cli", *arguments)
            startup.tell(name, "started")
        starter.wait_until_ready("api", f"{stack.api_url}/readyz")
    return stack


def announce(options: StackOptions, startup: Startup) -> None:
    """Print what will be started, and which servers the settings name."""
    given = {name: setting for name, setting in SERVERS.items() if os.environ.get(setting)}
    names = [name for name in SERVERS if name not in given]
    startup.announce([*names, *(["sandbox"] if options.sandbox else []), "API", *_processes(options)])
    for name, setting in given.items():
        startup.tell(name, f"as {setting} names it")


def _processes(options: StackOptions) -> dict[str, list[str]]:
    """The processes besides the API, each with its command."""
    workers = {f"worker-{number}": ["worker"] for number in range(1, options.workers + 1)}
    copying = ["worker", "--step", "copy", "--threads", COPIER_THREADS]
    copiers = {f"copier-{number}": copying for number in range(1, options.copiers + 1)}
    return {"dispatcher": ["dispatcher"], "ingester": ["ingester"]} | workers | copiers


class _Starter:
    def __init__(
        self, context: ExitStack, services: LocalServices, environment: dict[str, str], data_dir: Path
    ) -> None:
        self._context = context
        self._services = services
        self._environment = environment
        self._data_dir = data_dir
        self.children: dict[str, Child] = {}

    def start(self, name: str, module: str, *arguments: str) -> None:
        child = self._services.child(
            name,
            [sys.executable, "-m", module, *arguments],
            environment={**os.environ, **self._environment, **self._metrics_address()},
            grace_seconds=GRACE_S,
        )
        self._context.enter_context(child)
        self.children[name] = child

    def _metrics_address(self) -> dict[str, str]:
        """The one that is set, for the API, and the ports that follow for the others."""
        host, _, port = self._environment.get(METRICS_ADDRESS, "").rpartition(":")
        before = len(self.children.keys() - {"sandbox"})
        return {METRICS_ADDRESS: f"{host}:{int(port) + before}"} if port else {}

    def start_sandbox(self, latency_s: float) -> None:
        # The same endpoint and account at the next start: what was bought there is found again.
        (port,) = keep_ports(self._data_dir / "sandbox-port", 1)
        key = keep_secret(self._data_dir / "sandbox-key")
        address = f"http://127.0.0.1:{port}"
        self.start(
            "sandbox", "sandbox", "--port", str(port), "--latency", str(latency_s), "--key", f"{key}=1000000"
        )
        self._environment |= {
            "CUTOUT_ENDPOINT_URL": address,
            "CUTOUT_ENDPOINT_API_KEYS": key,
            "CUTOUT_RESULT_HOSTS": f"127.0.0.1:{port}",
        }
        self.wait_until_ready("sandbox", f"{address}/sandbox/stats")

    def wait_until_ready(self, name: str, url: str) -> None:
        child, deadline = self.children[name], time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if child.exit_code is not None:
                raise StackError(f"{name} ended with code {child.exit_code}; see {child.log}")
            try:
                if httpx.get(url, timeout=5.0).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(LOOK_EVERY_S)
        raise StackError(f"{name} did not get ready in {READY_WITHIN_S:.0f} s; see {child.log}")


def _prepare(settings: Settings, data_dir: Path) -> str:
    """Make the schema, the bucket and a producer; returns a key of it, in place of the last start's."""
    engine = connect(settings.database_url.get_secret_value(), connections=1, name="cutout-up")
    upgrade(engine)
    Bucket(settings).create()
    with Session(engine) as session, session.begin():
        # Named by the data directory, since others may use the same database.
        _, key = renew_key(session, "this machine", f"{socket.gethostname()}:{data_dir}", scopes=list(Scope))
    engine.dispose()
    return key


def _ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}


def _as_fields(environment: dict[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
