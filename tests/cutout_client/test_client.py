import io
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, text
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import cutout_client
from cutout.settings import Settings
from cutout.storage import Bucket
from cutout_client import Client, NewJob, Retries
from tests.api.conftest import key_for, serve
from tests.support.machine import scaled
from tests.support.proxy import Mode, Proxy

SOURCE = "https://shop.example/a.jpg"
QUICK = Retries(first_wait_s=0.01, longest_wait_s=0.05)


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


@pytest.fixture
def cutout(api: httpx.Client, key: str) -> Iterator[Client]:
    """The client, with little patience."""
    with Client(str(api.base_url), key, retries=QUICK) as client:
        yield client


def jobs_in(engine: Engine) -> int:
    """The count of jobs."""
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM jobs")).scalar_one())


def finish(engine: Engine, bucket: Bucket, data: bytes) -> None:
    """Let every job have succeeded with this cutout."""
    sha256 = bucket.put_cutout(data, key="cutouts/a.png", media_type="image/png", metadata={})
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE jobs SET state = 'succeeded', queue_state = NULL, finished_at = now(),"
                " key = 'cutouts/a.png', sha256 = :sha256, media_type = 'image/png', size_bytes = :size,"
                " width = 1, height = 1"
            ),
            {"sha256": sha256, "size": len(data)},
        )


class TestEnqueueing:
    def test_by_address_gives_the_job(self, cutout: Client) -> None:
        """Typed, as `get` gives it too."""
        job = cutout.enqueue(source_url=SOURCE, external_id="SKU", return_form="mask")
        assert (job.state, job.external_id, job.return_form, job.result) == ("queued", "SKU", "mask", None)
        assert job.created_at.tzinfo is not None
        assert cutout.get(job.id) == job

    @pytest.mark.parametrize("kind", ["bytes", "path", "file"])
    def test_by_upload_takes_bytes_paths_and_files(  # noqa: PLR0917 - fixtures
        self, cutout: Client, engine: Engine, bucket: Bucket, photo: bytes, tmp_path: Path, kind: str
    ) -> None:
        """The picture lies in the bucket, byte for byte."""
        (tmp_path / "a.jpg").write_bytes(photo)
        image = {"bytes": photo, "path": tmp_path / "a.jpg", "file": io.BytesIO(photo)}[kind]
        cutout.enqueue(image=image, external_id="SKU")  # type: ignore[arg-type]
        with engine.connect() as connection:
            source = connection.execute(text("SELECT source FROM jobs")).scalar_one()
        stored = bucket.key_of(source)
        assert stored is not None
        assert bucket.read(stored, max_bytes=len(photo)) == photo

    @pytest.mark.parametrize("upload", [False, True])
    def test_is_done_once_though_answers_are_lost(
        self, cutout: Client, engine: Engine, gateway: list[Gateway], photo: bytes, *, upload: bool
    ) -> None:
        """Sent three times, with one key: one job."""
        gateway[0].loses = 2
        job = cutout.enqueue(image=io.BytesIO(photo)) if upload else cutout.enqueue(source_url=SOURCE)
        assert gateway[0].loses == 0
        assert (jobs_in(engine), cutout.get(job.id).id) == (1, job.id)

    def test_under_the_callers_key_is_done_once(self, cutout: Client, engine: Engine) -> None:
        """A producer that was restarted gets the job that it made; the key for another is an error."""
        first = cutout.enqueue(source_url=SOURCE, idempotency_key="order-7")
        assert cutout.enqueue(source_url=SOURCE, idempotency_key="order-7").id == first.id
        with pytest.raises(cutout_client.KeyReusedError) as raised:
            cutout.enqueue(source_url=SOURCE, return_form="mask", idempotency_key="order-7")
        assert (raised.value.kind, raised.value.field) == ("idempotency-key-reused", "Idempotency-Key")
        assert jobs_in(engine) == 1

    def test_waits_for_an_api_that_is_away(self, api: httpx.Client, key: str, engine: Engine) -> None:
        """Connections are reset for a while; then it is done, once."""
        with Proxy(api.base_url.port or 0) as proxy:
            proxy.set(Mode.REFUSE)
            threading.Timer(0.5, lambda: proxy.set(Mode.PASS)).start()
            patient = Retries(tries=50, first_wait_s=0.05, longest_wait_s=0.1)
            with Client(proxy.url, key, retries=patient) as client:
                client.enqueue(source_url=SOURCE)
        assert jobs_in(engine) == 1

    def test_gives_up_in_the_end(self, api: httpx.Client, key: str, gateway: list[Gateway]) -> None:
        """By the number of tries; by patience, if the API asks for a longer rest; or without any answer."""
        gateway[0].loses, gateway[0].status = 100, 503
        with Client(str(api.base_url), key, retries=QUICK) as client:
            with pytest.raises(cutout_client.UnavailableError, match="503"):
                client.get(str(uuid.UUID(int=1)))
            assert gateway[0].loses == 94
        with (
            Client("http://127.0.0.1:1", key, retries=QUICK) as client,
            pytest.raises(cutout_client.NoAnswerError, match="after 6 tries"),
        ):
            client.enqueue(source_url=SOURCE)

    def test_needs_either_an_address_or_a_picture(self, cutout: Client) -> None:
        """Both or neither is the caller's mistake."""
        with pytest.raises(ValueError, match="either"):
            cutout.enqueue()


