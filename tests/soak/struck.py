"""A strike that was carried out."""

from dataclasses import dataclass

from tests.soak.plan import Kind


@dataclass(frozen=True)
class Struck:
    """What was struck, and when: `at_s` seconds after the start, from `began_at` to `ended_at` (Unix seconds).

    `pid` is that of the worker, for a strike on one.
    """

    at_s: float
    kind: Kind
    target: str
    began_at: float
    ended_at: float
    pid: int | None = None
