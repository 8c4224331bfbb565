"""The HTTP front door."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from fastapi import FastAPI

from api.access import Services
from api.body_limit import BodyLimit
from api.problems import answer_with_problems
from api.readiness import Readiness, connect_to_watch
from api.requests import Requests
from api.routes import batches, health, jobs, schedules, webhooks
from jobs.database import connect
from jobs.database_metrics import DatabaseMetrics, exposed
from jobs.settings import Settings, settings
from jobs.storage import Bucket

# As many as starlette's thread pool has threads, so that no route waits for a connection.
CONNECTIONS = 40
ROOM_FOR_FIELDS = 64 * 1024
LARGEST_LIST_BYTES = 16_000_000


def create_app(given: Settings | None = None) -> FastAPI:
    """The app, on the settings given or on those of the environment."""
    known = given or settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = connect(known.database_url.get_secret_value(), connections=CONNECTIONS, name="cutout-api")
        bucket = Bucket(known, connections=CONNECTIONS)
        app.state.services = Services(known, engine, bucket)
        watch = connect_to_watch(known)
        app.state.readiness = Readiness(known, watch, bucket)
        with exposed(DatabaseMetrics(watch, known)) if known.metrics_address else nullcontext():
            yield
        watch.dispose()
        engine.dispose()
        bucket.close()

    app = FastAPI(
        title="cutout",
        description="Enqueue product photos, poll their jobs, fetch the cutouts.",
        version="1",
        lifespan=lifespan,
    )
    app.add_middleware(
        BodyLimit,
        max_bytes=max(known.max_source_bytes + ROOM_FOR_FIELDS, LARGEST_LIST_BYTES),
        manifest_bytes=known.max_manifest_bytes,
    )
    app.add_middleware(Requests)
    answer_with_problems(app)
    for routes in (jobs, batches, schedules, webhooks, health):
        app.include_router(routes.router)
    return app
