"""An app served on a real port by a thread of this process."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp

from api.server import server_options

LOOKS_EVERY_S = 0.01


class PromptServer(uvicorn.Server):
    """uvicorn's own looks every 0.1 s whether it is to end, and then rests for 0.1 s before it does."""

    _loop: asyncio.AbstractEventLoop
    _told: asyncio.Event

    def end(self) -> None:
        """Tell it to end, from another thread, once it has started."""
        self.should_exit = True
        self._loop.call_soon_threadsafe(self._told.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        """Serve until it is told to end; the date of its answers is renewed every second."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Do what uvicorn does, without its rest."""
        assert not sockets
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        state = self.server_state
        while state.connections or state.tasks:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        for server in self.servers:
            await server.wait_closed()
        await self.lifespan.shutdown()


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Serve the app; gives its address."""
    server = PromptServer(server_options(app=app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.end()
        thread.join()
