import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from api.app import create_app
from jobs.producers import create_producer
from jobs.settings import Settings
from jobs.storage import Bucket


@contextmanager
def serve(settings: Settings) -> Iterator[httpx.Client]:
    """A client, without a key, of the app served on a real port."""
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), host="127.0.0.1", port=0, log_level="warning")
    )
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
    with serve(settings.model_copy(update={"max_source_bytes": 1_000_000, "max_batch_jobs": 3})) as client:
        yield client


def key_for(engine: Engine, name: str) -> dict[str, str]:
    """The header of a new producer."""
    with Session(engine) as session, session.begin():
        _, key = create_producer(session, name)
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def shop(client: httpx.Client, engine: Engine) -> httpx.Client:
    """The same with the key of a producer."""
    client.headers.update(key_for(engine, "shop"))
    return client
