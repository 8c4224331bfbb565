"""Attacks by requests: what the victim's polling meets meanwhile."""

import time

from bench.strangers.polling import LEAD_S, compare, job_of, polled
from bench.strangers.rig import Rig
from bench.strangers.row import Row


def json(rig: Rig) -> list[Row]:
    """Bodies of garbage, one after the other."""
    measured = [
        (f"16 MB of JSON ({kind}{how})", kind, until)
        for until, how in (("sent", ""), ("answered", ", broken off"))
        for kind in ("jobs", "keys", "deep")
    ]
    measured.append(("60 kB of JSON", "small", "sent"))
    return [row for what, kind, until in measured for row in _measured(rig, what, "json", kind, until)]


def uploads(rig: Rig) -> list[Row]:
    """Uploads at 16 kB/s."""
    return _measured(rig, "45 uploads at 16 kB/s", "uploads", "45")


def streams(rig: Rig) -> list[Row]:
    """Streams of events."""
    return _measured(rig, "205 event streams", "streams", "205", job_of(rig, rig.attacker))


def waits(rig: Rig) -> list[Row]:
    """Waits for a change."""
    return _measured(rig, "2,000 waits", "waits", "2000", job_of(rig, rig.attacker))


def wrong_keys(rig: Rig) -> list[Row]:
    """Keys that look right and are nobody's."""
    return _measured(rig, "40 wrong keys a second", "keys", "40")


def cancels(rig: Rig) -> list[Row]:
    """Two batches cancelled at once."""
    return _measured(rig, "two large batches cancelled", "cancels", *map(str, rig.batches), lead_s=0.2)


def _measured(rig: Rig, what: str, attack: str, *arguments: str, lead_s: float = LEAD_S) -> list[Row]:
    path = job_of(rig, rig.victim)
    polled(rig, path, 2)
    alone = polled(rig, path)
    with rig.attack(attack, *arguments):
        time.sleep(lead_s)
        attacked = polled(rig, path)
    return compare(what, alone, attacked)
