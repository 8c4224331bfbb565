"""What to do about each of the endpoint's error codes. The table is `verdicts.tsv`, one row a code."""

from enum import StrEnum, auto
from pathlib import Path
from types import MappingProxyType


class Verdict(StrEnum):
    RETRY = auto()
    """Try again later; counts as an attempt."""
    SLOW = auto()
    """The account is going too fast: lower the shared rate and snooze; no attempt is used up."""
    PAUSE = auto()
    """The account cannot call at all: stop its calls, leave the jobs queued, probe for recovery."""
    REFIT = auto()
    """The image broke a limit that encoding it anew can mend: refit it once, then fail."""
    FAIL = auto()
    """The input or the request is wrong: repeating the call is useless."""
    UNKNOWN = auto()
    """Undocumented meaning here: one more try, then fail."""


def _read_table() -> dict[str, Verdict]:
    _, *rows = Path(__file__).with_name("verdicts.tsv").read_text(encoding="utf-8").splitlines()
    pairs = (row.split("\t") for row in rows)
    return {code: Verdict(verdict) for code, verdict in pairs}


_BY_STATUS = {401: Verdict.PAUSE, 403: Verdict.PAUSE, 408: Verdict.RETRY, 429: Verdict.SLOW}
_BY_CLASS = {3: Verdict.PAUSE, 4: Verdict.FAIL, 5: Verdict.RETRY}
VERDICTS = MappingProxyType(_read_table())


def verdict_of(code: str | None, status: int) -> Verdict:
    """Give the verdict on an error code, or on the HTTP status if the code is none of the documented 126.

    A redirect pauses: no job is at fault when the endpoint has moved.
    """
    if code is not None and code in VERDICTS:
        return VERDICTS[code]
    return _BY_STATUS.get(status) or _BY_CLASS.get(status // 100, Verdict.UNKNOWN)
