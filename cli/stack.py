"""Everything on one machine: the servers, the sandbox, and our own processes as children.

It imports little, so that its first line is printed at once. A fork server imports what our processes need,
once, while the servers start.
"""

import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cli.startup import Startup
from local import Child, ForkServer, LocalServices, keep_ports, keep_secret

if TYPE_CHECKING:
    from cutout.settings import Settings

READY_WITHIN_S = 60.0
LOOK_EVERY_S = 0.05
RESTART_AFTER_S = 1.0
# A worker finishes its calls and copies before it ends.
GRACE_S = 300.0
COPIER_THREADS = "4"
PREFIX, FILE = "CUTOUT_", "_FILE"
METRICS_ADDRESS = "CUTOUT_METRICS_ADDRESS"
INSTALLATION = "cli.installation"
# What our processes import, but for modules that read the settings as they are imported.
IMPORTS = (
    "cli.processes",
    "sandbox.server",
    "api.app",
    "api.server",
    "celery.bin.celery",
    "celery.apps.worker",
    "celery.concurrency.thread",
    "kombu.transport.redis",
    "worker.broker",
    "worker.pipeline.context",
    "worker.pipeline.process",
    "worker.pipeline.serve_reused",
    "worker.ingester.loop",
    "worker.renderer.loop",
)
# Servers that are started here unless the setting names one.
SERVERS = {"Postgres": "CUTOUT_DATABASE_URL", "Redis": "CUTOUT_REDIS_URL", "S3": "CUTOUT_S3_ENDPOINT_URL"}


class StackError(Exception):
    """It could not be started; the text says why and where to look."""


@dataclass(frozen=True, slots=True)
class StackOptions:
    """Parts to run. `port` 0 takes a free one; without the sandbox the settings name the endpoint.

    `copiers` are workers for copies alone; `renderers` is 0 or 1; `defaults` are settings for what the
    environment does not say.
    """

    data_dir: Path
    port: int = 0
    workers: int = 1
    copiers: int = 0
    renderers: int = 1
    sandbox: bool = True
    sandbox_latency_s: float = 2.1
    defaults: Mapping[str, str] = field(default_factory=dict)


class Stack:
    """A running system. `environment` holds what another process needs to be its client or its part."""

    def __init__(self, options: StackOptions, settings: "Settings", environment: dict[str, str]) -> None:
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
    _read_files()
    announce(options, startup)
    if options.port:
        _require_free(options.port)
    fork_server = _fork_server(options, context)
    pool = context.enter_context(ThreadPoolExecutor(1))
    installation = pool.submit(import_module, INSTALLATION)
    services = context.enter_context(
        LocalServices(
            options.data_dir,
            database_url=os.environ.get("CUTOUT_DATABASE_URL"),
            redis_url=os.environ.get("CUTOUT_REDIS_URL"),
            s3_endpoint_url=os.environ.get("CUTOUT_S3_ENDPOINT_URL"),
            while_starting=startup.part,
        )
    )
    environment = _environment(options, services)
    starter = _Starter(context, services, environment, options.data_dir, fork_server)
    if options.sandbox:
        starter.start_sandbox(options.sandbox_latency_s)
    with startup.part("tables, bucket"):
        settings, environment["CUTOUT_API_KEY"] = installation.result().install(environment, options.data_dir)
    stack = Stack(options, settings, environment)
    stack.children = starter.children
    with startup.part("API"):
        api_url = urlsplit(stack.api_url)
        starter.start("api", "cli", "api", "--port", str(api_url.port))
        for name, arguments in _processes(options).items():
            starter.start(name, "cli", *arguments)
            startup.tell(name, "started")
        starter.wait_until_ready("api", f"{stack.api_url}/readyz")
    if options.sandbox:
        with startup.part("sandbox"):
            starter.wait_until_ready("sandbox", f"{environment['CUTOUT_ENDPOINT_URL']}/sandbox/stats")
    return stack


def _read_files() -> None:
    """Put what files give (CUTOUT_X_FILE) into the environment: our processes get a changed copy of it."""
    for name in [name for name in os.environ if name.startswith(PREFIX) and name.endswith(FILE)]:
        path = os.environ.pop(name)
        try:
            os.environ.setdefault(name.removesuffix(FILE), Path(path).read_text(encoding="utf-8").strip())
        except (OSError, ValueError) as error:
            raise StackError(f"{name} names {path}, which cannot be read: {type(error).__name__}") from error


def _fork_server(options: StackOptions, context: ExitStack) -> ForkServer | None:
    # The libraries of macOS do not bear a fork.
    if sys.platform != "linux":
        return None
    return context.enter_context(ForkServer(IMPORTS, log=options.data_dir / "fork-server" / "log"))


def _environment(options: StackOptions, services: LocalServices) -> dict[str, str]:
    kept = {
        "CUTOUT_SPOOL_DIR": str(options.data_dir / "spool"),
        "CUTOUT_WEBHOOK_SECRET": keep_secret(options.data_dir / "webhook-secret"),
        # No balancer is before it that would have to be told first.
        "CUTOUT_API_DRAIN_SECONDS": "0",
    }
    api_url = {"CUTOUT_API_URL": f"http://127.0.0.1:{options.port or _free_port()}"}
    return {**kept, **options.defaults, **_ours(), **services.environment(), **api_url}


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
    renderers = {"renderer": ["renderer"]} if options.renderers else {}
    return {"dispatcher": ["dispatcher"], "ingester": ["ingester"]} | renderers | workers | copiers


class _Starter:
    def __init__(
        self,
        context: ExitStack,
        services: LocalServices,
        environment: dict[str, str],
        data_dir: Path,
        fork_server: ForkServer | None,
    ) -> None:
        self._context = context
        self._services = services
        self._environment = environment
        self._data_dir = data_dir
        self._fork_server = fork_server
        self.children: dict[str, Child] = {}

    def start(self, name: str, module: str, *arguments: str) -> None:
        child = self._services.child(
            name,
            [sys.executable, "-m", module, *arguments],
            environment={**os.environ, **self._environment, **self._metrics_address()},
            fork_server=self._fork_server,
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

    def wait_until_ready(self, name: str, url: str) -> None:
        child, deadline = self.children[name], time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if child.exit_code is not None:
                raise StackError(f"{name} ended with code {child.exit_code}; see {child.log}")
            if _answers(url):
                return
            time.sleep(LOOK_EVERY_S)
        raise StackError(f"{name} did not get ready in {READY_WITHIN_S:.0f} s; see {child.log}")


def _ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}


def _answers(url: str) -> bool:
    address = urlsplit(url)
    connection = HTTPConnection(str(address.hostname), address.port, timeout=5.0)
    try:
        connection.request("GET", address.path)
        return connection.getresponse().status == HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _require_free(port: int) -> None:
    """Raise StackError if something listens on the port: it would be taken for our API."""
    with socket.socket() as listener:
        # As the API does: connections that have ended do not keep a port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            message = f"the port {port} cannot be used ({error.strerror}); choose another by --port"
            raise StackError(message) from error


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
