"""The HTTP front door."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from fastapi import FastAPI

from api.body_limit import BodyLimit, limits_of
from api.error_answers import answer_with_problems
from api.last_use import LastUse
from api.openapi import describe
from api.rate_limit import RequestLimit
from api.readiness import Readiness, connect_to_watch
from api.requests import Requests
from api.routes import batches, health, jobs, schedules, webhooks
from api.secure_headers import SecureHeaders
from api.services import Services
from api.slow_clients import SlowClients
from jobs.database import connect
from jobs.database_metrics import DatabaseMetrics, exposed
from jobs.settings import Settings, settings
from jobs.storage import Bucket

# As many as starlette's thread pool has threads, so that no route waits for a connection.
CONNECTIONS = 40
# No statement of a request may take longer; reading results is many short ones.
PATIENCE = {"statement_timeout": "30s", "lock_timeout": "10s"}


def create_app(given: Settings | None = None) -> FastAPI:
    """The app, on the settings given or on those of the environment."""
    known = given or settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = connect(
            known.database_url.get_secret_value(),
            connections=CONNECTIONS,
            name="cutout-api",
            server_settings=PATIENCE,
        )
        bucket = Bucket(known, connections=CONNECTIONS)
        last_use = LastUse(engine)
        limit = RequestLimit(known.api_requests_per_second)
        app.state.services = Services(known, engine, bucket, limit, last_use)
        watch = connect_to_watch(known)
        app.state.readiness = Readiness(known, watch, bucket)
        with exposed(DatabaseMetrics(watch, known)) if known.metrics_address else nullcontext():
            yield
        watch.dispose()
        last_use.stop()
        engine.dispose()
        bucket.close()

    app = FastAPI(
        title="cutout",
        description="Enqueue product photos, poll their jobs, fetch the cutouts.",
        version="1",
        lifespan=lifespan,
    )
    # The last one added is the first one that a request meets.
    app.add_middleware(SlowClients)
    app.add_middleware(BodyLimit, limit=limits_of(known))
    app.add_middleware(Requests)
    app.add_middleware(SecureHeaders)
    answer_with_problems(app)
    for routes in (jobs, batches, schedules, webhooks, health):
        app.include_router(routes.router)
    describe(app, known)
    return app
