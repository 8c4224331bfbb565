"""Lines that say what is being started, and how long each part took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from types import TracebackType
from typing import Self

from cli.console import out

# What the servers of `local` stand for.
ROLES = {"PostgreSQL": "Postgres", "Valkey": "Redis", "SeaweedFS": "S3"}
NAME_WIDTH = 16


class Startup:
    """Prints a line for each part once it is ready; on a terminal also shows those that are not yet.

    Several threads may start parts at once.
    """

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._starting: list[str] = []
        self._lock = Lock()
        self._status = out.status("")

    def announce(self, names: list[str]) -> None:
        """Print what is started now."""
        out.print(f"starting {', '.join(names)}", markup=False)

    def tell(self, name: str, said: str) -> None:
        """Print a line about a part."""
        out.print(f"  {name:{NAME_WIDTH}}{said}", markup=False)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Print how long the part took until it was ready; nothing if it fails."""
        name, began_at = ROLES.get(name, name), time.monotonic()
        self._change(add=name)
        try:
            yield
        finally:
            self._change(remove=name)
        self.tell(name, f"ready after {time.monotonic() - began_at:.1f} s")

    def finish(self) -> None:
        """Print how long all of it took."""
        out.print(f"ready after {time.monotonic() - self._began_at:.1f} s")

    def _change(self, *, add: str | None = None, remove: str | None = None) -> None:
        with self._lock:
            if add:
                self._starting.append(add)
            if remove:
                self._starting.remove(remove)
            self._status.update(f"waiting for {', '.join(self._starting)}" if self._starting else "")

    def __enter__(self) -> Self:
        if out.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()
