"""Outputs after a failure: made again, made smaller, and never in the way of others."""

import pytest
from sqlalchemy import insert, text

from cutout.endpoint.client import call_url
from cutout.enums import ReturnForm
from cutout.models import CALIBRATIONS
from cutout.models.database import connect
from cutout.queue.outputs.repeat import repeat_of_batch, repeat_of_job
from cutout.settings import Settings
from tests.support.web import serve
from tests.worker.renderer.conftest import MakeRendering, Rendering
from worker.renderer import children


class TestALargePicture:
    def test_whose_source_is_unavailable_does_not_keep_others_waiting(
        self, make_rendering: MakeRendering, large: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One large picture is made at a time: its turn ends with it, however it ends."""
        monkeypatch.setattr(children, "LARGE_PIXELS", 1000)
        pages: dict[str, bytes | int] = {"/a.jpg": large}
        with serve(pages) as host:
            rendering = make_rendering(source_private_hosts=(host.partition(":")[0],))
            job_id = rendering.buy(f"http://{host}/a.jpg")
            pages["/a.jpg"] = 503
            with rendering.bench.engine.begin() as connection:
                connection.execute(text("DELETE FROM outputs WHERE name = 'score'"))
            renderer = rendering.renderer._picture_renderer()
            rendering.renderer._next(renderer)
        assert rendering.outputs(job_id)["rgba"].code == "OUTPUT_SOURCE_UNAVAILABLE"
        assert not rendering.renderer._large.locked()
        renderer.close()


class TestAnOutputAtItsLastTry:
    def test_is_made_at_the_sent_size_beside_one_at_its_first(
        self, make_rendering: MakeRendering, large: bytes
    ) -> None:
        """A rendition that is asked for later has all its tries, and costs the others none."""
        pages: dict[str, bytes | int] = {"/a.jpg": large}
        with serve(pages) as host:
            rendering = make_rendering(source_private_hosts=(host.partition(":")[0],))
            job_id = rendering.buy(f"http://{host}/a.jpg", ReturnForm.MASK, "crop")
            pages["/a.jpg"] = 503
            with rendering.bench.engine.begin() as connection:
                connection.execute(text("UPDATE outputs SET tries = 2 WHERE name = 'mask'"))
            rendering.make_all()
        outputs = rendering.outputs(job_id)
        assert (outputs["mask"].state, outputs["crop"].state) == ("made", "waiting")
        assert "503" in (outputs["mask"].note or "")

    def test_is_not_the_model_for_those_of_other_jobs(
        self, make_rendering: MakeRendering, large: bytes
    ) -> None:
        """An output made smaller than asked for is made again for the next job, whose source is there."""
        pages: dict[str, bytes | int] = {"/a.jpg": large}
        with serve(pages) as host:
            rendering = make_rendering(source_private_hosts=(host.partition(":")[0],))
            first = rendering.buy(f"http://{host}/a.jpg", ReturnForm.MASK)
            pages["/a.jpg"] = 503
            with rendering.bench.engine.begin() as connection:
                connection.execute(text("UPDATE outputs SET tries = 2"))
            rendering.make_all()
            pages["/a.jpg"] = large
            second = rendering.buy(f"http://{host}/a.jpg", ReturnForm.MASK)
            rendering.make_all()
        assert rendering.outputs(first)["mask"].factor == 1.0
        assert (rendering.outputs(second)["mask"].factor or 0) > 1


class TestACalibrationOfAnotherVersion:
    def test_is_not_used(self, settings: Settings, rendering: Rendering, photo: bytes) -> None:
        """Outputs are made as if the endpoint had never been calibrated."""
        found = {"version": 99, "pictures": []}
        with rendering.bench.engine.begin() as connection:
            endpoint = call_url(settings.endpoint_url)
            connection.execute(insert(CALIBRATIONS).values(endpoint=endpoint, found=found))
        job_id = rendering.buy(photo, ReturnForm.MASK)
        rendering.make_all()
        assert rendering.outputs(job_id)["mask"].state == "made"


class TestAFailedOutput:
    def test_is_made_again_on_request(self, rendering: Rendering, photo: bytes) -> None:
        """With all its tries, once what was bought is back; nothing is called for it."""
        job_id = rendering.buy(photo, ReturnForm.MASK, "web")
        job = rendering.bench.job(job_id)
        bought = rendering.bench.bucket.read(job.key or "", max_bytes=100_000_000)
        rendering.bench.bucket.delete(job.key or "")
        rendering.make_all()
        rendering.bench.bucket.put_pieces([bought], key=job.key or "", media_type="image/png")
        assert job.batch_id
        assert repeat_of_batch(rendering.bench.engine, job.batch_id) == 3
        assert repeat_of_batch(rendering.bench.engine, job.batch_id) == 0
        rendering.make_all()
        outputs = rendering.outputs(job_id).values()
        assert {(output.state, output.tries, output.code) for output in outputs} == {("made", 1, None)}
        assert len(rendering.bench.attempts(job_id)) == 1

    def test_alone_is_made_again(self, rendering: Rendering, photo: bytes) -> None:
        """An output that is made or waits stays as it is."""
        job_id = rendering.buy(photo, ReturnForm.MASK, "web")
        with rendering.bench.engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE outputs SET state = 'failed', code = 'X', finished_at = now() WHERE name = 'web'"
                )
            )
            assert repeat_of_job(connection, job_id) == 1
        assert {output.state for output in rendering.outputs(job_id).values()} == {"waiting"}


class TestTheHeartbeat:
    def test_counts_what_was_made_while_postgres_was_unreachable(
        self, rendering: Rendering, photo: bytes
    ) -> None:
        """The backlog's hours are computed from these counts."""
        rendering.buy(photo, ReturnForm.MASK)
        rendering.make_all()
        renderer, engine = rendering.renderer, rendering.bench.engine
        renderer._engine = connect("postgresql+psycopg://nobody@127.0.0.1:1/none", name="test")
        renderer._beat()
        renderer._engine = engine
        renderer._beat()
        with engine.connect() as connection:
            (found,) = connection.execute(text("SELECT made, busy_seconds FROM renderers")).all()
        assert (found.made, found.busy_seconds > 0) == (2, True)
