"""A line for each command that changes something: to the system's log, or to standard error without one.

The row in `actions` is the record of what was changed. The line also tells of commands that failed, and is
where those who can write to the database cannot reach it.
"""

import logging
import re
from collections.abc import Sequence
from logging.handlers import SysLogHandler
from pathlib import Path

from cli.user import user

# Of a command that did nothing.
USAGE = 2
SYSTEM_LOG = Path("/dev/log")
LOGGER = "cutout.audit"
TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
CHANGES = frozenset(
    {
        *("ingest", "approve", "retry", "cancel", "accept", "render", "pause", "resume", "budget", "erase"),
        *("forget-missing", "audit", "migrate"),
        *("keys make", "keys revoke", "keys quota"),
        *("producers limit", "producers suspend", "producers resume"),
        *("webhooks replay", "webhooks secret", "webhooks rotate"),
        *("schedule add", "schedule pause", "schedule resume", "schedule skip", "schedule run"),
        "schedule remove",
    }
)
# Ids and their beginnings. Other words may be addresses with a token in them.
ID = re.compile(r"[0-9a-f]{4,}(-[0-9a-f]*)*")


def record(words: Sequence[str], exit_code: int) -> None:
    """Write one line if the command changes something: the command, its ids, the user and the exit code."""
    if "--help" in words or exit_code == USAGE:
        return
    action = next((name for name in (" ".join(words[:2]), *words[:1]) if name in CHANGES), None)
    if action is None:
        return
    ids = [word for word in words if ID.fullmatch(word)]
    named = " ".join(["cutout", action, *ids])
    told = f"{named} by the user {user()} of this machine: exit {exit_code}"
    handler = _handler()
    # Not by the logger: a command configures no log.
    handler.handle(logging.LogRecord(LOGGER, logging.INFO, "", 0, told, None, None))
    handler.close()


def _handler() -> logging.Handler:
    if SYSTEM_LOG.is_socket():
        try:
            handler: logging.Handler = SysLogHandler(str(SYSTEM_LOG), SysLogHandler.LOG_AUTH)
        except OSError:
            pass
        else:
            handler.ident = "cutout: "  # type: ignore[attr-defined]
            return handler
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(TEXT))
    return handler
