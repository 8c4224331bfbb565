"""The ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from sandbox import control, downloads, endpoint
from sandbox.state import Sandbox


def create_app(sandbox: Sandbox) -> FastAPI:
    """Make the app of one sandbox, which is closed when the app ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            sandbox.close()

    app = FastAPI(title="Sandbox of the background removal endpoint", lifespan=lifespan)
    app.state.sandbox = sandbox
    for part in (control, downloads, endpoint):
        app.include_router(part.router)
    return app
