"""Quota, ceilings and suspension hold for lists, manifests, schedules and retries alike."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from api.schemas import view_batch
from cutout import queue
from cutout.administration import suspend
from cutout.enums import Priority
from cutout.ingest.pending import request_ingest
from cutout.ingest.sources.open_source import open_object
from cutout.models import Batch, Ingest, Job
from cutout.outputs.options import OutputOptions
from cutout.producers.ceilings import set_ceilings
from cutout.producers.producers import set_quota
from cutout.queue.dispatch import dispatch_calls
from cutout.queue.enqueue import NewJob, create_batch, enqueue
from cutout.schedules import manage
from cutout.schedules.definition import Options
from cutout.schedules.fire import fire
from cutout.schedules.start import start, startable
from cutout.settings import Settings
from cutout.status.batch_status import batch_status
from cutout.storage import Bucket
from tests.api.conftest import producer_of
from tests.support.actions import carry_out
from tests.support.steps import LEASE, ask_to_begin, claim_one, new_worker, record
from worker.ingester.loop import Ingester

CSV = {"Content-Type": "text/csv"}
PICTURE = "https://shop.example/a.jpg"
KEY = "manifests/of-a-schedule"
SCHEDULE = {"name": "nightly", "manifest_url": "https://shop.example/export.csv", "cron": "* * * * *"}


def rows_of(count: int, more: str = "") -> bytes:
    head = b"external_id,source" + (b",priority\n" if more else b"\n")
    return head + b"".join(f"p{n},https://shop.example/{n}.jpg{more}\n".encode() for n in range(count))


@pytest.fixture
def producer_id(shop: httpx.Client, engine: Engine) -> uuid.UUID:
    return producer_of(engine)


@pytest.fixture
def ingester(settings: Settings, engine: Engine, bucket: Bucket) -> Ingester:
    return Ingester(settings, engine, bucket)


@pytest.fixture
def quota_of_5(engine: Engine, producer_id: uuid.UUID) -> None:
    with Session(engine) as session, session.begin():
        set_quota(session, producer_id, 5)


@pytest.fixture
def low_ceilings(engine: Engine, producer_id: uuid.UUID) -> None:
    with Session(engine) as session, session.begin():
        set_ceilings(session, producer_id, top_priority=Priority.NORMAL, most_weight=2.0)


def scalar(engine: Engine, query: str, **values: Any) -> Any:
    with engine.connect() as connection:
        return connection.execute(text(query), values).scalar_one()


def unfinished(engine: Engine) -> int:
    return int(scalar(engine, "SELECT count(*) FROM jobs WHERE finished_at IS NULL"))


def end_jobs(engine: Engine, count: int) -> None:
    """As many as so many workers would, and the last count of them is a second old."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE jobs SET state = 'failed', queue_state = NULL, finished_at = now(), code = 'X'"
                " WHERE id IN (SELECT id FROM jobs WHERE finished_at IS NULL LIMIT :count)"
            ),
            {"count": count},
        )
        connection.execute(text("UPDATE producers SET quota_counted_at = NULL"))


