"""Errors of the lifeboat, and the names of its entries."""

import re

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class LifeboatError(Exception):
    """The lifeboat failed, and may work later. `code` is stable, the message is for people."""

    code = "LIFEBOAT_AWAY"


class LifeboatFullError(LifeboatError):
    """The lifeboat has no room left."""

    code = "LIFEBOAT_FULL"


def is_key(name: str) -> bool:
    """Whether the name can be an entry's: a job's id alone, so that no name leads out of the lifeboat."""
    return UUID.fullmatch(name) is not None


def check_key(name: str) -> str:
    """Return the name; raises LifeboatError unless it can be an entry's."""
    if not is_key(name):
        raise LifeboatError(f"{name[:100]!r} is no entry of a lifeboat: entries are named by job ids")
    return name
