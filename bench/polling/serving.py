"""The API of a bench, served by a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

READY_WITHIN_S = 30.0


@contextmanager
def served() -> Iterator[tuple[int, int]]:
    """The API in a process of its own; gives its port and pid."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "bench.polling.server", str(port)])
    try:
        _wait_for(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    gives_up_at = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > gives_up_at:
                raise
            time.sleep(0.05)
        else:
            return