def serve_now(engine: Engine, ingester: Ingester) -> bool:
    """Let the ingester look as if it had rested long enough."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE ingests SET due_at = now() WHERE finished_at IS NULL"))
    return ingester.serve()


def look(engine: Engine, url: str) -> dict[str, Any]:
    """The batch as its producer sees it, now: over HTTP it may be a second old."""
    with Session(engine) as session:
        status = batch_status(session, uuid.UUID(url.rpartition("/")[2]))
    assert status is not None
    return view_batch(status).model_dump(mode="json")


def send(shop: httpx.Client, body: bytes, **query: Any) -> str:
    sent = shop.post("/v1/batches", params={"name": "b"} | query, content=body, headers=CSV)
    assert sent.status_code == 202, sent.text
    return str(sent.headers["Location"])


@pytest.mark.usefixtures("quota_of_5")
class TestAQuota:
    @pytest.mark.parametrize("forms", [1, 2])
    def test_holds_for_a_manifest(
        self, shop: httpx.Client, engine: Engine, ingester: Ingester, forms: int
    ) -> None:
        """So many jobs and no more are made; the rest with its reason, and all come as others end."""
        query = {"return_form": ["rgba", "mask"][:forms]}
        url = send(shop, rows_of(13), **query)
        rounds = 0
        while scalar(engine, "SELECT count(*) FROM ingests WHERE finished_at IS NULL"):
            assert serve_now(engine, ingester)
            assert unfinished(engine) <= 5
            shown = look(engine, url)["ingest"]
            if shown["state"] == "reading":
                assert (shown["code"], shown["error"]) == ("QUOTA_REACHED", None)
                assert "the quota is 5 unfinished jobs" in shown["message"]
            end_jobs(engine, 3)
            rounds += 1
            assert rounds < 30
        shown = look(engine, url)
        assert shown["total"] == 13 * forms
        assert (shown["ingest"]["state"], shown["ingest"]["code"]) == ("read", None)
        assert shown["ingest"]["jobs"] == 13 * forms
        assert scalar(engine, "SELECT count(DISTINCT (external_id, return_form)) FROM jobs") == 13 * forms

    def test_lets_a_manifest_that_fills_it_end(
        self, shop: httpx.Client, engine: Engine, ingester: Ingester
    ) -> None:
        """With no row left to read there is nothing to wait for; duplicates take no room."""
        url = send(shop, rows_of(3) + rows_of(5).partition(b"\n")[2] * 2)
        assert ingester.serve()
        shown = look(engine, url)["ingest"]
        # A repeated row is read as a duplicate as far as there was room to look at it.
        while shown["state"] == "reading":
            assert shown["code"] == "QUOTA_REACHED"
            end_jobs(engine, 5)
            assert serve_now(engine, ingester)
            shown = look(engine, url)["ingest"]
        assert (shown["jobs"], shown["duplicates"]) == (5, 8)

    def test_that_has_no_room_for_one_record_ends_the_reading(
        self, shop: httpx.Client, engine: Engine, ingester: Ingester, producer_id: uuid.UUID
    ) -> None:
        """Waiting would be for ever."""
        with Session(engine) as session, session.begin():
            set_quota(session, producer_id, 3)
        forms = {"return_form": ["rgba", "mask", "whiteBK", "crop"]}
        sent = shop.post("/v1/batches", params={"name": "b", **forms}, content=rows_of(2), headers=CSV)
        assert ingester.serve()
        shown = look(engine, sent.headers["Location"])["ingest"]
        assert (shown["state"], shown["code"]) == ("failed", None)
        assert "one record makes 4 jobs, and the quota is 3" in shown["error"]

    def test_is_not_asked_of_a_source_before_there_is_room(
        self, shop: httpx.Client, engine: Engine, ingester: Ingester
    ) -> None:
        """A full quota costs no reading: the manifest need not even be there."""
        url = send(shop, rows_of(3))
        shop.post("/v1/batches", json={"name": "l", "jobs": jobs_of(3)}).raise_for_status()
        with Session(engine) as session:
            key = session.scalars(select(Ingest.manifest_key)).one()
        with engine.begin() as connection:
            connection.execute(text("UPDATE producers SET job_quota = 3, quota_taken = 3"))
            connection.execute(text("UPDATE ingests SET manifest_key = 'nothing/here'"))
        assert serve_now(engine, ingester)
        assert look(engine, url)["ingest"]["code"] == "QUOTA_REACHED"
        assert scalar(engine, "SELECT tries FROM ingests") == 0
        end_jobs(engine, 3)
        with engine.begin() as connection:
            connection.execute(text("UPDATE ingests SET manifest_key = :key"), {"key": key})
        assert serve_now(engine, ingester)
        assert look(engine, url)["ingest"]["state"] == "read"

    def test_holds_for_several_manifests_and_single_jobs_at_once(
        self, shop: httpx.Client, engine: Engine, settings: Settings, bucket: Bucket
    ) -> None:
        """Two ingesters and requests meet, and nobody waits for another's rows in a circle."""
        urls = [send(shop, rows_of(9)) for _ in range(3)]
        batch = urls[0].rpartition("/")[2]
        ingesters = [Ingester(settings, engine, bucket) for _ in range(2)]
        with ThreadPoolExecutor(4) as pool:
            read = [pool.submit(each.serve) for each in ingesters]
            for n in range(6):
                added = shop.post(
                    "/v1/jobs", json={"source_url": PICTURE, "external_id": f"s{n}", "batch_id": batch}
                )
                assert added.status_code in {201, 429}, added.text
            assert all(each.result() for each in read)
        assert unfinished(engine) <= 5
        assert scalar(engine, "SELECT count(*) FROM ingests WHERE finished_at IS NOT NULL") == 0
        while unfinished(engine) < 5:
            with engine.begin() as connection:
                connection.execute(text("UPDATE producers SET quota_counted_at = NULL"))
            assert serve_now(engine, ingesters[0])
        assert unfinished(engine) == 5

    def test_holds_for_a_schedules_runs(
        self, engine: Engine, ingester: Ingester, producer_id: uuid.UUID, bucket: Bucket
    ) -> None:
        """A run that nobody sent takes no more than a request."""
        run_source(engine, producer_id, bucket, rows_of(9))
        assert ingester.serve()
        assert (unfinished(engine), scalar(engine, "SELECT code FROM ingests")) == (5, "QUOTA_REACHED")

    def test_holds_for_the_retry_of_a_batch(self, shop: httpx.Client, engine: Engine) -> None:
        """As many go back as there is room for; the action says that others are left. Asked again, more."""
        batch = shop.post("/v1/batches", json={"name": "l", "jobs": jobs_of(3)}).json()["id"]
        end_jobs(engine, 3)
        with engine.begin() as connection:
            connection.execute(text("UPDATE producers SET job_quota = 2, quota_taken = 0"))
        shop.post(f"/v1/batches/{batch}/retry").raise_for_status()
        carry_out(engine)
        (ended,) = shop.get(f"/v1/batches/{batch}/actions").json()["data"]
        assert (ended["changed"], ended["error"]["code"]) == (2, "QUOTA_REACHED")
        assert "the quota is 2 unfinished jobs" in ended["error"]["message"]
        assert unfinished(engine) == 2
        end_jobs(engine, 2)
        with engine.begin() as connection:
            connection.execute(text("UPDATE producers SET job_quota = 3"))
        shop.post(f"/v1/batches/{batch}/retry").raise_for_status()
        carry_out(engine)
        assert unfinished(engine) == 3

    def test_holds_for_the_retry_of_a_job(self, shop: httpx.Client, engine: Engine) -> None:
        """A failed job is unfinished again; one that is held is that already."""
        job_id = shop.post("/v1/jobs", json={"source_url": PICTURE}).json()["id"]
        end_jobs(engine, 1)
        for n in range(5):
            shop.post("/v1/jobs", json={"source_url": PICTURE, "external_id": str(n)}).raise_for_status()
        with engine.begin() as connection:
            hold = "UPDATE jobs SET state = 'held', queue_state = NULL, code = 'X' WHERE external_id = '4'"
            connection.execute(text(hold))
        assert shop.post(f"/v1/jobs/{job_id}/retry").status_code == 429
        held = scalar(engine, "SELECT id FROM jobs WHERE external_id = '4'")
        assert shop.post(f"/v1/jobs/{held}/retry").json()["state"] == "queued"
        assert unfinished(engine) == 5


