"""The HTTP front door."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from fastapi import FastAPI

from api.exception_handlers import answer_with_problems
from api.lifecycle.drain import LEAVING, CloseWhenLeaving, Leaving
from api.lifecycle.loop_lag import watch_loop
from api.lifecycle.readiness import Readiness, connect_to_watch
from api.middleware.body_limit import BodyLimit, limits_of
from api.middleware.hosts import Hosts
from api.middleware.query_limit import QueryLimit
from api.middleware.request_log import Requests
from api.middleware.secure_headers import SecureHeaders
from api.middleware.slow_clients import SlowClients
from api.openapi import describe
from api.routes import (
    batch_actions,
    batch_results,
    batch_status,
    batches,
    docs,
    health,
    job_actions,
    jobs,
    lists,
    schedules,
    webhooks,
)
from api.services import open_services
from cutout.monitoring.prometheus import DatabaseMetrics, exposed
from cutout.settings import Settings, read_settings
from cutout.telemetry.metrics_server import shown

ROUTES = (
    lists,
    jobs,
    job_actions,
    batches,
    batch_status,
    batch_actions,
    batch_results,
    schedules,
    webhooks,
    docs,
    health,
)


def create_app(given: Settings | None = None) -> FastAPI:
    """The app, on the settings given or on those of the environment."""
    settings = given or read_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Leaving]]:
        app.state.services = open_services(settings)
        watch, leaving = connect_to_watch(settings), Leaving()
        app.state.readiness = Readiness(settings, watch, app.state.services, leaving)
        watching = asyncio.create_task(watch_loop())
        with ExitStack() as stack:
            if settings.metrics_address:
                stack.enter_context(exposed(DatabaseMetrics(watch, settings)))
                stack.enter_context(shown("/readyz", app.state.readiness.page))
            yield {LEAVING: leaving}
        watching.cancel()
        watch.dispose()
        app.state.services.close()

    app = FastAPI(
        title="cutout",
        description="Enqueue product photos, poll their jobs, fetch the cutouts.",
        version="1",
        lifespan=lifespan,
        # They would name the host that the request does, before anybody asked for its key.
        redirect_slashes=False,
        # Pages that load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    # The last one added is the first one that a request meets.
    app.add_middleware(SlowClients)
    app.add_middleware(BodyLimit, limit=limits_of(settings))
    app.add_middleware(QueryLimit)
    app.add_middleware(Hosts, hosts=settings.api_hosts)
    app.add_middleware(Requests)
    app.add_middleware(SecureHeaders)
    app.add_middleware(CloseWhenLeaving)
    answer_with_problems(app)
    for routes in ROUTES:
        app.include_router(routes.router)
    describe(app, settings)
    return app
