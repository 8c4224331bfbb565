"""The attacker: `python -m bench.strangers.attacks NAME ARGUMENT...`, until it is killed."""

import asyncio
import contextlib
import os
import secrets
import select
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlsplit

import httpx

URL = os.environ.get("ATTACKED_URL", "")
KEY = os.environ.get("ATTACKER_KEY", "")
BYTES = 15_900_000
PIECE = 256 * 1024
SLOW_PIECE, SLOW_EVERY_S = 17_000, 1.0


def _garbage(kind: str) -> bytes:
    if kind == "small":
        return b'{"a":[' + b"{}," * 990 + b'{}],"b":[' + b"1," * 900 + b"1]" + b" " * 50_000 + b"}"
    if kind == "jobs":
        return b'{"name":"a","jobs":[' + b'{"a":1},' * (BYTES // 8) + b'{"a":1}]}'
    if kind == "keys":
        return b"{" + b"".join(b'"k%d":1,' % n for n in range(BYTES // 12)) + b'"z":1}'
    return b"[" * (BYTES // 2) + b"]" * (BYTES // 2)


async def json(kind: str, until: str) -> None:
    """Bodies on one connection, a new one when it is closed, each sent whole or until it is answered.

    Nothing but a socket: it takes what there is.
    """
    body, parts = _garbage(kind), urlsplit(URL)
    head = _head("POST", "/v1/batches", f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n")
    while True:
        # Cut off: begin anew.
        with (
            contextlib.suppress(OSError, HTTPException),
            socket.create_connection((parts.hostname or "", parts.port or 80)) as connection,
        ):
            while _post(connection, head, body, whole=until == "sent"):
                pass


def _post(connection: socket.socket, head: bytes, body: bytes, *, whole: bool) -> bool:
    """One request; whether the connection is good for another."""
    connection.sendall(head)
    left = memoryview(body)
    while left and (whole or not select.select([connection], [connection], [])[0]):
        left = left[connection.send(left[:PIECE]) :]
    with HTTPResponse(connection, method="POST") as answer:
        answer.begin()
        answer.read()
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            time.sleep(0.1)
        return not left and not answer.will_close


async def uploads(count: str) -> None:
    """Bodies that come slowly, each begun anew when it ends."""
    await asyncio.gather(*(_again(_slow_upload) for _ in range(int(count))))


async def _slow_upload() -> None:
    head = _head("POST", "/v1/batches?name=slow", "Content-Type: text/csv\r\nContent-Length: 100000000\r\n")
    reader, writer = await _connect()
    writer.write(head)
    answer = asyncio.create_task(reader.read())
    while not answer.done():
        writer.write(b"a" * SLOW_PIECE)
        await writer.drain()
        await asyncio.wait([answer], timeout=SLOW_EVERY_S)
    writer.close()


async def streams(count: str, job: str) -> None:
    """Streams of events, kept open."""
    async with _client() as client:
        batch = (await client.get(job)).json()["batch_id"]
    await _hold(int(count), f"/v1/batches/{batch}/events")


async def waits(count: str, job: str) -> None:
    """Waits for a job that does not change."""
    await _hold(int(count), f"{job}?wait=60")


async def _hold(count: int, path: str) -> None:
    async def held() -> None:
        reader, writer = await _connect()
        writer.write(_head("GET", path))
        while await reader.read(65536):
            pass
        writer.close()

    await asyncio.gather(*(_again(held) for _ in range(count)))


async def keys(a_second: str) -> None:
    """Keys that nobody has."""
    async with _client() as client:
        while True:
            made_up = f"cutout_{secrets.token_urlsafe(32)}"
            asyncio.get_running_loop().create_task(_ask(client, made_up))
            await asyncio.sleep(1 / float(a_second))


async def _ask(client: httpx.AsyncClient, key: str) -> None:
    await client.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"})


async def cancels(*batches: str) -> None:
    """Cancel them at once, then wait."""
    async with _client() as client:
        await asyncio.gather(*(client.post(f"/v1/batches/{batch}/cancel") for batch in batches))
        await asyncio.Event().wait()


async def _again(attack: Callable[[], Awaitable[None]]) -> None:
    while True:
        # Refused or cut off: begin anew.
        with contextlib.suppress(OSError):
            await attack()
        await asyncio.sleep(0.5)


async def _connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(URL)
    return await asyncio.open_connection(parts.hostname, parts.port)


def _head(method: str, path: str, more: str = "") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n{more}\r\n".encode()
    )


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=URL, headers={"Authorization": f"Bearer {KEY}"}, timeout=600)


ATTACKS: dict[str, Callable[..., Awaitable[None]]] = {
    attack.__name__: attack for attack in (json, uploads, streams, waits, keys, cancels)
}


async def main() -> None:
    """Make the attack that is named."""
    name, *arguments = sys.argv[1:]
    await ATTACKS[name](*arguments)


if __name__ == "__main__":
    asyncio.run(main())
