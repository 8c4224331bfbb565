"""The HTTP front door."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from fastapi import FastAPI

from api.body_limit import BodyLimit, limits_of
from api.error_answers import answer_with_problems
from api.openapi import describe
from api.query_limit import QueryLimit
from api.readiness import Readiness, connect_to_watch
from api.requests import Requests
from api.routes import (
    batch_actions,
    batch_looks,
    batch_results,
    batches,
    health,
    job_actions,
    jobs,
    lists,
    schedules,
    webhooks,
)
from api.secure_headers import SecureHeaders
from api.services import open_services
from api.slow_clients import SlowClients
from jobs.database_metrics import DatabaseMetrics, exposed
from jobs.settings import Settings, settings

ROUTES = (
    lists,
    jobs,
    job_actions,
    batches,
    batch_looks,
    batch_actions,
    batch_results,
    schedules,
    webhooks,
    health,
)


def create_app(given: Settings | None = None) -> FastAPI:
    """The app, on the settings given or on those of the environment."""
    known = given or settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.services = open_services(known)
        watch = connect_to_watch(known)
        app.state.readiness = Readiness(known, watch, app.state.services.bucket)
        with exposed(DatabaseMetrics(watch, known)) if known.metrics_address else nullcontext():
            yield
        watch.dispose()
        app.state.services.close()

    app = FastAPI(
        title="cutout",
        description="Enqueue product photos, poll their jobs, fetch the cutouts.",
        version="1",
        lifespan=lifespan,
    )
    # The last one added is the first one that a request meets.
    app.add_middleware(SlowClients)
    app.add_middleware(BodyLimit, limit=limits_of(known))
    app.add_middleware(QueryLimit)
    app.add_middleware(Requests)
    app.add_middleware(SecureHeaders)
    answer_with_problems(app)
    for routes in ROUTES:
        app.include_router(routes.router)
    describe(app, known)
    return app
