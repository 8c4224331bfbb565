"""The process's connections and caches, made once when it starts."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from anyio import CapacityLimiter
from anyio.to_thread import current_default_thread_limiter
from sqlalchemy import Engine

from api.bodies.reading_time import ReadingTime
from api.key_cache import Keys
from api.key_usage import KeyUsageRecorder
from api.limits.producer_slots import ProducerSlots
from api.limits.producer_threads import Threads
from api.limits.rate_limit import RequestLimit
from api.limits.sizes import USUAL_BYTES
from api.live.batch_cache import BatchCache
from api.live.long_poll import Watch
from api.live.read_pool import CONNECTIONS as LOOKS
from api.live.read_pool import ReadPool
from api.live.sse import Events
from cutout.models.database import connect
from cutout.queue.signals import Signal, SignalListener, SignalSender
from cutout.settings import Settings
from cutout.status.call_rate import CallSettings
from cutout.status.eta import QueueRate, read_queue_rate
from cutout.storage import Bucket
from cutout.telemetry.fresh_cache import FreshCache

# With those for looks no more than a process had before there were any.
CONNECTIONS = 40 - LOOKS
# Bodies of 64 kB at most, which are in memory; larger ones count as uploads.
SMALL_BODIES = 400
# Larger JSON, up to 16 MB each, which is in memory until it is answered.
LARGE_BODIES = 8
VALIDATED_AT_ONCE = 2
COMPRESSED_AT_ONCE = 2
# Results of batches that are sent while they are read.
DOWNLOADS = 40
# Their pictures, which may take six hours: readers of results wait for none of them.
PICTURES = 20
# Writing them is work for the interpreter, which all requests share.
DOWNLOADS_AT_WORK = 4
# The queue's rate is a guess at when to look again, and changes slowly: no request waits for five statements.
PACE_SLACK_S = 10.0
# No statement of a request may take longer; reading results is many short ones.
PATIENCE = {"statement_timeout": "30s", "lock_timeout": "10s"}


@dataclass(frozen=True, slots=True)
class Services:
    """The process's connections, made once when it starts."""

    settings: Settings
    engine: Engine
    bucket: Bucket
    looks: ReadPool
    keys: Keys
    limit: RequestLimit
    last_use: KeyUsageRecorder
    pace: FreshCache[None, QueueRate]
    counting: BatchCache
    watch: Watch
    signals: SignalSender
    ended_jobs: SignalListener
    events: Events
    # For what takes a session of `engine`: the threads that the framework uses, too.
    threads: Threads
    # For what writes into the bucket, however slowly it comes.
    upload_threads: Threads
    download_threads: Threads
    # Large bodies are validated off the event loop, and share one interpreter with it.
    validations: Threads
    # For pieces of answers that take longer than a thread takes to begin.
    compressions: Threads
    reading_time: ReadingTime
    small_bodies: ProducerSlots
    large_bodies: ProducerSlots
    uploads: ProducerSlots
    downloads: ProducerSlots
    pictures: ProducerSlots

    def close(self) -> None:
        self.last_use.stop()
        self.engine.dispose()
        self.looks.close()
        self.ended_jobs.stop()
        self.signals.close()
        self.bucket.close()


def open_services(settings: Settings) -> Services:
    """To be called on the event loop."""
    looks = ReadPool(settings)
    installation = CallSettings.of(settings)

    engine = connect(
        settings.database_url.get_secret_value(),
        connections=CONNECTIONS,
        name="cutout-api",
        server_settings=PATIENCE,
    )

    async def find_pace(_: None) -> QueueRate:
        return await looks.quick(
            lambda connection: read_queue_rate(
                connection, installation.accounts, installation.calls_per_second
            ),
            of=None,
        )

    pace = FreshCache(find_pace, slack_s=PACE_SLACK_S)
    counting = BatchCache(looks, pace)
    watch = Watch(looks)
    loop = asyncio.get_running_loop()
    ended_jobs = SignalListener(settings, Signal.ENDED, lambda: _soon(loop, watch.look_now))
    ended_jobs.start()
    return Services(
        settings=settings,
        engine=engine,
        bucket=Bucket(settings, connections=CONNECTIONS),
        looks=looks,
        keys=Keys(looks),
        limit=RequestLimit(settings.api_requests_per_second),
        last_use=KeyUsageRecorder(engine),
        pace=pace,
        counting=counting,
        watch=watch,
        signals=SignalSender(settings),
        ended_jobs=ended_jobs,
        events=Events(looks, counting),
        threads=Threads("common", current_default_thread_limiter(), CONNECTIONS),
        upload_threads=Threads("uploads", CapacityLimiter(settings.api_uploads), settings.api_uploads),
        download_threads=Threads("downloads", CapacityLimiter(DOWNLOADS_AT_WORK), DOWNLOADS_AT_WORK),
        validations=Threads("validations", CapacityLimiter(VALIDATED_AT_ONCE), VALIDATED_AT_ONCE),
        compressions=Threads("compressions", CapacityLimiter(COMPRESSED_AT_ONCE), COMPRESSED_AT_ONCE),
        reading_time=ReadingTime(),
        large_bodies=ProducerSlots(
            "large_bodies", f"JSON bodies of more than {USUAL_BYTES:,} bytes", LARGE_BODIES
        ),
        small_bodies=ProducerSlots("bodies", "requests with a body", SMALL_BODIES),
        uploads=ProducerSlots("uploads", "uploads", settings.api_uploads),
        downloads=ProducerSlots("downloads", "downloads of results", DOWNLOADS),
        pictures=ProducerSlots("pictures", "downloads of pictures", PICTURES),
    )


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: the process ends
        loop.call_soon_threadsafe(call)
