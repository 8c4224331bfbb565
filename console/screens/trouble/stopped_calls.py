"""Reasons that stop the calls of all producers."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from console.viewer import Viewer
from cutout.billing.learned_limits import circuit_is_open
from cutout.enums import Stop
from cutout.models import ACCOUNTS, BREAKER, LIMITS, QUEUE_CLOCK, Limit
from cutout.status.stoppages import FETCH_REMEDY

BREAKERS = {
    Stop.BUCKET: ("The bucket takes no cutouts", "fix the bucket; calls resume by themselves"),
    Stop.RESULTS: ("Paid results cannot be fetched", FETCH_REMEDY),
    Stop.BACKLOG: ("Too many paid results wait for their copy", "find out why copies are slow"),
}


@dataclass(frozen=True, slots=True)
class Stopped:
    """A thing that stops calls: what, since when, why, when it is tried again, and what to do."""

    text: str
    since: datetime | None
    reason: str
    until: datetime | None
    remedy: str


def stopped_calls(connection: Connection, viewer: Viewer) -> list[Stopped]:
    """Reasons that stop the calls of all producers; these hear only that calls are paused."""
    paused_at = connection.scalar(select(QUEUE_CLOCK.c.paused_at))
    found = []
    if paused_at is not None:
        remedy = "“Limit” has the button that ends it" if viewer.is_operator else ""
        found.append(Stopped("All calls are paused by an operator", paused_at, "", None, remedy))
    if not viewer.is_operator:
        return found
    for row in connection.execute(select(BREAKER).where(BREAKER.c.opened_at.is_not(None))):
        text, remedy = BREAKERS[Stop(row.kind)]
        found.append(Stopped(text, row.opened_at, row.reason, row.probe_at, remedy))
    for row in connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.paused_at.is_not(None))):
        reason = f"{row.pause_code}: {row.pause_message}"
        remedy = "it is asked again by itself; see `cutout limits`"
        found.append(
            Stopped(f"The account {row.name} is paused", row.paused_at, reason, row.probe_at, remedy)
        )
    circuits = select(LIMITS.c.account, LIMITS.c.circuit_until).where(circuit_is_open(Limit))
    for row in connection.execute(circuits):
        text = f"The endpoint fails for all jobs of the account {row.account}"
        found.append(Stopped(text, None, "", row.circuit_until, "it is probed by itself; see “Limit”"))
    return found
