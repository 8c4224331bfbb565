import io
import threading
import uuid
import zipfile
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

import cutout_client
from cutout.enums import OutputState
from cutout.settings import Settings
from cutout.storage import Bucket
from cutout_client import Batch, Client, NewJob, Retries
from tests.cutout_client.conftest import SOURCE, Gateway, MakeClient, finish, jobs_in
from tests.support.outputs import put_output, without_outputs
from tests.support.proxy import Mode, Proxy
from worker.ingester.loop import Ingester

ROWS = b"""SKU,Image URL
a,https://shop.example/a.jpg
b,https://shop.example/b.jpg
c,no address
"""
COLUMNS = {"external_id": "SKU", "source": "Image URL"}


@pytest.fixture
def ingester(settings: Settings, engine: Engine, bucket: Bucket) -> Ingester:
    """One that reads what was sent."""
    return Ingester(settings, engine, bucket)


class TestABatch:
    def test_counts_its_outputs_apart_from_its_scores(
        self, cutout: Client, engine: Engine, bucket: Bucket
    ) -> None:
        """By state."""
        batch = cutout.batches.create("spring", [NewJob("a", SOURCE)])
        finish(engine, bucket, b"bought")
        put_output(engine, "a", "web", OutputState.MADE)
        found = cutout.batches.get(batch.id)
        assert (found.outputs.made, found.outputs.waiting, found.scores.waiting) == (1, 0, 1)

    def test_is_made_looked_at_and_read(self, cutout: Client, gateway: list[Gateway]) -> None:
        """All or none, once though the answer is lost; its results come a job at a time."""
        gateway[0].loses = 1
        jobs = [NewJob("a", SOURCE), NewJob("b", SOURCE, "mask")]
        batch = cutout.batches.create("spring", jobs, budget=5)
        assert (batch.name, batch.total, batch.counts["queued"]) == ("spring", 2, 2)
        assert cutout.batches.get(batch.id).id == batch.id
        rows = [
            (row["external_id"], row["return_form"], row["state"]) for row in cutout.batches.results(batch.id)
        ]
        assert rows == [("a", "rgba", "queued"), ("b", "mask", "queued")]
        with pytest.raises(cutout_client.MissingError):
            list(cutout.batches.results(str(uuid.UUID(int=1))))

    def test_is_changed_as_a_whole(self, cutout: Client, gateway: list[Gateway]) -> None:
        """Paused, resumed, retried and cancelled, each once though its answer is lost."""
        batch = cutout.batches.create("spring", [NewJob("a", SOURCE)])
        gateway[0].loses = 1
        assert cutout.batches.pause(batch.id).paused_at is not None
        gateway[0].loses = 1
        assert cutout.batches.resume(batch.id).paused_at is None
        for act in (cutout.batches.retry, cutout.batches.retry_outputs):
            gateway[0].loses = 1
            assert act(batch.id).id == batch.id
        with pytest.raises(cutout_client.ConflictError, match="not-awaiting-approval"):
            cutout.batches.approve(batch.id)
        gateway[0].loses = 1
        assert cutout.batches.cancel(batch.id).cancelled_at is not None

    def test_is_waited_for_with_its_outputs(self, cutout: Client, engine: Engine, bucket: Bucket) -> None:
        """The jobs end first; an empty batch has nothing to wait for, and one under way is not done."""
        batch = cutout.batches.create("spring", [NewJob("a", SOURCE)])
        with pytest.raises(cutout_client.NotDoneError, match="has 1 queued after 1 s"):
            cutout.batches.wait(batch.id, timeout_s=1)
        finish(engine, bucket, b"bought")
        put_output(engine, "a", "web")
        assert not cutout.batches.wait(batch.id, timeout_s=20, outputs=False).has_all_outputs
        with pytest.raises(cutout_client.NotDoneError, match=r"1 succeeded, .* outputs and scores to make"):
            cutout.batches.wait(batch.id, timeout_s=1)
        without_outputs(engine)
        assert cutout.batches.wait(batch.id, timeout_s=20).has_all_outputs
        assert not cutout.batches.wait(cutout.batches.create("empty").id, timeout_s=20).is_finished

    def test_gives_its_results_as_a_file(self, cutout: Client, tmp_path: Path) -> None:
        """As CSV, or as JSON of those in a state; whole or not there."""
        batch = cutout.batches.create("spring", [NewJob("a", SOURCE), NewJob("b", SOURCE)])
        path = cutout.batches.download_results(batch.id, tmp_path / "results.csv")
        assert path.read_text().count("queued") == 2
        cutout.batches.download_results(batch.id, path, format="ndjson", state=["failed", "held"])
        assert path.read_bytes() == b""
        assert list(cutout.batches.results(batch.id, state="failed")) == []
        with pytest.raises(cutout_client.ConflictError, match="no-manifest"):
            cutout.batches.download_results(batch.id, tmp_path / "catalog.csv", as_input=True)
        assert [file.name for file in tmp_path.iterdir()] == ["results.csv"]


