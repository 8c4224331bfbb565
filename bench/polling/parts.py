"""Parts of the measurement, each beside a hundred changes a second."""

import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import quote

from bench.polling.changes import Changes
from bench.polling.client import Answer, Client
from bench.polling.filling import Filled
from bench.polling.row import Row

ROUNDS, A_ROUND = 10, 200
JOBS_A_SECOND, JOBS_SECONDS = 200, 15
POLLERS, POLLERS_SECONDS = 300, 20
LONG_POLLS, CHANGED = 1000, 500
PAGES = 50


class Parts:
    """The measurements, on a server at this port with this pid."""

    def __init__(self, port: int, pid: int, filled: Filled, changes: Changes) -> None:
        self._port, self._pid, self._filled, self._changes = port, pid, filled, changes

    def client(self) -> Client:
        return Client(self._port, self._filled.key)

    async def beside_bare(self) -> list[Row]:
        """One job by id, in turn with the bare route, on one connection."""
        took: dict[str, list[float]] = {"/bare": [], "/v1/jobs": []}
        async with self.client() as client:
            for _ in range(ROUNDS):
                for path, seconds in took.items():
                    for job in random.choices(self._filled.waiting, k=A_ROUND):  # noqa: S311
                        seconds.append(ok(await client.get(f"{path}/{job}")).seconds)
        bare, ours = (statistics.median(seconds) for seconds in took.values())
        what = f"`GET /v1/jobs/{{id}}`, {ours * 1000:.2f} ms, beside a bare route, {bare * 1000:.2f} ms"
        return [Row(what, ours / bare, 1.5, "times")]

    async def jobs_at_a_rate(self) -> list[Row]:
        """Request jobs at a fixed rate, whether or not the answers keep up."""
        async with _Clients(self, 32) as clients:
            waited = await at_rate(
                clients,
                JOBS_A_SECOND,
                JOBS_SECONDS,
                lambda: f"/v1/jobs/{random.choice(self._filled.waiting)}",  # noqa: S311
            )
        what = f"`GET /v1/jobs/{{id}}` at {JOBS_A_SECOND} a second for {JOBS_SECONDS} s: p95"
        return [Row(what, p95(waited) * 1000, 30, "ms")]

    async def batch(self) -> list[Row]:
        """The batch of all jobs, by many pollers, each once a second."""
        path = f"/v1/batches/{self._filled.batch_id}"
        async with _Clients(self, POLLERS) as clients:
            await clients[0].get(path)
            before, began_at = await self._number("/counted"), time.perf_counter()
            waited = await at_rate(clients, POLLERS, POLLERS_SECONDS, lambda: path)
            counts = (await self._number("/counted") - before) / (time.perf_counter() - began_at)
        what = f"`GET /v1/batches/{{id}}`, {POLLERS} pollers once a second for {POLLERS_SECONDS} s"
        return [
            Row(f"{what}: p95", p95(waited) * 1000, 50, "ms"),
            Row(f"{what}: counts in the database", counts, 1.0, "a second"),
        ]

    async def long_polls(self) -> list[Row]:
        """Many who wait for a change; some of them get one."""
        watched = self._changes.take(LONG_POLLS)
        async with _Clients(self, LONG_POLLS) as clients:
            waits = [
                asyncio.create_task(client.get(f"/v1/jobs/{job}?wait=60"))
                for client, job in zip(clients, watched, strict=True)
            ]
            while await self._number("/waiting") < LONG_POLLS:  # noqa: ASYNC110 - another process waits
                await asyncio.sleep(0.2)
            await asyncio.sleep(1)
            self._changes.change_first(watched[:CHANGED])
            answers = [ok(answer) for answer in await asyncio.gather(*waits[:CHANGED])]
            assert not any(wait.done() for wait in waits[CHANGED:])
            megabytes = _resident_mb(self._pid)
            for wait in waits[CHANGED:]:
                wait.cancel()
        committed = self._changes.committed
        late = [
            answer.came_at - committed[job] for job, answer in zip(watched[:CHANGED], answers, strict=True)
        ]
        what = f"{LONG_POLLS:,} long-polls open"
        return [
            Row(f"{what}: memory of the process", megabytes, 200, "MB"),
            Row(f"{what}: a change is delivered after, p95", p95(late) * 1000, 250, "ms"),
        ]

    async def pages(self) -> list[Row]:
        """The first page of a list and one far behind it, without filters and with one that rarely fits."""
        failed = f"&state=failed&batch={self._filled.batch_id}"
        return [await self._pages("page of a list", ""), await self._pages("page of failed jobs", failed)]

    async def _pages(self, what: str, filters: str) -> Row:
        async with self.client() as client:
            path = f"/v1/jobs?limit=200&order=oldest{filters}"
            deep_path = await self._deep(client, path)
            first = _median([ok(await client.get(path)) for _ in range(PAGES)]) * 1000
            deep = _median([ok(await client.get(deep_path)) for _ in range(PAGES)]) * 1000
        return Row(
            f"a deep {what}, {deep:.1f} ms, beside the first, {first:.1f} ms", deep / first, 1.3, "times"
        )

    async def _deep(self, client: Client, path: str) -> str:
        cursor, begun_at = None, time.perf_counter()
        while time.perf_counter() - begun_at < 15:
            page = json.loads(
                ok(await client.get(path + (f"&cursor={quote(cursor)}" if cursor else ""))).body
            )
            if page["next_cursor"] is None:
                break
            cursor = page["next_cursor"]
        assert cursor is not None
        return f"{path}&cursor={quote(cursor)}"

    async def _number(self, path: str) -> int:
        async with self.client() as client:
            return int((await client.get(path)).body)


def ok(answer: Answer) -> Answer:
    """Return the answer if it is a 200."""
    assert answer.status == 200, answer
    return answer


def p95(seconds: Sequence[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(seconds, n=20)[-1]


def _median(answers: Sequence[Answer]) -> float:
    return statistics.median(answer.seconds for answer in answers)


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class _Clients:
    """So many connections, open."""

    def __init__(self, parts: Parts, count: int) -> None:
        self._parts, self._count = parts, count
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> list[Client]:
        return [await self._stack.enter_async_context(self._parts.client()) for _ in range(self._count)]

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


async def at_rate(
    clients: Sequence[Client], a_second: float, seconds: float, path: Callable[[], str]
) -> list[float]:
    """Requests at even distances; how many seconds after each was due its answer came.

    A late answer delays the next request of its own client alone.
    """
    began_at = time.perf_counter()

    async def poll(number: int, client: Client) -> list[float]:
        waited = []
        every = len(clients) / a_second
        for turn in range(round(seconds / every)):
            due_at = began_at + number / a_second + turn * every
            await asyncio.sleep(max(due_at - time.perf_counter(), 0))
            waited.append(ok(await client.get(path())).came_at - due_at)
        return waited

    polls = [poll(*numbered) for numbered in enumerate(clients)]
    return [seconds for waited in await asyncio.gather(*polls) for seconds in waited]
