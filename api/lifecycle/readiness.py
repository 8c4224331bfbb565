"""Readiness: checks of the stores with a time limit, at a cost that no client can raise.

Strangers are told only whether the API is ready; the log and the metrics' address tell the rest.
"""

import asyncio
import json
import logging
from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from api.lifecycle.drain import Leaving
from api.lifecycle.request_probe import RequestsProbe
from api.services import Services
from cutout.models.database import connect
from cutout.monitoring.check import Check
from cutout.monitoring.domain_checks import count_late
from cutout.monitoring.health import check_database, check_redis, find_bucket
from cutout.monitoring.probes import PATIENCE_S, Look, share_look
from cutout.monitoring.progress import check_progress
from cutout.settings import Settings
from migrations.run import pending

log = logging.getLogger(__name__)

# Overview and readiness, each asked by one thread at a time.
CONNECTIONS = 2
# Without Redis jobs are taken, and wait.
NEEDED = frozenset({"database", "bucket"})
STATEMENT_TIMEOUT = {"statement_timeout": "8s"}


def connect_to_watch(settings: Settings) -> Engine:
    """Connections that no request can take: who watches must see when all others are taken."""
    return connect(
        settings.database_url.get_secret_value(),
        connections=CONNECTIONS,
        name="cutout-api-watch",
        autocommit=True,
        server_settings=STATEMENT_TIMEOUT,
    )


class Readiness:
    """Reads at all that is needed at once. Belongs to one event loop."""

    def __init__(self, settings: Settings, watch: Engine, services: Services, leaving: Leaving) -> None:
        self.looks = {
            "database": share_look("database", lambda: _look_at_database(settings, watch)),
            "redis": share_look("redis", lambda: [replace(check_redis(settings), needed=False)]),
            "bucket": share_look("bucket", lambda: [find_bucket(services.bucket)]),
        }
        self._requests = RequestsProbe(services)
        self._leaving = leaving
        self._wrong: set[str] = set()
        self._loop = asyncio.get_running_loop()

    async def checks(self) -> list[Check]:
        """All checks, within seconds; what did not answer by then is wrong."""
        asked = [_ask(name, shared) for name, shared in self.looks.items()]
        found = await asyncio.gather(*asked, self._requests.look(PATIENCE_S))
        checks = [check for some in found for check in some]
        self._say_what_changed(checks)
        return [*checks, *self._leaving.checks()]

    def page(self) -> tuple[bool, bytes]:
        """Whether the API is ready, and the findings as JSON. For a thread beside the event loop's."""
        asked = asyncio.run_coroutine_threadsafe(self.checks(), self._loop)
        try:
            checks = asked.result(2 * PATIENCE_S)
        except TimeoutError:
            found = f"it does not answer within {2 * PATIENCE_S:.0f} s"
            checks = [Check("event loop", ok=False, found=found)]
        ready = is_ready(checks)
        return ready, json.dumps(
            {
                "status": "ready" if ready else "not ready",
                "checks": {check.name: check.found for check in checks},
            }
        ).encode()

    def _say_what_changed(self, checks: list[Check]) -> None:
        """Log the details that the public answer leaves out: the server's address and its message."""
        for check in checks:
            if check.ok == (check.name in self._wrong):
                level = logging.INFO if check.ok else logging.WARNING
                log.log(level, "%s: %s", check.name, check.found)
        self._wrong = {check.name for check in checks if not check.ok}


def is_ready(checks: Iterable[Check]) -> bool:
    """Whether all is there that is needed for a job to be taken."""
    return all(check.ok for check in checks if check.needed)


async def _ask(name: str, shared: Look) -> list[Check]:
    try:
        return await shared.get_soon(PATIENCE_S)
    except TimeoutError:
        found = f"no answer within {PATIENCE_S:.0f} s"
        return [Check(name, ok=False, found=found, needed=name in NEEDED)]
    except SQLAlchemyError as error:
        found = "went away while it was looked at"
        return [Check(name, ok=False, found=found, cause=error, needed=name in NEEDED)]


def _look_at_database(settings: Settings, engine: Engine) -> list[Check]:
    checks = check_database(engine, pending)
    if not all(check.ok for check in checks):
        return checks
    return [*checks, *check_progress(engine), *count_late(settings, engine)]
