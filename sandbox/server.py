"""Running the sandbox as a process."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator

import uvicorn

from sandbox.app import create_app
from sandbox.arguments import Arguments, parse_arguments
from sandbox.connection import ClosableProtocol
from sandbox.state import Sandbox

# Calls inside their latency may finish; those that hang are let go at once.
SHUTDOWN_SECONDS = 5


class SandboxServer(uvicorn.Server):
    """Prints its base URL when it serves; ends with exit code 0 on SIGTERM and SIGINT."""

    def __init__(self, config: uvicorn.Config, sandbox: Sandbox, base_url: str) -> None:
        super().__init__(config)
        self._sandbox = sandbox
        self._base_url = base_url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._base_url, flush=True)  # noqa: T201 - how the caller learns the port

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal; uvicorn's own way raises it again afterwards, which is no exit code 0."""
        loop = asyncio.get_running_loop()
        for stop in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stop, self._stop)
        yield

    def _stop(self) -> None:
        self._sandbox.stopping.set()
        self.should_exit = True


def main() -> None:
    arguments = parse_arguments()
    asyncio.run(_serve(arguments))


async def _serve(arguments: Arguments) -> None:
    family = socket.AF_INET6 if ":" in arguments.host else socket.AF_INET
    with socket.create_server((arguments.host, arguments.port), family=family, backlog=2048) as listener:
        # asyncio does this for sockets it makes itself; without it each answer waits 40 ms for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sandbox = Sandbox(arguments.settings, arguments.credits_of, arguments.seed)
        config = uvicorn.Config(
            create_app(sandbox),
            http=ClosableProtocol,
            ws="none",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        await SandboxServer(config, sandbox, _base_url(listener)).serve(sockets=[listener])


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
