"""The console of one process: its connections, templates, live streams, and what all viewers share."""

import logging
import uuid
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus

from fastapi import Request
from sqlalchemy.orm import Session

from console.assets import Assets
from console.background import Background, slow_engine
from console.cookies import session_token
from console.failures import count_failed
from console.faults import PageError
from console.handed import Handed
from console.live import Hub
from console.parts import Part
from console.pool import FAULTS, SESSIONS, Pool, page_error
from console.priced import Answer, Priced
from console.rejects import Rejects
from console.rendered import part_of
from console.shared_counts import SharedCounts
from console.templates import Templates
from console.token_lookups import TokenLookups
from console.viewer import Viewer, find_viewer
from console.views import ScreenRequest, Views
from cutout.monitoring.check import Check
from cutout.monitoring.overview import Overview, read_overview
from cutout.monitoring.progress import check_progress
from cutout.producers.sessions import open_sessions
from cutout.status.call_rate import CallSettings
from cutout.telemetry.single_flight import SingleFlight

log = logging.getLogger(__name__)

OVERVIEW_WITHIN_S = 10.0
# For operators, and as many for producers.
SUMS_AT_ONCE, LOOKS_AT_ONCE = 1, 1


@dataclass(frozen=True, slots=True)
class Installation:
    """State of the whole installation, for operators."""

    overview: Overview
    checks: list[Check]


class Console:
    """Made when the process starts, on its event loop."""

    def __init__(self, handed: Handed) -> None:
        self.handed = handed
        self.pool = Pool(handed.settings.database_url.get_secret_value())
        self.tokens = TokenLookups(self.pool, handed.tries)
        self._slow = slow_engine(
            handed.settings.database_url.get_secret_value(), 2 * (SUMS_AT_ONCE + LOOKS_AT_ONCE)
        )
        # Sums read whole tables: they must not delay what an operator looks at.
        self.sums = Background(self._slow, at_once=SUMS_AT_ONCE)
        self.looks = Background(self._slow, at_once=LOOKS_AT_ONCE)
        self.assets = Assets()
        self.templates = Templates(self.assets.names)
        self.counts = SharedCounts(handed.count)
        self.failed: Priced[tuple[date, uuid.UUID | None], int] = Priced(self._count_failed, at_once=1)
        self.views = Views()
        self.rejects = Rejects(handed.bucket)
        self.hub = Hub(handed.settings, self._open_sessions, self._part)
        self.picture_origin = origin_of_pictures(handed)
        look = SingleFlight("console", self._look, fresh_s=0)
        self._installation: Priced[None, Installation] = Priced(
            lambda _: look.get_soon(OVERVIEW_WITHIN_S), at_once=1
        )

    async def viewer(self, request: Request) -> Viewer | None:
        """The viewer of the request's session. Raises PageError as `TokenLookups.look_up` does."""
        address = self.handed.address_of(request.scope)
        return await self.tokens.look_up(session_token(request) or "", address, find_viewer)

    async def installation(self) -> Answer[Installation]:
        """The state of the installation, read for all operators together at most once a second.

        It is some seconds old while the next is read. Raises PageError, 503, if Postgres is away or too slow.
        """
        try:
            found = await self._installation.get(None, soon=not self.views.changed_lately(None))
        except FAULTS as error:
            raise page_error(error) from error
        except TimeoutError as error:
            text = f"The state of the installation took longer than {OVERVIEW_WITHIN_S:g} s to read."
            raise PageError(
                HTTPStatus.SERVICE_UNAVAILABLE, text, "Look at “Batches” meanwhile.", wait_s=5
            ) from error
        if found is None:
            raise LookupError("installation")
        return found

    def close(self) -> None:
        """End the streams and close the connections."""
        self.hub.close()
        self.sums.close()
        self.looks.close()
        self.pool.close()
        self._slow.dispose()

    async def _count_failed(self, asked: tuple[date, uuid.UUID | None]) -> int:
        day, producer_id = asked
        return await self.pool.read(lambda c: count_failed(c, day, producer_id), of=producer_id)

    def _look(self) -> Installation:
        settings = CallSettings.of(self.handed.settings)
        with Session(self.pool.engine) as session:
            overview = read_overview(session, settings)
        return Installation(overview, check_progress(self.pool.engine))

    async def _part(self, wanted: ScreenRequest, name: str) -> Part:
        return part_of(self.templates, await self.views.get(wanted), wanted, name)

    async def is_open(self, token_sha256: bytes) -> bool:
        """Whether this session may still read; if nobody can tell, it may."""
        try:
            return token_sha256 in await self._open_sessions([token_sha256])
        except (PageError, RuntimeError) as error:
            log.debug("no session was looked up: %s", type(error).__name__)
            return True

    async def _open_sessions(self, tokens: list[bytes]) -> set[bytes]:
        return await self.pool.read(lambda connection: open_sessions(connection, tokens), of=SESSIONS)


def origin_of_pictures(handed: Handed) -> str:
    """The origin from which a browser loads objects of the bucket."""
    scheme, _, rest = handed.link("none").partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def open_console(handed: Handed) -> Console:
    """To be called on the event loop."""
    return Console(handed)


def console_of(request: Request) -> Console:
    """The console of the app that serves the request."""
    found: Console = request.app.state.console
    return found
