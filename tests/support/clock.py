"""A clock that is wrong, as a host's may be: this process reads another time than it is."""

import ctypes
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo

READERS = ("now", "utcnow")


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
