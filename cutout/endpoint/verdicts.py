"""Verdicts on the endpoint's error codes: `verdicts.tsv`, a row per code, and `retries.tsv`, a row per
verdict.

A setting may override them, code by code.
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
    """The account is too fast: lower the shared rate and snooze; counts as no attempt."""
    PAUSE = auto()
    """The account cannot call: stop its calls, leave the jobs queued, probe for recovery."""
    REFIT = auto()
    """The image broke a limit that a new encoding can fix: refit it once, then fail."""
    FAIL = auto()
    """The input or the request is wrong: a repetition is useless."""
    UNKNOWN = auto()
    """The meaning is undocumented: one more try, then fail."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A verdict, the maximum of tries per job (None: unlimited), and the delays between them, in seconds.

    `jitter` spreads a delay by that share, to both sides.
    """

    verdict: Verdict
    tries: int | None
    first_seconds: float
    longest_seconds: float
    jitter: float

    def delay(self, tries_used: int) -> float:
        """Return the delay after `tries_used` tries: doubled each time up to the longest, and spread."""
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
    """Return the verdict on an error code, or on the HTTP status if the code is none of the documented 126.

    A redirect pauses: no job is at fault if the endpoint has moved.
    """
    if code is not None and code in VERDICTS:
        return VERDICTS[code]
    return _BY_STATUS.get(status) or _BY_CLASS.get(status // 100, Verdict.UNKNOWN)


class Policies:
    """Retry policies by code: the tables with the overrides of a setting."""

    def __init__(self, overrides: Mapping[str, Mapping[str, Any]]) -> None:
        """`overrides` has for a code any of Policy's fields; None keeps the table's value."""
        self._overrides = {
            code: {name: value for name, value in fields.items() if value is not None}
            for code, fields in overrides.items()
        }

    def of(self, code: str, verdict: Verdict) -> Policy:
        """Return the policy for a code with the given verdict of the tables."""
        changed = dict(self._overrides.get(code, {}))
        policy = POLICIES[Verdict(changed.pop("verdict", verdict))]
        return replace(policy, **changed) if changed else policy
