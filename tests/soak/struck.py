"""A strike that was carried out."""

from dataclasses import dataclass

from tests.soak.plan import Kind


@dataclass(frozen=True)
class Struck:
    """A strike, its begin and end in Unix seconds; `at_s` is in seconds after the start.

    `pid` is that of the worker, for a strike on one.
    """

    at_s: float
    kind: Kind
    target: str
    began_at: float
    ended_at: float
    pid: int | None = None