def jobs_of(count: int) -> list[dict[str, str]]:
    return [{"external_id": str(n), "source_url": PICTURE} for n in range(count)]


def run_source(
    engine: Engine, producer_id: uuid.UUID, bucket: Bucket, body: bytes, options: Options | None = None
) -> None:
    """The ingest of a run of a schedule, whose manifest lies in the bucket."""
    bucket.put_pieces(iter([body]), key=KEY, media_type="text/csv")
    with Session(engine) as session, session.begin():
        order = (options or Options(foreign=True)).ingest_options("nightly")
        order = replace(order, producer_id=producer_id)
        request_ingest(session, "an upload", order, manifest_key=KEY)


@pytest.mark.usefixtures("low_ceilings")
class TestACeiling:
    @pytest.mark.parametrize(
        ("asked", "field"), [({"priority": "interactive"}, "priority"), ({"weight": 1000}, "weight")]
    )
    def test_refuses_more_at_every_way_in(
        self, shop: httpx.Client, engine: Engine, asked: dict[str, Any], field: str
    ) -> None:
        """422 with the field and what may be asked for; nothing is stored."""
        answers = [
            shop.post("/v1/batches", json={"name": "l", "jobs": jobs_of(1)} | asked),
            shop.post(
                "/v1/batches", json={"name": "m", "manifest_url": "https://shop.example/a.csv"} | asked
            ),
            shop.post("/v1/batches", params={"name": "u"} | asked, content=rows_of(1), headers=CSV),
            shop.post("/v1/schedules", json=SCHEDULE | asked),
        ]
        if field == "priority":
            answers += [
                shop.post("/v1/jobs", json={"source_url": PICTURE} | asked),
                shop.post("/v1/jobs", data=asked, files={"image": b"p"}),
            ]
        for refused in answers:
            problem = refused.json()
            assert (refused.status_code, problem["type"]) == (422, "urn:cutout:problem:above-ceiling"), (
                problem
            )
            assert problem["field"] == field
        for table in ("jobs", "batches", "schedules"):
            assert scalar(engine, f"SELECT count(*) FROM {table}") == 0  # noqa: S608 - names of this file

    def test_takes_what_is_within_it(self, shop: httpx.Client) -> None:
        """The ceiling itself, and below."""
        options = {"priority": "normal", "weight": 2}
        shop.post("/v1/batches", json={"name": "l", "jobs": jobs_of(1)} | options).raise_for_status()
        shop.post("/v1/jobs", json={"source_url": PICTURE, "priority": "bulk"}).raise_for_status()

    def test_rejects_rows_above_it(self, shop: httpx.Client, engine: Engine, ingester: Ingester) -> None:
        """Each with its line and column; the others of the manifest become jobs."""
        url = send(shop, rows_of(2, ",interactive") + b"c,https://shop.example/c.jpg,bulk\n")
        assert ingester.serve()
        batch = look(engine, url)
        assert (batch["ingest"]["jobs"], batch["ingest"]["rejects"]) == (1, 2)
        told = httpx.get(shop.get(batch["ingest"]["rejects_url"]).headers["Location"]).text
        assert "2,priority,interactive,\"the priority 'interactive' is above your ceiling" in told or (
            "2,priority,interactive,the priority 'interactive' is above your ceiling" in told
        )

    def test_bounds_what_was_ordered_before_it(
        self, engine: Engine, ingester: Ingester, producer_id: uuid.UUID, bucket: Bucket
    ) -> None:
        """A schedule's options are from before the ceiling: its rows are made within it."""
        options = Options(foreign=True, priority=Priority.INTERACTIVE, weight=1000.0)
        run_source(engine, producer_id, bucket, rows_of(2), options)
        assert ingester.serve()
        with Session(engine) as session:
            assert session.scalars(select(Batch.weight)).all() == [2.0]
            assert session.scalars(select(Job.priority)).all() == [Priority.NORMAL] * 2

    def test_bounds_what_is_enqueued_without_the_api(self, engine: Engine, producer_id: uuid.UUID) -> None:
        """A program that shares the database makes no better jobs of that producer."""
        with Session(engine) as session, session.begin():
            batch = create_batch(session, "b", producer_id=producer_id, weight=50.0)
            job = NewJob(PICTURE, priority=Priority.INTERACTIVE)
            enqueue(session, job, producer_id=producer_id)
            enqueue(session, job, batch_id=batch.id)
            session.refresh(batch)
            assert batch.weight == 2.0
            assert session.scalars(select(Job.priority)).all() == [Priority.NORMAL] * 2


