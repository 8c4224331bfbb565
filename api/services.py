"""The process's connections and what it keeps in memory, made once when it starts."""

from dataclasses import dataclass

from anyio import CapacityLimiter
from sqlalchemy import Engine

from api.counting import Counting
from api.events import Events
from api.fresh import Fresh
from api.large_bodies import LargeBodies
from api.last_use import LastUse
from api.looks import CONNECTIONS as LOOKS
from api.looks import Looks
from api.rate_limit import RequestLimit
from api.watch import Watch
from jobs.api_keys import KnownKey, find_key
from jobs.database import connect
from jobs.explain import Installation
from jobs.pace import Pace, look_at_pace
from jobs.settings import Settings
from jobs.storage import Bucket

# With those for looks no more than a process had before there were any.
CONNECTIONS = 40 - LOOKS
# Moving a million jobs takes about a minute; other requests are not to wait for a thread behind it.
MOVES_AT_ONCE = 2
# No statement of a request may take longer; reading results is many short ones.
PATIENCE = {"statement_timeout": "30s", "lock_timeout": "10s"}


@dataclass(frozen=True, slots=True)
class Services:
    """The process's connections, made once when it starts."""

    settings: Settings
    engine: Engine
    bucket: Bucket
    looks: Looks
    # By their hashes. A key that was revoked may look for a second more.
    keys: Fresh[bytes, KnownKey]
    limit: RequestLimit
    last_use: LastUse
    pace: Fresh[None, Pace]
    counting: Counting
    watch: Watch
    events: Events
    moves: CapacityLimiter
    large_bodies: LargeBodies

    def close(self) -> None:
        self.last_use.stop()
        self.engine.dispose()
        self.looks.close()
        self.bucket.close()


def open_services(known: Settings) -> Services:
    """To be called on the event loop."""
    looks = Looks(known)
    installation = Installation.of(known)

    engine = connect(
        known.database_url.get_secret_value(),
        connections=CONNECTIONS,
        name="cutout-api",
        server_settings=PATIENCE,
    )

    async def find(key_sha256: bytes) -> KnownKey | None:
        return await looks.quick(lambda connection: find_key(connection, key_sha256))

    async def find_pace(_: None) -> Pace:
        return await looks.quick(
            lambda connection: look_at_pace(connection, installation.accounts, installation.calls_per_second)
        )

    pace = Fresh(find_pace)
    counting = Counting(looks, pace)
    return Services(
        settings=known,
        engine=engine,
        bucket=Bucket(known, connections=CONNECTIONS),
        looks=looks,
        keys=Fresh(find),
        limit=RequestLimit(known.api_requests_per_second),
        last_use=LastUse(engine),
        pace=pace,
        counting=counting,
        watch=Watch(looks),
        events=Events(looks, counting),
        moves=CapacityLimiter(MOVES_AT_ONCE),
        large_bodies=LargeBodies(),
    )
