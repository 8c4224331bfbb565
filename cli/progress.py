"""Showing how far the reading of a source has come."""

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from cli.console import err
from cli.numbers import in_words
from cutout.ingest import Progress

LINE_EVERY_S = 5.0


class Meter:
    """A bar on a terminal, a line every few seconds elsewhere; both on stderr, apart from what is asked for.

    Time left is reckoned from what was read since the beginning, or since it went on.
    """

    def __init__(self) -> None:
        self._began_at = self._said_at = time.monotonic()
        self._first: Progress | None = None
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if err.is_terminal:
            self._bar = Bar(
                TextColumn("reading"), BarColumn(), TextColumn("{task.fields[said]}"), console=err
            )
            self._bar.start()
            self._task = self._bar.add_task("reading", total=None, said="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Take note of how far it is."""
        self._first = self._first or progress
        if self._bar and self._task is not None:
            total, position = progress.extent.total, progress.position
            self._bar.update(self._task, total=total, completed=position, said=self._said(progress))
        elif time.monotonic() - self._said_at >= LINE_EVERY_S:
            self._said_at = time.monotonic()
            err.print(self._said(progress))

    def _said(self, progress: Progress) -> str:
        counts, passed = progress.counts, max(time.monotonic() - self._began_at, 0.001)
        first = self._first or progress
        rate = (counts.records - first.counts.records) / passed
        skipped = f"{progress.skipped:,} skipped, " if progress.skipped else ""
        words = (
            f"{counts.records:,} rows, {counts.jobs:,} jobs, {counts.rejects:,} rejected, {skipped}"
            f"{rate:,.0f} rows/s"
        )
        read = progress.position - first.position
        if read <= 0 or progress.position >= progress.extent.total:
            return words
        return f"{words}, {in_words((progress.extent.total - progress.position) / read * passed)} left"
