"""The client of asyncio with the methods of the one that blocks, so that both have the same tests."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Generator
from typing import Any, Self, cast

from cutout_client import AsyncClient, Client, Retries


class _Blocking:
    """An object of the asynchronous client; its calls are run to their end in one event loop."""

    def __init__(self, wrapped: Any, runner: asyncio.Runner) -> None:
        self._wrapped, self._runner = wrapped, runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        if not callable(found):
            return _Blocking(found, self._runner)

        def call(*args: Any, **kwargs: Any) -> Any:
            made = found(*args, **kwargs)
            if inspect.isasyncgen(made):
                return _iterated(cast("AsyncGenerator[Any, None]", made), self._runner)
            return self._runner.run(made)

        return call

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._wrapped.close())
        self._runner.close()


def _iterated(items: AsyncGenerator[Any, None], runner: asyncio.Runner) -> Generator[Any, None, None]:
    async def following() -> tuple[bool, Any]:
        try:
            return True, await anext(items)
        except StopAsyncIteration:
            return False, None

    try:
        while True:
            more, item = runner.run(following())
            if not more:
                return
            yield item
    finally:
        runner.run(items.aclose())


def make_client(kind: str, url: str, key: str, retries: Retries, timeout_s: float = 30.0) -> Client:
    """A client of this kind, `sync` or `async`, with the methods of the one that blocks."""
    if kind == "sync":
        return Client(url, key, retries=retries, timeout_s=timeout_s)
    made = AsyncClient(url, key, retries=retries, timeout_s=timeout_s)
    return cast("Client", _Blocking(made, asyncio.Runner()))
