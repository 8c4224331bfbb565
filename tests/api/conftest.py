import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.types import ASGIApp

from api.app import create_app
from api.server import server_options
from jobs.producers import create_producer
from jobs.scopes import Scope
from jobs.settings import Settings
from jobs.storage import Bucket


@contextmanager
def serve(
    settings: Settings, *, behind: Callable[[ASGIApp], ASGIApp] = lambda app: app
) -> Iterator[httpx.Client]:
    """A client, without a key, of the app served on a real port, `behind` what stands before it."""
    app = behind(create_app(settings))
    server = uvicorn.Server(server_options(app=app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20.0) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(settings: Settings, bucket: Bucket) -> Iterator[httpx.Client]:
    """A client, without a key, of an app with small bounds."""
    bounds = {"max_source_bytes": 1_000_000, "max_batch_jobs": 3, "api_requests_per_second": 10_000}
    with serve(settings.model_copy(update=bounds)) as client:
        yield client


def key_for(engine: Engine, name: str, *, scopes: Collection[Scope] = tuple(Scope)) -> dict[str, str]:
    """The header of a new producer, whose key may do everything."""
    with Session(engine) as session, session.begin():
        _, key = create_producer(session, name, scopes=scopes)
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def shop(client: httpx.Client, engine: Engine) -> httpx.Client:
    """The same with the key of a producer."""
    client.headers.update(key_for(engine, "shop"))
    return client
