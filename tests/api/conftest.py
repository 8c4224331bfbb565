import socket
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from starlette.types import ASGIApp

from api.app import create_app
from api.services import Services
from cutout.enums import Scope
from cutout.models import Producer
from cutout.producers.producers import create_producer
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.support.forked import Forked, start_module
from tests.support.plain_http import NO_TLS
from tests.support.served import serving
from tests.support.system import wait_until


@contextmanager
def serve(
    settings: Settings, *, behind: Callable[[ASGIApp], ASGIApp] = lambda app: app
) -> Iterator[httpx.Client]:
    """A client, without a key, of an app on these settings, `behind` what stands before it."""
    with serve_app(behind(create_app(settings))) as client:
        yield client


@contextmanager
def serve_app(app: ASGIApp) -> Iterator[httpx.Client]:
    """A client, without a key, of the app served on a real port."""
    with serving(app) as url, httpx.Client(base_url=url, timeout=20.0, verify=NO_TLS) as client:
        yield client


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    """The app with small bounds."""
    bounds = {"max_source_bytes": 1_000_000, "max_batch_jobs": 3, "api_requests_per_second": 10_000}
    return create_app(settings.model_copy(update=bounds))


@pytest.fixture
def client(app: FastAPI, bucket: Bucket) -> Iterator[httpx.Client]:
    """A client of it, without a key."""
    with serve_app(app) as client:
        yield client


@pytest.fixture
def services_of(client: httpx.Client, app: FastAPI) -> Services:
    """The services of the served app, for a test to read."""
    found: Services = app.state.services
    return found


def key_for(engine: Engine, name: str, *, scopes: Collection[Scope] = tuple(Scope)) -> dict[str, str]:
    """The header of a new producer, whose key may do everything."""
    with Session(engine) as session, session.begin():
        _, key = create_producer(session, name, scopes=scopes)
    return {"Authorization": f"Bearer {key}"}


def producer_of(engine: Engine, name: str = "shop") -> uuid.UUID:
    """The producer of that name."""
    with Session(engine) as session:
        return session.scalars(select(Producer.id).where(Producer.name == name)).one()


@pytest.fixture
def shop(client: httpx.Client, engine: Engine) -> httpx.Client:
    """A client with the key of a producer."""
    client.headers.update(key_for(engine, "shop"))
    return client


@dataclass(frozen=True)
class Served:
    """The API in a process of its own."""

    url: str
    process: Forked


@pytest.fixture
def served(environment: dict[str, str], bucket: Bucket, tmp_path: Path) -> Iterator[Served]:
    """`cutout api`, ready."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    log = tmp_path / "api.log"
    process = start_module("api", "127.0.0.1", str(port), environment=environment, log=log)
    served = Served(f"http://127.0.0.1:{port}", process)

    def answers() -> bool:
        try:
            return httpx.get(f"{served.url}/healthz", verify=NO_TLS).is_success
        except httpx.TransportError:
            return False

    wait_until(answers, "the API answers")
    yield served
    process.kill()
    process.wait()
