"""A catalog of web addresses ingested again, of which nothing changed. `python -m bench.again_web`.

The server is a process of its own that answers each request with 304; it is measured alone first.
"""

import argparse
import asyncio
import http.client
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from bench.again import Again, buy, serve, table
from bench.limit.rig import rig
from bench.table import Figure, figures, put
from cutout.enums import Reuse

GOAL = 1000
UNCHANGED = b'HTTP/1.1 304 Not Modified\r\nETag: "bench"\r\nContent-Length: 0\r\n\r\n'
REMEMBER = """
    INSERT INTO sources (address_sha256, etag, content_sha256)
    SELECT sha256((:host || n::text)::bytea), '"bench"', sha256(n::text::bytea)
    FROM generate_series(1, :rows) n
"""
ALONE = 2000


class Unchanged(asyncio.Protocol):
    """The server's side of a connection."""

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.write(UNCHANGED * len(requests))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.again_web", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000, help="rows of the catalog")
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    options = parser.parse_args()
    again, alone = measure(options.rows, options.workers)
    rows = table(again, of="pictures on the web", goal=GOAL)
    put(figures([*rows, Figure("the server alone, over one connection", f"{alone:,.0f} a second")]))


def measure(rows: int = 10_000, workers: int = 2) -> tuple[Again, float]:
    """What it took, and the requests a second that the server answers alone over one connection."""
    with (
        _server() as port,
        rig(
            workers=workers, reuse=Reuse.PRODUCER, worker_threads=16, source_private_hosts="127.0.0.1"
        ) as running,
    ):
        alone = _alone(port)
        buy(running, rows)
        host = f"http://127.0.0.1:{port}/"
        with running.engine.begin() as connection:
            connection.execute(text(REMEMBER), {"host": host, "rows": rows})
        return serve(running, [f"{host}{n}" for n in range(1, rows + 1)]), alone


@contextmanager
def _server() -> Iterator[int]:
    port = multiprocessing.get_context("spawn").Value("i", 0)
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(port,), daemon=True)
    process.start()
    while not port.value:
        time.sleep(0.05)
    try:
        yield port.value
    finally:
        process.terminate()
        process.join()


def _run(port: "multiprocessing.sharedctypes.Synchronized[int]") -> None:
    async def answer() -> None:
        server = await asyncio.get_running_loop().create_server(Unchanged, "127.0.0.1", 0)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    asyncio.run(answer())


def _alone(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    began = time.monotonic()
    for n in range(ALONE):
        connection.request("GET", f"/{n}")
        connection.getresponse().read()
    connection.close()
    return ALONE / (time.monotonic() - began)


if __name__ == "__main__":
    main()
