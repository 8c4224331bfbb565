"""Finished cutouts: made at the first download, then kept beside their source."""

import asyncio
from pathlib import Path

from sandbox.forms import render
from sandbox.results import Result, Results

CONCURRENT_RENDERS = 2


class Cutouts:
    def __init__(self, results: Results) -> None:
        self._results = results
        self._rendering: dict[Path, asyncio.Task[bytes]] = {}
        self._slots = asyncio.Semaphore(CONCURRENT_RENDERS)

    async def picture(self, result: Result) -> bytes:
        """Give the encoded cutout; many callers at once cause one rendering.

        Raises FileNotFoundError if the result died meanwhile, OSError if its pixels cannot be decoded.
        """
        source = self._results.source(result.image_sha256)
        kept = self._results.cutout(result.image_sha256, result.return_form)
        if await asyncio.to_thread(kept.exists):
            return await asyncio.to_thread(kept.read_bytes)
        task = self._rendering.get(kept)
        if task is None:
            task = self._rendering[kept] = asyncio.create_task(self._render(source, kept, result))
            task.add_done_callback(lambda _: self._rendering.pop(kept))
        return await asyncio.shield(task)

    async def _render(self, source: Path, kept: Path, result: Result) -> bytes:
        async with self._slots:
            image = await asyncio.to_thread(source.read_bytes)
            picture = await asyncio.to_thread(render, image, result.return_form)
            await asyncio.to_thread(_write_whole, kept, picture)
        return picture


def _write_whole(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