class TestAManifest:
    def read(self, cutout: Client, ingester: Ingester, batch: Batch) -> Batch:
        """The batch once its manifest was read."""
        assert batch.ingest is not None
        assert batch.ingest.state == "reading"
        assert batch.needs_nobody
        assert ingester.serve()
        return cutout.batches.get(batch.id)

    @pytest.mark.parametrize("kind", ["bytes", "path", "file"])
    def test_is_uploaded_priced_and_approved(
        self, cutout: Client, ingester: Ingester, gateway: list[Gateway], tmp_path: Path, kind: str
    ) -> None:
        """Once though the answer is lost; the price, the rejects and the catalog come back."""
        (tmp_path / "export.csv").write_bytes(ROWS)
        manifest = {"bytes": ROWS, "path": tmp_path / "export.csv", "file": io.BytesIO(ROWS)}[kind]
        told: list[tuple[int, int]] = []
        gateway[0].loses = 1
        batch = cutout.batches.create_from_file(
            "export",
            manifest,  # type: ignore[arg-type]
            media_type=None if kind == "path" else "text/csv",
            progress=lambda sent, total: told.append((sent, total)),
            plan=True,
            map=COLUMNS,
            return_form=["rgba", "mask"],
            forms="derived",
        )
        assert told == [(len(ROWS), len(ROWS))] * 2
        found = self.read(cutout, ingester, batch)
        assert found.ingest is not None
        assert found.ingest.plan is not None
        assert (found.ingest.rejects, found.ingest.plan.calls, found.counts["held"]) == (1, 4, 4)
        waited = cutout.batches.wait(batch.id, timeout_s=20, held=True)
        assert (waited.is_finished, waited.needs_nobody) == (False, False)
        rejects = cutout.batches.download_rejects(batch.id, tmp_path / "rejects.csv").read_text()
        assert "no address" in rejects
        catalog = cutout.batches.download_results(batch.id, tmp_path / "catalog.csv", as_input=True)
        assert catalog.read_text().startswith("SKU,Image URL,cutout_")
        assert cutout.batches.approve(batch.id).id == batch.id

    def test_may_be_a_zip_of_pictures(
        self, cutout: Client, ingester: Ingester, photo: bytes, tmp_path: Path
    ) -> None:
        """Sent while it is read; some of its files are left out."""
        path = tmp_path / "pictures.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("a.jpg", "b.jpg", "drafts/c.jpg"):
                archive.writestr(name, photo)
        batch = cutout.batches.create_from_file("zip", path, exclude=["drafts/*"])
        assert self.read(cutout, ingester, batch).total == 2

    def test_may_be_at_an_address(self, cutout: Client, gateway: list[Gateway]) -> None:
        """It is read later, once though the answer is lost; a wrong option is named."""
        gateway[0].loses = 1
        batch = cutout.batches.create_from_url(
            "far", "https://shop.example/export.csv", map=COLUMNS, many=True
        )
        assert (batch.ingest is not None, batch.total) == (True, 0)
        assert [each.id for each in cutout.batches.list()] == [batch.id]
        with pytest.raises(cutout_client.InvalidError) as raised:
            cutout.batches.create_from_url("far", "https://shop.example/export.csv", return_form="no")
        assert (raised.value.field or "").startswith("return_form")

    def test_that_is_sent_through_an_api_that_dies_makes_one_batch(
        self, api: httpx.Client, key: str, client_for: MakeClient, tmp_path: Path
    ) -> None:
        """The connection is cut while the file is sent, twice; then it is sent from its start."""
        path = tmp_path / "large.csv"
        path.write_bytes(b"external_id,source\n" + b"a,https://shop.example/a.jpg\n" * 200_000)
        cuts = iter([1_000_000, 3_000_000])
        next_cut = [next(cuts)]
        with Proxy(api.base_url.port or 0) as proxy:

            def cut(sent: int, _: int) -> None:
                if sent > next_cut[0]:
                    next_cut[0] = next(cuts, 1 << 40)
                    proxy.cut()

            client = client_for(proxy.url, key, Retries(tries=20, first_wait_s=0.05, longest_wait_s=0.1))
            batch = client.batches.create_from_file("large", path, progress=cut)
            assert [each.id for each in client.batches.list()] == [batch.id]
        assert next_cut == [1 << 40]

    def test_of_an_unreadable_file_is_an_error_of_this_machine(self, cutout: Client, tmp_path: Path) -> None:
        """Nothing is sent, and nothing is tried again."""
        with pytest.raises(FileNotFoundError):
            cutout.batches.create_from_file("none", tmp_path / "none.csv")


