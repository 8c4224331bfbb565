"""What to do about each of the endpoint's error codes: `verdicts.tsv`, a row a code, and `retries.tsv`, a row
a verdict. A setting may say otherwise, code by code.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum, auto
from pathlib import Path
from types import MappingProxyType
from typing import Any


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


@dataclass(frozen=True, slots=True)
class Policy:
    """A verdict with how often a job may meet it (None: without a bound), and the rests between, in seconds.

    `jitter` spreads a rest by that share of it, to both sides.
    """

    verdict: Verdict
    tries: int | None
    first_seconds: float
    longest_seconds: float
    jitter: float

    def delay(self, tries_used: int) -> float:
        """The rest after so many tries: doubled each time up to the longest, and spread."""
        doubled = min(self.first_seconds * 2.0 ** min(max(tries_used - 1, 0), 20), self.longest_seconds)
        return doubled * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311 - spreads load


def _rows(name: str) -> list[list[str]]:
    _, *rows = Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    return [row.split("\t") for row in rows]


def _policy(verdict: str, tries: str, *figures: str) -> Policy:
    return Policy(Verdict(verdict), int(tries) if tries else None, *map(float, figures))


_BY_STATUS = {401: Verdict.PAUSE, 403: Verdict.PAUSE, 408: Verdict.RETRY, 429: Verdict.SLOW}
_BY_CLASS = {3: Verdict.PAUSE, 4: Verdict.FAIL, 5: Verdict.RETRY}
VERDICTS = MappingProxyType({code: Verdict(verdict) for code, verdict in _rows("verdicts.tsv")})
POLICIES = MappingProxyType({Verdict(row[0]): _policy(*row) for row in _rows("retries.tsv")})


def verdict_of(code: str | None, status: int) -> Verdict:
    """Give the verdict on an error code, or on the HTTP status if the code is none of the documented 126.

    A redirect pauses: no job is at fault when the endpoint has moved.
    """
    if code is not None and code in VERDICTS:
        return VERDICTS[code]
    return _BY_STATUS.get(status) or _BY_CLASS.get(status // 100, Verdict.UNKNOWN)


class Policies:
    """What to do about a code, with what a setting says over the tables."""

    def __init__(self, overrides: Mapping[str, Mapping[str, Any]]) -> None:
        """`overrides` gives for a code any of Policy's fields, None for what stays as it is."""
        self._overrides = {
            code: {name: value for name, value in fields.items() if value is not None}
            for code, fields in overrides.items()
        }

    def of(self, code: str, verdict: Verdict) -> Policy:
        """The policy for a code whose verdict by the tables is given."""
        changed = dict(self._overrides.get(code, {}))
        policy = POLICIES[Verdict(changed.pop("verdict", verdict))]
        return replace(policy, **changed) if changed else policy
