import json
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from api.services import Services
from cutout.administration.suspend import suspend
from cutout.producers.api_keys import revoke_keys
from cutout.queue.attempts.outcomes import Fail
from cutout.queue.settle import settle
from cutout.status.finished import ROWS_A_PAGE, complete_until, finished_jobs
from tests.api.conftest import Served, key_for, producer_of
from tests.api.test_jobs import problem_of
from tests.support.fates import DONE, Fates, make_batch
from tests.support.machine import scaled
from tests.support.outputs import make_outputs, put_output, put_score, without_outputs
from tests.support.steps import claim_one, new_worker
from tests.support.system import wait_until

MANY = 3 * ROWS_A_PAGE + 7


class Event(NamedTuple):
    """One event as a browser would read it."""

    name: str
    data: dict[str, Any]
    id: str | None


def read(answer: httpx.Response) -> Iterator[Event]:
    """The events of a stream as they come; comments are left out."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "event" in fields:
            yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}


def whole(client: httpx.Client, batch_id: uuid.UUID, last: str | None = None) -> list[Event]:
    """All events of a stream up to its end."""
    headers = {"Last-Event-ID": last} if last else {}
    with client.stream("GET", f"/v1/batches/{batch_id}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(read(answer))


def jobs_of(stream: list[Event]) -> list[str]:
    return [event.data["external_id"] for event in stream if event.name == "job"]


class TestEvents:
    @pytest.mark.parametrize("refused", ["revoked", "suspended"])
    def test_end_when_the_key_is_refused(self, shop: httpx.Client, engine: Engine, refused: str) -> None:
        """Whoever has a key that leaked does not look on to the batch's end."""
        producer_id = producer_of(engine)
        batch_id = make_batch(engine, {"a": None}, producer_id=producer_id)
        with shop.stream("GET", f"/v1/batches/{batch_id}/events", timeout=scaled(10)) as answer:
            came = read(answer)
            assert next(came).name == "progress"
            with Session(engine) as session, session.begin():
                if refused == "revoked":
                    assert revoke_keys(session, producer_id) == 1
                else:
                    assert suspend(session, producer_id)
            assert list(came) == []

    def test_tell_of_each_job_and_of_the_end(self, shop: httpx.Client, engine: Engine) -> None:
        """The end of each job comes in order, then the batch; then the stream ends."""
        fates: Fates = {"a": DONE, "b": Fail("BROKEN", "m")}
        batch_id = make_batch(engine, fates, producer_id=producer_of(engine))
        without_outputs(engine)
        stream = whole(shop, batch_id)
        assert [event.name for event in stream] == ["progress", "job", "job", "finished", "rendered"]
        first, second = (event.data for event in stream if event.name == "job")
        assert (first["external_id"], first["state"], first["code"]) == ("a", "succeeded", None)
        assert (second["external_id"], second["state"], second["code"]) == ("b", "failed", "BROKEN")
        assert first["id"] == shop.get("/v1/jobs", params={"external_id": "a"}).json()["data"][0]["id"]
        assert stream[-1].data == shop.get(f"/v1/batches/{batch_id}").json()

    def test_go_on_behind_the_last_one(self, shop: httpx.Client, engine: Engine) -> None:
        """Each id leads to those after it, and that of the end to nothing more."""
        batch_id = make_batch(engine, {"a": DONE, "b": DONE, "c": DONE}, producer_id=producer_of(engine))
        without_outputs(engine)
        stream = whole(shop, batch_id)
        ids = [event.id for event in stream if event.name == "job"]
        assert [jobs_of(whole(shop, batch_id, last)) for last in ids] == [["b", "c"], ["c"], []]
        path = f"/v1/batches/{batch_id}/events"
        over = shop.get(path, headers={"Last-Event-ID": stream[-1].id or ""})
        assert (over.status_code, over.content) == (204, b"")

    def test_go_on_until_the_outputs_are_final(self, shop: httpx.Client, engine: Engine) -> None:
        """The batch is finished with its jobs, and rendered once no output and no score waits."""
        batch_id = make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
        put_output(engine, "a", "rgba")
        with shop.stream("GET", f"/v1/batches/{batch_id}/events", timeout=scaled(10)) as answer:
            came = read(answer)
            assert next(came).data["outputs"] == {"waiting": 1, "made": 0, "failed": 0}
            assert [next(came).name, next(came).name] == ["job", "finished"]
            make_outputs(engine)
            assert next(came).data["outputs"] == {"waiting": 0, "made": 1, "failed": 0}
            put_score(engine, "a", 0.5)
            progress, rendered = came
        assert progress.data["scores"] == {"waiting": 0, "made": 1, "failed": 0}
        assert (rendered.name, rendered.data) == ("rendered", shop.get(f"/v1/batches/{batch_id}").json())

    def test_after_the_jobs_end_lead_to_that_of_the_outputs_alone(
        self, shop: httpx.Client, engine: Engine
    ) -> None:
        """Behind `finished` no job comes again, and behind `rendered` only new outputs do."""
        batch_id = make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
        without_outputs(engine)
        *_, finished, rendered = whole(shop, batch_id)
        assert [event.name for event in whole(shop, batch_id, finished.id)] == ["progress", "rendered"]
        put_output(engine, "a", "amazon")
        path = f"/v1/batches/{batch_id}/events"
        wait_until(lambda: shop.get(f"/v1/batches/{batch_id}").json()["outputs"]["waiting"] == 1, "its count")
        with shop.stream("GET", path, headers={"Last-Event-ID": rendered.id or ""}) as answer:
            came = read(answer)
            assert next(came).data["outputs"]["waiting"] == 1
            make_outputs(engine)
            assert [event.name for event in came] == ["progress", "rendered"]

    def test_come_as_jobs_end(self, shop: httpx.Client, engine: Engine) -> None:
        """While the stream is open, within seconds; counts come along when they have changed."""
        batch_id = make_batch(engine, dict.fromkeys("ab"), producer_id=producer_of(engine))
        with shop.stream("GET", f"/v1/batches/{batch_id}/events") as answer:
            came = read(answer)
            assert next(came).data["counts"]["queued"] == 2
            for name, moving in (("a", 1), ("b", 0)):
                with Session(engine) as session, session.begin():
                    settle(session, claim_one(session, new_worker(session)), DONE)
                ended_at = time.monotonic()
                # What is counted is read by several statements: counts may come again with other numbers.
                told = {"queued": moving + 1, "job": None}
                while told != {"queued": moving, "job": name}:
                    event = next(came)
                    told |= (
                        {"job": event.data["external_id"]}
                        if event.name == "job"
                        else {"queued": event.data["counts"]["queued"]}
                    )
                assert time.monotonic() - ended_at < scaled(4)
            assert any(event.name == "finished" for event in came)

    def test_of_many_jobs_come_once_each(self, shop: httpx.Client, engine: Engine) -> None:
        """Over many pages, and though all ended at one moment."""
        batch_id = make_batch(engine, {}, producer_id=producer_of(engine))
        fill = text(
            "INSERT INTO jobs (producer_id, batch_id, external_id, source, state, virtual_start, finished_at)"
            " SELECT :producer, :batch, n, 's', 'cancelled', n, now() FROM generate_series(1, :many) AS n"
        )
        with engine.begin() as connection:
            connection.execute(fill, {"producer": producer_of(engine), "batch": batch_id, "many": MANY})
        told = jobs_of(whole(shop, batch_id))
        assert sorted(told, key=int) == [str(n) for n in range(1, MANY + 1)]

    def test_miss_nothing_that_is_committed_late(self, shop: httpx.Client, engine: Engine) -> None:
        """A job that ended before another, by its time, and was seen after it, is told before it."""
        batch_id = make_batch(engine, dict.fromkeys("ab"), producer_id=producer_of(engine))
        with engine.connect() as slow:
            cancel = (
                "UPDATE jobs SET state = 'cancelled', queue_state = NULL, finished_at = now()"
                " WHERE external_id = :name"
            )
            slow.execute(text(cancel), {"name": "a"})
            with engine.begin() as quick:
                quick.execute(text(cancel), {"name": "b"})
            with shop.stream("GET", f"/v1/batches/{batch_id}/events") as answer:
                came = read(answer)
                assert next(came).data["counts"]["cancelled"] == 1
                threading.Timer(1.5, slow.commit).start()
                assert jobs_of(list(came)) == ["a", "b"]

    @pytest.mark.long("a transaction of 6 s; test_miss_nothing_that_is_committed_late has a short one")
    def test_are_held_back_by_a_transaction_for_seconds_alone(self, engine: Engine) -> None:
        """One that is left open does not stop every stream."""
        with engine.begin() as connection, engine.connect() as other:
            connection.execute(text("SELECT pg_sleep(6)"))
            now = other.execute(text("SELECT clock_timestamp()")).scalar_one()
            assert 4.5 < (now - complete_until(other)).total_seconds() < 5.5

    def test_are_their_producers_alone(self, shop: httpx.Client, engine: Engine) -> None:
        """Another's batch, and none at all, are a 404."""
        batch_id = make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
        other = key_for(engine, "other")
        problem_of(shop.get(f"/v1/batches/{batch_id}/events", headers=other), 404)
        problem_of(shop.get(f"/v1/batches/{uuid.uuid4()}/events"), 404)

    @pytest.mark.parametrize("last", ["nonsense", "", "A" * 33, "_" * 34, "A" * 65, "%00"])
    def test_do_not_go_on_behind_what_was_never_told(
        self, shop: httpx.Client, engine: Engine, last: str
    ) -> None:
        """A wrong id is refused by the header's name."""
        batch_id = make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
        answer = shop.get(f"/v1/batches/{batch_id}/events", headers={"Last-Event-ID": last})
        assert problem_of(answer, 422)["field"].lower().endswith("last-event-id")

    def test_are_for_a_bounded_number_of_clients(
        self, shop: httpx.Client, engine: Engine, services_of: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Past it there is a problem 503; a client that left makes room."""
        monkeypatch.setattr(services_of.events.places, "most", 1)
        path = f"/v1/batches/{make_batch(engine, {'a': None}, producer_id=producer_of(engine))}/events"
        with shop.stream("GET", path) as answer:
            # Kept: as garbage it would close the stream.
            came = read(answer)
            next(came)
            refused = problem_of(shop.get(path), 503)
            assert refused["type"] == "urn:cutout:problem:too-many-streams"
        wait_until(lambda: not services_of.events.places.full, "the stream is over", within_s=5)
        with shop.stream("GET", path) as answer:
            came = read(answer)
            assert next(came).name == "progress"


def test_a_page_is_read_by_an_index_in_order(engine: Engine) -> None:
    """Telling of a batch's end costs what a page does, however large the batch is."""
    key_for(engine, "shop")
    batch_id = make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
    fill = text(
        "INSERT INTO jobs (batch_id, external_id, source, state, virtual_start, finished_at)"
        " SELECT :batch, n, 's',"
        " 'cancelled', n, now() + n * interval '1 ms' FROM generate_series(1, 20000) AS n"
    )
    with engine.begin() as connection:
        connection.execute(fill, {"batch": batch_id})
        connection.execute(text("ANALYZE jobs"))
    returned = text("SELECT pg_stat_get_xact_tuples_returned('ix_jobs_finished'::regclass)")
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = on"))
        until = connection.execute(text("SELECT now() + interval '1 day'")).scalar_one()
        first = finished_jobs(connection, batch_id, None, until)
        before = connection.execute(returned).scalar_one()
        second = finished_jobs(connection, batch_id, first[-1].position, until)
        read_rows = connection.execute(returned).scalar_one() - before
    assert (len(second), second[0].external_id) == (ROWS_A_PAGE, str(ROWS_A_PAGE))
    assert read_rows <= ROWS_A_PAGE + 10


def test_a_process_that_ends_closes_its_streams(served: Served, engine: Engine) -> None:
    """At SIGTERM no stream holds the process up."""
    headers = key_for(engine, "shop")
    batch_id = make_batch(engine, {"a": None}, producer_id=producer_of(engine))
    with httpx.stream("GET", f"{served.url}/v1/batches/{batch_id}/events", headers=headers) as answer:
        came = read(answer)
        next(came)
        served.process.terminate()
        assert served.process.wait(scaled(10)) == 0