@pytest.fixture
def suspended(shop: httpx.Client, engine: Engine, producer_id: uuid.UUID) -> uuid.UUID:
    """A producer with a queued job, a schedule and a manifest that is not read yet, suspended."""
    shop.post("/v1/jobs", json={"source_url": PICTURE}).raise_for_status()
    shop.post("/v1/schedules", json=SCHEDULE).raise_for_status()
    send(shop, rows_of(2))
    with Session(engine) as session, session.begin():
        missed = "UPDATE schedules SET next_fire_at = now() - interval '1 min', next_due_at = now()"
        session.execute(text(missed))
        assert suspend.suspend(session, producer_id)
        assert not suspend.suspend(session, producer_id)
    return producer_id


class TestASuspendedProducer:
    def test_has_its_keys_refused(self, shop: httpx.Client, engine: Engine, suspended: uuid.UUID) -> None:
        """403 with a code of its own for whatever it asks, until it is resumed."""
        for method, url in (
            ("POST", "/v1/jobs"),
            ("GET", "/v1/jobs"),
            ("DELETE", f"/v1/schedules/{suspended}"),
        ):
            body = {"source_url": PICTURE} if method == "POST" else None
            refused = shop.request(method, url, json=body)
            assert (refused.status_code, refused.json()["type"]) == (
                403,
                "urn:cutout:problem:producer-suspended",
            )
        with Session(engine) as session, session.begin():
            assert suspend.resume(session, suspended)
        shop.post("/v1/jobs", json={"source_url": PICTURE}).raise_for_status()

    def test_has_nothing_handed_out_or_fired_or_read(
        self, engine: Engine, suspended: uuid.UUID, ingester: Ingester
    ) -> None:
        """Its jobs stay queued, its schedule stays as it was, its manifest unread; all go on afterwards."""
        with Session(engine) as session, session.begin():
            assert dispatch_calls(session, 5, lease=LEASE) == []
            assert fire(session) == 0
            schedule = manage.listed(session)[0]
            assert manage.run_now(session, schedule.id)
            assert startable(session) == []
        assert not ingester.serve()
        assert scalar(engine, "SELECT count(*) FROM jobs WHERE queue_state = 'ready'") == 1
        with Session(engine) as session, session.begin():
            assert suspend.resume(session, suspended)
            assert not suspend.resume(session, suspended)
            # What fell into the suspension is not made up for.
            assert fire(session) == 0
            assert scalar(engine, "SELECT next_fire_at > now() FROM schedules") is False
            (run,) = startable(session)
            start(session, run, OutputOptions())
            assert len(dispatch_calls(session, 5, lease=LEASE)) == 1
        assert scalar(engine, "SELECT next_fire_at > now() FROM schedules")
        assert ingester.serve()

    def test_has_no_call_begun_and_what_is_out_ends(
        self, shop: httpx.Client, engine: Engine, producer_id: uuid.UUID
    ) -> None:
        """A worker that holds its job is refused at the last moment; a call that is out is recorded."""
        for _ in range(2):
            shop.post("/v1/jobs", json={"source_url": PICTURE}).raise_for_status()
        with Session(engine) as session, session.begin():
            worker_id = new_worker(session)
            out, in_hand = claim_one(session, worker_id), claim_one(session, worker_id)
            begun = ask_to_begin(session, out)
            assert isinstance(begun, int)
            assert suspend.suspend(session, producer_id)
            assert ask_to_begin(session, in_hand) is queue.NotBegun.SUSPENDED
            assert record(session, out, begun).result is not None

    @pytest.mark.usefixtures("suspended")
    def test_leaves_others_as_they_are(self, engine: Engine) -> None:
        """A job of nobody's goes out while that producer's wait."""
        with Session(engine) as session, session.begin():
            job_id = enqueue(session, NewJob(PICTURE))
            assert [each for each, _ in dispatch_calls(session, 5, lease=LEASE)] == [job_id]

    def test_stops_a_reading_that_is_under_way(
        self,
        shop: httpx.Client,
        engine: Engine,
        ingester: Ingester,
        producer_id: uuid.UUID,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The next chunk is not stored; the ingest rests with a code and goes on when it is resumed."""
        send(shop, rows_of(3))
        open_ = open_object

        def suspend_then_open(*given: Any, **more: Any) -> Any:
            with Session(engine) as session, session.begin():
                assert suspend.suspend(session, producer_id)
            return open_(*given, **more)

        # Between the look for room and the reading.
        monkeypatch.setattr("worker.ingester.reader.open_object", suspend_then_open)
        assert ingester.serve()
        assert scalar(engine, "SELECT code FROM ingests") == "PRODUCER_SUSPENDED"
        assert unfinished(engine) == 0
        monkeypatch.undo()
        with Session(engine) as session, session.begin():
            assert suspend.resume(session, producer_id)
        assert serve_now(engine, ingester)
        assert unfinished(engine) == 3
