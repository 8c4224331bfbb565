"""The HTTP front door."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from fastapi import FastAPI

from api.console_door import console_opened, mount_console
from api.exception_handlers import answer_with_problems
from api.lifecycle.drain import LEAVING, CloseWhenLeaving, Leaving
from api.lifecycle.loop_lag import watch_loop
from api.lifecycle.readiness import Readiness, connect_to_watch
from api.middleware.body_limit import BodyLimit, limits_of
from api.middleware.compression import Compression
from api.middleware.hosts import Hosts
from api.middleware.methods import Methods
from api.middleware.query_limit import QueryLimit
from api.middleware.request_log import Requests
from api.middleware.secure_headers import SecureHeaders
from api.middleware.slow_clients import SlowClients
from api.openapi import describe
from api.operations import operations_of
from api.routes import (
    batch_actions,
    batch_changes,
    batch_results,
    batch_status,
    batches,
    docs,
    health,
    job_actions,
    job_pictures,
    jobs,
    lists,
    schedules,
    webhook_endpoints,
    webhooks,
    whoami,
)
from api.services import open_services
from cutout.monitoring.probes import StoreMetrics, live_page
from cutout.monitoring.prometheus import DatabaseMetrics, exposed
from cutout.settings import Settings, read_settings
from cutout.telemetry.metrics_server import LIVE, READY, shown

ROUTES = (
    lists,
    jobs,
    job_pictures,
    job_actions,
    batches,
    batch_status,
    batch_changes,
    batch_actions,
    batch_results,
    schedules,
    webhook_endpoints,
    webhooks,
    whoami,
    docs,
    health,
)


def create_app(given: Settings | None = None) -> FastAPI:
    """The app, on the settings given or on those of the environment."""
    settings = given or read_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Leaving]]:
        app.state.services = open_services(settings)
        # Takes a third of a second, and no request is to wait for it.
        operations_of(app)
        docs.make_pages(app)
        watch, leaving = connect_to_watch(settings), Leaving()
        app.state.readiness = Readiness(settings, watch, app.state.services, leaving)
        watching = asyncio.create_task(watch_loop())
        with ExitStack() as stack:
            if settings.metrics_address:
                stack.enter_context(exposed(DatabaseMetrics(watch, settings)))
                needed = {name: app.state.readiness.looks[name] for name in ("database", "bucket")}
                stack.enter_context(exposed(StoreMetrics(needed)))
                stack.enter_context(shown(LIVE, live_page))
                stack.enter_context(shown(READY, app.state.readiness.page))
            async with console_opened(app, app.state.services):
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
        # It would be written anew at each request; `routes/docs.py` has it.
        openapi_url=None,
        # Pages that load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    # The last one added is the first one that a request meets.
    app.add_middleware(Methods, operations=lambda: operations_of(app))
    app.add_middleware(SlowClients)
    app.add_middleware(BodyLimit, limit=limits_of(settings))
    app.add_middleware(QueryLimit)
    app.add_middleware(Hosts, hosts=settings.api_hosts)
    app.add_middleware(Compression)
    app.add_middleware(Requests, log_reads=settings.log_reads)
    app.add_middleware(SecureHeaders)
    app.add_middleware(CloseWhenLeaving)
    answer_with_problems(app)
    for routes in ROUTES:
        app.include_router(routes.router)
    if settings.console:
        mount_console(app)
    describe(app, settings)
    return app
