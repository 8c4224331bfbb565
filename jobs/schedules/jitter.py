"""Spreading runs that are ordered for one instant, the same by every dispatcher that reckons it."""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta


def due_at(schedule_id: uuid.UUID, fire_at: datetime, jitter_seconds: int) -> datetime:
    """`fire_at` and up to `jitter_seconds` more, to a millisecond; always the same for a run."""
    if not jitter_seconds:
        return fire_at
    named = schedule_id.bytes + fire_at.astimezone(UTC).isoformat().encode()
    drawn = int.from_bytes(hashlib.sha256(named).digest()[:8])
    return fire_at + timedelta(milliseconds=drawn % (jitter_seconds * 1000 + 1))
