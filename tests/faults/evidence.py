"""Evidence for tests of faults: the sandbox's counts, our ledger, the bucket. Never a log."""

import hashlib
from dataclasses import dataclass

from sqlalchemy import text

from cutout.storage import Bucket
from tests.support.sandbox import Sandbox
from tests.support.system import System


@dataclass(frozen=True)
class Ledger:
    """The attempts by outcome; `doubted` were once given up as unknown, `lost` paid for nothing."""

    charged: int
    not_charged: int
    unknown: int
    doubted: int
    lost: int


def ledger(system: System) -> Ledger:
    """Paid calls by our database."""
    counted = ", ".join(
        f"count(*) FILTER (WHERE {condition}) AS {name}"
        for name, condition in {
            "charged": "outcome = 'charged'",
            "not_charged": "outcome = 'not_charged'",
            "unknown": "outcome = 'unknown'",
            "doubted": "unknown_at IS NOT NULL",
            "lost": "lost_at IS NOT NULL",
        }.items()
    )
    return Ledger(**system.row(f"SELECT {counted} FROM attempts"))  # noqa: S608 - our own words


def whole(system: System, bucket: Bucket) -> int:
    """Count of the jobs that succeeded and whose object has the bytes that their row names."""
    with system.engine.connect() as connection:
        rows = connection.execute(text("SELECT key, sha256 FROM jobs WHERE state = 'succeeded'")).all()
    assert len({row.key for row in rows}) == len(rows)
    return sum(
        hashlib.sha256(bucket.read(row.key, max_bytes=100_000_000)).digest() == row.sha256 for row in rows
    )


def arrived(sandbox: Sandbox) -> int:
    """Count of the calls that reached the sandbox since it started, those of other tests too."""
    return sandbox.stats()["arrived"]


def in_flight(sandbox: Sandbox) -> int:
    """Count of the calls that the sandbox has not answered yet."""
    return sandbox.stats()["in_flight"]
