from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
from sqlalchemy import Engine, text
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cutout.settings import Settings
from cutout.storage import Bucket
from cutout_client import Client, Retries
from tests.api.conftest import key_for, serve
from tests.cutout_client.blocking import make_client

SOURCE = "https://shop.example/a.jpg"
QUICK = Retries(first_wait_s=0.01, longest_wait_s=0.05)
# Makes a client for an address and a key, with these limits of retries and of seconds for an answer.
MakeClient = Callable[..., Client]


class Gateway:
    """Before the API: the first `loses` answers are lost on their way back, as by a proxy."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.loses = 0
        self.status = 502

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def swallow(_: Message) -> None:
            """The answer goes nowhere."""

        if scope["type"] != "http" or self.loses == 0:
            await self.app(scope, receive, send)
            return
        self.loses -= 1
        await self.app(scope, receive, swallow)
        answer = PlainTextResponse("bad gateway", self.status, headers={"Retry-After": "0"})
        await answer(scope, receive, send)


@pytest.fixture
def gateway() -> list[Gateway]:
    """Holds what stands before the API once that is served."""
    return []


@pytest.fixture
def api(settings: Settings, bucket: Bucket, gateway: list[Gateway]) -> Iterator[httpx.Client]:
    """The API on a real port, its bucket made."""

    def behind(app: ASGIApp) -> ASGIApp:
        gateway.append(Gateway(app))
        return gateway[0]

    assert bucket.name
    with serve(settings, behind=behind) as client:
        yield client


@pytest.fixture
def key(engine: Engine) -> str:
    """A producer's key."""
    return key_for(engine, "shop")["Authorization"].split()[1]


@pytest.fixture(params=["sync", "async"])
def client_for(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    """Makes clients of both kinds, with little patience, and closes them."""
    with ExitStack() as opened:

        def make(url: str, key: str, retries: Retries = QUICK, timeout_s: float = 30.0) -> Client:
            return opened.enter_context(make_client(request.param, url, key, retries, timeout_s))

        yield make


@pytest.fixture
def cutout(api: httpx.Client, key: str, client_for: MakeClient) -> Client:
    """The client."""
    return client_for(str(api.base_url), key)


def jobs_in(engine: Engine) -> int:
    """The count of jobs."""
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM jobs")).scalar_one())


def finish(engine: Engine, bucket: Bucket, data: bytes, *, full_size: bool = False) -> None:
    """Let every job have succeeded with this cutout; at full size it is still to be made."""
    sha256 = bucket.put_cutout(data, key="cutouts/a.png", media_type="image/png", metadata={})
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE jobs SET state = 'succeeded', full_size = :full_size,"
                " queue_state = NULL, finished_at = now(),"
                " key = 'cutouts/a.png', sha256 = :sha256, media_type = 'image/png', size_bytes = :size,"
                " width = 1, height = 1"
            ),
            {"sha256": sha256, "size": len(data), "full_size": full_size},
        )
