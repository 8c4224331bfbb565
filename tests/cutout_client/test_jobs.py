import io
import logging
import threading
import time
import uuid
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, text

import cutout_client
from cutout.enums import OutputState
from cutout.storage import Bucket
from cutout_client import Client, NewJob, Retries
from tests.cutout_client.conftest import SOURCE, Gateway, MakeClient, finish, jobs_in
from tests.support.machine import scaled
from tests.support.outputs import REASON, put_output, put_score
from tests.support.proxy import Mode, Proxy


class TestEnqueueing:
    def test_by_address_gives_the_job(self, cutout: Client) -> None:
        """Typed, as `get` gives it too."""
        job = cutout.jobs.enqueue(source_url=SOURCE, external_id="SKU", return_form="mask")
        assert (job.state, job.external_id, job.return_form, job.result) == ("queued", "SKU", "mask", None)
        assert job.created_at.tzinfo is not None
        assert cutout.jobs.get(job.id) == job

    @pytest.mark.parametrize("kind", ["bytes", "path", "file"])
    def test_by_upload_takes_bytes_paths_and_files(  # noqa: PLR0917 - fixtures
        self, cutout: Client, engine: Engine, bucket: Bucket, photo: bytes, tmp_path: Path, kind: str
    ) -> None:
        """The picture lies in the bucket, byte for byte."""
        (tmp_path / "a.jpg").write_bytes(photo)
        image = {"bytes": photo, "path": tmp_path / "a.jpg", "file": io.BytesIO(photo)}[kind]
        cutout.jobs.enqueue(image=image, external_id="SKU")  # type: ignore[arg-type]
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
        job = (
            cutout.jobs.enqueue(image=io.BytesIO(photo)) if upload else cutout.jobs.enqueue(source_url=SOURCE)
        )
        assert gateway[0].loses == 0
        assert (jobs_in(engine), cutout.jobs.get(job.id).id) == (1, job.id)

    def test_under_the_callers_key_is_done_once(self, cutout: Client, engine: Engine) -> None:
        """A producer that was restarted gets the job that it made; the key for another is an error."""
        first = cutout.jobs.enqueue(source_url=SOURCE, idempotency_key="order-7")
        assert cutout.jobs.enqueue(source_url=SOURCE, idempotency_key="order-7").id == first.id
        with pytest.raises(cutout_client.KeyReusedError) as raised:
            cutout.jobs.enqueue(source_url=SOURCE, return_form="mask", idempotency_key="order-7")
        assert (raised.value.kind, raised.value.field) == ("idempotency-key-reused", "Idempotency-Key")
        assert jobs_in(engine) == 1

    def test_waits_for_an_api_that_is_away(
        self, api: httpx.Client, key: str, engine: Engine, client_for: MakeClient
    ) -> None:
        """Connections are reset for a while; then it is done, once."""
        with Proxy(api.base_url.port or 0) as proxy:
            proxy.set(Mode.REFUSE)
            threading.Timer(0.5, lambda: proxy.set(Mode.PASS)).start()
            patient = Retries(tries=50, first_wait_s=0.05, longest_wait_s=0.1)
            client_for(proxy.url, key, patient).jobs.enqueue(source_url=SOURCE)
        assert jobs_in(engine) == 1

    def test_gives_up_in_the_end(
        self, api: httpx.Client, key: str, gateway: list[Gateway], client_for: MakeClient
    ) -> None:
        """By the number of tries; by patience, if the API asks for a longer rest; or without any answer."""
        gateway[0].loses, gateway[0].status = 100, 503
        with pytest.raises(cutout_client.UnavailableError, match="503"):
            client_for(str(api.base_url), key).jobs.get(str(uuid.UUID(int=1)))
        assert gateway[0].loses == 94
        with pytest.raises(cutout_client.NoAnswerError, match="after 6 tries"):
            client_for("http://127.0.0.1:1", key).jobs.enqueue(source_url=SOURCE)

    def test_needs_either_an_address_or_a_picture(self, cutout: Client) -> None:
        """Both or neither is the caller's mistake."""
        with pytest.raises(ValueError, match="either"):
            cutout.jobs.enqueue()


