"""A clock that is wrong, as a host's may be, and days that change while a test runs."""

import ctypes
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo

from tests.support.machine import scaled

READERS = ("now", "utcnow")


def wait_for_a_day(enough_s: float = 15.0) -> None:
    """Wait for midnight (UTC) if it is near: so many seconds from now on, as `scaled`, are on one day."""
    now = datetime.now(UTC)
    left_s = 86_400 - (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    if left_s < scaled(enough_s):
        time.sleep(left_s)


def each_day_but_now() -> str:
    """A cron expression (UTC) for twelve hours from now: a dispatcher that runs fires nothing meanwhile."""
    return f"15 {(datetime.now(UTC).hour + 12) % 24} * * *"


@contextmanager
def off_by(seconds: float) -> Iterator[None]:
    """Add so many seconds to what `time.time` and `datetime.now` say, whoever asks; monotonic time stays."""
    right_time, right_ns, right_now = time.time, time.time_ns, datetime.now
    offset = timedelta(seconds=seconds)

    def now(_cls: type[datetime], tz: tzinfo | None = None) -> datetime:
        return right_now(tz) + offset

    def utcnow(_cls: type[datetime]) -> datetime:
        return right_now(UTC).replace(tzinfo=None) + offset

    methods = gc.get_referents(datetime.__dict__)[0]
    right = {name: methods[name] for name in READERS}
    try:
        time.time = lambda: right_time() + seconds
        time.time_ns = lambda: right_ns() + int(seconds * 1e9)
        methods |= {"now": classmethod(now), "utcnow": classmethod(utcnow)}
        _forget_cached()
        yield
    finally:
        time.time, time.time_ns = right_time, right_ns
        methods |= right
        _forget_cached()


def _forget_cached() -> None:
    """Methods of a built-in type are remembered by the interpreter."""
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))
