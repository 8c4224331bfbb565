"""Processes that keep every core busy, as other work on a worker's machine does."""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Keep so many cores busy while the context lasts."""
    loops = [multiprocessing.get_context("fork").Process(target=_spin, daemon=True) for _ in range(count)]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.terminate()
            loop.join()


def _spin() -> None:
    while True:
        pass


CORES = os.cpu_count() or 1