class TestEvents:
    def test_tell_of_each_job_and_of_the_end(self, cutout: Client, engine: Engine, bucket: Bucket) -> None:
        """Progress, each job as it ended, the end of the jobs and of their outputs; then they end."""
        batch = cutout.batches.create("spring", [NewJob("a", SOURCE), NewJob("b", SOURCE)])
        came = cutout.batches.events(batch.id)
        first = next(came)
        assert (first.kind, first.batch.counts["queued"] if first.batch else None) == ("progress", 2)
        finish(engine, bucket, b"bought")
        without_outputs(engine)
        events = list(came)
        assert {event.job.external_id for event in events if event.job} == {"a", "b"}
        assert [event.kind for event in events][-2:] == ["finished", "rendered"]
        assert list(cutout.batches.events(batch.id, after=events[-1].id)) == []
        assert [event.kind for event in cutout.batches.events(batch.id, after=events[-2].id)][
            -1
        ] == "rendered"

    def test_continue_over_a_connection_that_breaks(
        self, api: httpx.Client, key: str, client_for: MakeClient, engine: Engine, bucket: Bucket
    ) -> None:
        """Behind the last event; and they end with an error where the API stays away."""
        with Proxy(api.base_url.port or 0) as proxy:
            cutout = client_for(proxy.url, key)
            batch = cutout.batches.create("spring", [NewJob("a", SOURCE)])
            came = cutout.batches.events(batch.id)
            assert next(came).kind == "progress"
            proxy.cut()
            finish(engine, bucket, b"bought")
            without_outputs(engine)
            kinds = [event.kind for event in came]
            assert [kind for kind in kinds if kind != "progress"] == ["job", "finished", "rendered"]
            proxy.set(Mode.REFUSE)
            with pytest.raises(cutout_client.NoAnswerError):
                next(cutout.batches.events(batch.id))

    def test_may_be_left_in_the_middle(self, cutout: Client) -> None:
        """The connection is closed: the API has its place again."""
        batch = cutout.batches.create("spring", [NewJob("a", SOURCE)])
        for _ in range(60):  # a producer has 50 places
            came = cutout.batches.events(batch.id)
            assert next(came).kind == "progress"
            came.close()


def test_a_large_batch_is_enqueued_once_though_the_api_dies(
    api: httpx.Client, key: str, client_for: MakeClient, engine: Engine
) -> None:
    """Connections are cut again and again while lists are sent: every job is there once."""
    with Proxy(api.base_url.port or 0) as proxy:
        ended = threading.Event()

        def cut() -> None:
            while not ended.wait(0.03):
                proxy.cut()

        thread = threading.Thread(target=cut)
        thread.start()
        try:
            client = client_for(proxy.url, key, Retries(tries=200, first_wait_s=0.01, longest_wait_s=0.03))
            for n in range(10):
                jobs = [NewJob(f"{n}-{m}", SOURCE) for m in range(100)]
                assert client.batches.create(f"batch {n}", jobs).total == 100
        finally:
            ended.set()
            thread.join()
    assert jobs_in(engine) == 1000