class TestErrors:
    def test_are_typed_by_what_to_do(self, api: httpx.Client, cutout: Client, client_for: MakeClient) -> None:
        """Each has the problem's kind, and the field where there is one."""
        with pytest.raises(cutout_client.InvalidError) as invalid:
            cutout.jobs.enqueue(source_url="ftp://a/b")
        assert (invalid.value.kind, invalid.value.field) == ("invalid-request", "source_url")
        assert invalid.value.remedy
        with pytest.raises(cutout_client.MissingError, match="unknown-job"):
            cutout.jobs.get(str(uuid.UUID(int=1)))
        with pytest.raises(cutout_client.NoResultError, match="no-result"):
            cutout.jobs.download(cutout.jobs.enqueue(source_url=SOURCE).id, "nowhere.png")
        with pytest.raises(cutout_client.UnauthorizedError, match="wrong-key"):
            client_for(str(api.base_url), "cutout_wrong").jobs.get(str(uuid.UUID(int=1)))

    def test_of_an_id_that_is_none_reach_no_other_route(self, cutout: Client) -> None:
        """Path segments that climb are refused here."""
        with pytest.raises(ValueError, match="UUID"):
            cutout.jobs.get("../batches")


class TestFollowingAJob:
    def test_waits_until_it_is_done_and_fetches_it(
        self, cutout: Client, engine: Engine, bucket: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The file is whole and has the usual rights; the link to it stands in no log."""
        caplog.set_level(logging.INFO)
        job = cutout.jobs.enqueue(source_url=SOURCE)
        timer = threading.Timer(0.7, finish, (engine, bucket, b"cutout"))
        timer.start()
        done = cutout.jobs.wait(job.id, timeout_s=20)
        timer.join()
        assert (done.state, done.is_final, done.needs_nobody) == ("succeeded", True, False)
        path = cutout.jobs.download(job.id, tmp_path / "a.png")
        assert path.read_bytes() == b"cutout"
        assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
        assert not [record for record in caplog.records if "X-Amz" in record.getMessage()]

    def test_stops_waiting_in_time(self, cutout: Client) -> None:
        """The job goes on."""
        job = cutout.jobs.enqueue(source_url=SOURCE)
        began = time.monotonic()
        with pytest.raises(cutout_client.NotDoneError, match="is queued after 1 s"):
            cutout.jobs.wait(job.id, timeout_s=1)
        assert 0.9 < time.monotonic() - began < scaled(5)

    def test_refuses_a_cutout_that_came_otherwise(
        self, cutout: Client, engine: Engine, bucket: Bucket, tmp_path: Path
    ) -> None:
        """A download without the job's hash never gets the requested name."""
        job = cutout.jobs.enqueue(source_url=SOURCE)
        finish(engine, bucket, b"cutout")
        bucket.put_cutout(b"other", key="cutouts/a.png", media_type="image/png", metadata={})
        with pytest.raises(cutout_client.BrokenDownloadError, match="hash"):
            cutout.jobs.download(job.id, tmp_path / "a.png")
        assert list(tmp_path.iterdir()) == []


class TestOutputs:
    def test_are_waited_for_and_downloaded(
        self, cutout: Client, engine: Engine, bucket: Bucket, tmp_path: Path
    ) -> None:
        """The job is final before; its picture, a rendition and what was bought are three files."""
        job = cutout.jobs.enqueue(source_url=SOURCE)
        finish(engine, bucket, b"bought", full_size=True)
        for name in ("rgba", "web"):
            put_output(engine, job.id, name)
        assert cutout.jobs.wait(job.id, timeout_s=20, outputs=False).result is None
        with pytest.raises(cutout_client.OutputWaitingError):
            cutout.jobs.download(job.id, tmp_path / "early.png")
        with pytest.raises(cutout_client.NotDoneError, match=r"succeeded with outputs to make \(rgba, web\)"):
            cutout.jobs.wait(job.id, timeout_s=1)
        for name, data in (("rgba", b"full"), ("web", b"small")):
            sha256 = bucket.put_cutout(data, key=f"{name}.png", media_type="image/png", metadata={})
            put_output(
                engine, job.id, name, OutputState.MADE, key=f"{name}.png", sha256=sha256, problems=["p"]
            )
        put_score(engine, job.id, 0.5)

        done = cutout.jobs.wait(job.id, timeout_s=20)
        assert [(each.name, each.state, each.problems) for each in done.outputs] == [
            ("rgba", "made", ("p",)),
            ("web", "made", ("p",)),
        ]
        assert done.score == cutout_client.Score(
            0.5, (cutout_client.ScoreReason("holes", 0.25, REASON["text"]),)
        )
        files = [
            cutout.jobs.download(job.id, tmp_path / "full.png"),
            cutout.jobs.download(job.id, tmp_path / "form.png", output="rgba"),
            cutout.jobs.download(job.id, tmp_path / "web.png", output="web"),
            cutout.jobs.download_bought(job.id, tmp_path / "bought.png"),
        ]
        assert [file.read_bytes() for file in files] == [b"full", b"full", b"small", b"bought"]

    @pytest.mark.parametrize("upload", [False, True])
    def test_are_asked_for_with_a_job(
        self, cutout: Client, engine: Engine, bucket: Bucket, photo: bytes, *, upload: bool
    ) -> None:
        """Renditions and the template of their names, as JSON or in a form; one may be a string."""
        picture = {"image": photo} if upload else {"source_url": SOURCE}
        asked = {
            "outputs": ["amazon", "hero: canvas=600x600"],
            "file_name": "{rendition}/{external_id}.{ext}",
        }
        first = cutout.jobs.enqueue(**picture, **asked, external_id="a")  # type: ignore[arg-type]
        second = cutout.jobs.enqueue(**picture, outputs="web", external_id="b")
        finish(engine, bucket, b"bought")
        assert [[each.name for each in cutout.jobs.get(job.id).outputs] for job in (first, second)] == [
            ["amazon", "hero"],
            ["web"],
        ]

    def test_are_asked_for_with_a_batch_and_later(
        self, cutout: Client, engine: Engine, bucket: Bucket, gateway: list[Gateway]
    ) -> None:
        """More renditions of what is bought, once though the answer is lost; another recipe is refused."""
        batch = cutout.batches.create("spring", [NewJob("a", SOURCE)], outputs=["amazon"])
        finish(engine, bucket, b"bought")
        gateway[0].loses = 1
        for _ in range(2):
            assert cutout.batches.add_outputs(batch.id, ["ebay"], file_name=None).id == batch.id
        with pytest.raises(cutout_client.InvalidError, match="another recipe"):
            cutout.batches.add_outputs(batch.id, ["ebay quality=70"])

    def test_that_failed_have_an_error_of_their_own(
        self, cutout: Client, engine: Engine, bucket: Bucket, tmp_path: Path
    ) -> None:
        """Waiting ends, for nothing more comes; an unknown name is missing."""
        job = cutout.jobs.enqueue(source_url=SOURCE)
        finish(engine, bucket, b"bought")
        put_output(engine, job.id, "rgba", OutputState.FAILED, code="X", message="m")
        done = cutout.jobs.wait(job.id, timeout_s=20)
        assert (done.result, done.outputs[0].error) == (None, cutout_client.JobError("X", "m"))
        with pytest.raises(cutout_client.OutputFailedError, match="X: m"):
            cutout.jobs.download(job.id, tmp_path / "a.png")
        with pytest.raises(cutout_client.MissingError):
            cutout.jobs.download(job.id, tmp_path / "a.png", output="amazon")