class TestErrors:
    def test_are_typed_by_what_to_do(self, api: httpx.Client, cutout: Client) -> None:
        """Each has the problem's kind, and the field where there is one."""
        with pytest.raises(cutout_client.InvalidError) as invalid:
            cutout.enqueue(source_url="ftp://a/b")
        assert (invalid.value.kind, invalid.value.field) == ("invalid-request", "source_url")
        assert invalid.value.remedy
        with pytest.raises(cutout_client.MissingError, match="unknown-job"):
            cutout.get(str(uuid.UUID(int=1)))
        with pytest.raises(cutout_client.NoResultError, match="no-result"):
            cutout.download(cutout.enqueue(source_url=SOURCE).id, "nowhere.png")
        with (
            Client(str(api.base_url), "cutout_wrong") as stranger,
            pytest.raises(cutout_client.UnauthorizedError, match="wrong-key"),
        ):
            stranger.get(str(uuid.UUID(int=1)))

    def test_of_an_id_that_is_none_reach_no_other_route(self, cutout: Client) -> None:
        """Path segments that climb are refused here."""
        with pytest.raises(ValueError, match="UUID"):
            cutout.get("../batches")


class TestFollowingAJob:
    def test_waits_until_it_is_done_and_fetches_it(
        self, cutout: Client, engine: Engine, bucket: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The file is whole and has the usual rights; the link to it stands in no log."""
        caplog.set_level(logging.INFO)
        job = cutout.enqueue(source_url=SOURCE)
        timer = threading.Timer(0.7, finish, (engine, bucket, b"cutout"))
        timer.start()
        done = cutout.wait(job.id, timeout_s=20)
        timer.join()
        assert (done.state, done.is_final, done.needs_nobody) == ("succeeded", True, False)
        path = cutout.download(job.id, tmp_path / "a.png")
        assert path.read_bytes() == b"cutout"
        assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
        assert not [record for record in caplog.records if "X-Amz" in record.getMessage()]

    def test_stops_waiting_in_time(self, cutout: Client) -> None:
        """The job goes on."""
        job = cutout.enqueue(source_url=SOURCE)
        began = time.monotonic()
        with pytest.raises(cutout_client.NotDoneError, match="is queued after 1 s"):
            cutout.wait(job.id, timeout_s=1)
        assert 0.9 < time.monotonic() - began < scaled(5)

    def test_refuses_a_cutout_that_came_otherwise(
        self, cutout: Client, engine: Engine, bucket: Bucket, tmp_path: Path
    ) -> None:
        """A download without the job's hash never gets the requested name."""
        job = cutout.enqueue(source_url=SOURCE)
        finish(engine, bucket, b"cutout")
        bucket.put_cutout(b"other", key="cutouts/a.png", media_type="image/png", metadata={})
        with pytest.raises(cutout_client.BrokenDownloadError, match="hash"):
            cutout.download(job.id, tmp_path / "a.png")
        assert list(tmp_path.iterdir()) == []


class TestABatch:
    def test_is_made_looked_at_and_read(self, cutout: Client, gateway: list[Gateway]) -> None:
        """All or none, once though the answer is lost; its results come a job at a time."""
        gateway[0].loses = 1
        jobs = [NewJob("a", SOURCE), NewJob("b", SOURCE, "mask")]
        batch = cutout.create_batch("spring", jobs, budget=5)
        assert (batch.name, batch.total, batch.counts["queued"]) == ("spring", 2, 2)
        assert cutout.get_batch(batch.id).id == batch.id
        rows = [(row["external_id"], row["return_form"], row["state"]) for row in cutout.results(batch.id)]
        assert rows == [("a", "rgba", "queued"), ("b", "mask", "queued")]
        with pytest.raises(cutout_client.MissingError):
            list(cutout.results(str(uuid.UUID(int=1))))
