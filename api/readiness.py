"""What is there and what is not: found out in time whatever is frozen, at a cost that no asker can raise."""

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from jobs.database import connect
from jobs.health import Check, check_database, check_moving, check_redis, find_bucket
from jobs.schedules.check import count_late
from jobs.settings import Settings
from jobs.shared_answer import SharedAnswer
from jobs.storage import Bucket
from migrations.run import pending

log = logging.getLogger(__name__)

# Anyone may ask.
FRESH_S = 1.0
PATIENCE_S = 3.0
# Figures and readiness, each asked by one thread at a time.
CONNECTIONS = 2
STATEMENT_TIMEOUT = {"statement_timeout": "8s"}


def connect_to_watch(known: Settings) -> Engine:
    """Connections that no request can take: who watches must see when all others are taken."""
    return connect(
        known.database_url.get_secret_value(),
        connections=CONNECTIONS,
        name="cutout-api-watch",
        autocommit=True,
        server_settings=STATEMENT_TIMEOUT,
    )


class Readiness:
    """Looks at all that is needed at once."""

    def __init__(self, known: Settings, engine: Engine, bucket: Bucket) -> None:
        self._looks = {
            "database": _shared("database", lambda: _look_at_database(known, engine)),
            "redis": _shared("redis", lambda: [check_redis(known)]),
            "bucket": _shared("bucket", lambda: [find_bucket(bucket)]),
        }
        self._wrong: set[str] = set()

    async def checks(self) -> list[Check]:
        """All checks, within seconds; what did not answer by then is wrong."""
        found = await asyncio.gather(*(_ask(name, look) for name, look in self._looks.items()))
        checks = [check for some in found for check in some]
        self._say_what_changed(checks)
        return checks

    def _say_what_changed(self, checks: list[Check]) -> None:
        """Into the log goes what the public is not told: where the server is, and what it said."""
        for check in checks:
            if check.ok == (check.name in self._wrong):
                level = logging.INFO if check.ok else logging.WARNING
                log.log(level, "%s: %s", check.name, check.found)
        self._wrong = {check.name for check in checks if not check.ok}


def _shared(name: str, look: Callable[[], list[Check]]) -> SharedAnswer[list[Check]]:
    return SharedAnswer(f"readiness of {name}", look, fresh_s=FRESH_S)


async def _ask(name: str, look: SharedAnswer[list[Check]]) -> list[Check]:
    try:
        return await look.get_soon(PATIENCE_S)
    except TimeoutError:
        return [Check(name, ok=False, found=f"no answer within {PATIENCE_S:.0f} s")]
    except SQLAlchemyError as error:
        return [Check(name, ok=False, found="went away while it was looked at", cause=error)]


def _look_at_database(known: Settings, engine: Engine) -> list[Check]:
    checks = check_database(engine, pending)
    if not all(check.ok for check in checks):
        return checks
    return [*checks, *check_moving(engine), *count_late(known, engine)]
