import csv
import io
import json
import time
import uuid
from contextlib import ExitStack

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from api import streaming
from cutout.enums import OutputState
from cutout.models import Producer
from cutout.queue.attempts.outcomes import Fail
from cutout.storage import Bucket
from tests.api.conftest import key_for
from tests.support.fates import DONE, make_batch
from tests.support.machine import scaled
from tests.support.outputs import put_output, without_outputs

MANY = 100_000


def batch_of(engine: Engine, name: str = "shop") -> uuid.UUID:
    """A batch of that producer's: one job succeeded and delivers what was bought, one failed, one waits."""
    with Session(engine) as session:
        producer_id = session.query(Producer.id).filter_by(name=name).scalar()
    batch_id = make_batch(engine, {"a": DONE, "b": Fail("=BROKEN", "m"), "c": None}, producer_id=producer_id)
    without_outputs(engine)
    return batch_id


class TestResultsOverHttp:
    def test_are_csv_under_a_safe_name(self, shop: httpx.Client, engine: Engine) -> None:
        """A browser saves them as a file, and no cache keeps them; a cell is no formula."""
        batch_id = batch_of(engine)
        answer = shop.get(f"/v1/batches/{batch_id}/results")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"] == f'attachment; filename="results-{batch_id}.csv"'
        assert answer.headers["cache-control"] == "no-store"
        rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        assert [(row["external_id"], row["state"], row["error_code"]) for row in rows] == [
            ("a", "succeeded", ""),
            ("b", "failed", "'=BROKEN"),
            ("c", "queued", ""),
        ]
        assert "url" not in rows[0]

    def test_are_ndjson_if_asked(self, shop: httpx.Client, engine: Engine) -> None:
        """An object a line, of the states asked for."""
        batch_id = batch_of(engine)
        query = {"format": "ndjson", "state": ["failed", "queued"]}
        answer = shop.get(f"/v1/batches/{batch_id}/results", params=query)
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.headers["content-disposition"].endswith('.ndjson"')
        assert [json.loads(line)["external_id"] for line in answer.text.splitlines()] == ["b", "c"]

    def test_have_links_that_work(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """Anyone fetches the cutout by them."""
        bucket.put_cutout(b"picture", key="cutouts/a.png", media_type="image/png", metadata={})
        query = {"format": "ndjson", "links": "true", "state": "succeeded"}
        answer = shop.get(f"/v1/batches/{batch_of(engine)}/results", params=query)
        assert httpx.get(json.loads(answer.text)["url"]).content == b"picture"

    def test_are_their_producers_alone(self, shop: httpx.Client, engine: Engine) -> None:
        """Another producer's batch, an operator's and none at all are one and the same 404."""
        key_for(engine, "other")
        for batch_id in (batch_of(engine, "other"), make_batch(engine, {"a": DONE}), uuid.uuid4()):
            answer = shop.get(f"/v1/batches/{batch_id}/results")
            assert (answer.status_code, answer.json()["type"]) == (404, "urn:cutout:problem:unknown-batch")

    @pytest.mark.parametrize("query", ["format=xml", "state=done", "links=maybe"])
    def test_of_an_unknown_kind_are_refused(self, shop: httpx.Client, engine: Engine, query: str) -> None:
        """The problem names the field."""
        answer = shop.get(f"/v1/batches/{batch_of(engine)}/results?{query}")
        assert answer.status_code == 422
        assert answer.json()["field"].startswith(query.partition("=")[0])

    @pytest.mark.long("sends some megabytes slowly")
    def test_come_while_they_are_read(self, shop: httpx.Client, engine: Engine) -> None:
        """The first rows of many are there long before the last; a client that has enough may leave."""
        batch_id = batch_of(engine)
        with engine.begin() as connection:
            more = (
                "INSERT INTO jobs (batch_id, source, state, virtual_start, finished_at, code)"
                " SELECT :batch, 's',"
                " 'failed', 0, now(), 'BROKEN' FROM generate_series(1, :many)"
            )
            connection.execute(text(more), {"batch": batch_id, "many": MANY})
        began = time.monotonic()
        with shop.stream("GET", f"/v1/batches/{batch_id}/results") as answer:
            lines = answer.iter_lines()
            next(lines)
            assert next(lines).startswith("a,rgba,succeeded")
            first = time.monotonic() - began
            assert sum(1 for _ in lines) == MANY + 2
        assert first < (time.monotonic() - began) / 2
        with shop.stream("GET", f"/v1/batches/{batch_id}/results") as answer:
            next(answer.iter_lines())
        assert shop.get(f"/v1/batches/{batch_id}").json()["total"] == MANY + 3

    def test_are_of_the_codes_asked_for(self, shop: httpx.Client, engine: Engine) -> None:
        """As by `cutout results --code`."""
        query = {"code": ["=BROKEN", "OTHER"], "format": "ndjson"}
        answer = shop.get(f"/v1/batches/{batch_of(engine)}/results", params=query)
        assert [json.loads(line)["external_id"] for line in answer.text.splitlines()] == ["b"]
        bad = shop.get(f"/v1/batches/{batch_of(engine)}/results", params={"code": "a\x00"})
        assert bad.status_code == 422

    def test_are_the_manifest_with_columns_added(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """As by `cutout results --as-input`, if it came from one; other filters do not go with it."""
        batch_id = batch_of(engine)
        path = f"/v1/batches/{batch_id}/results"
        without = shop.get(path, params={"as_input": "true"})
        assert (without.status_code, without.json()["type"]) == (409, "urn:cutout:problem:no-manifest")
        manifest = b"external_id,source,title\r\na,https://shop.example/a.jpg,Shoe\r\n"
        bucket.put_pieces([manifest], key="manifests/a", media_type="text/csv")
        ingest = (
            "INSERT INTO ingests (batch_id, fingerprint, kind, manifest_key, records, finished_at)"
            " VALUES (:batch, 'x', 'CSV manifest', 'manifests/a', 1, now())"
        )
        with engine.begin() as connection:
            connection.execute(text(ingest), {"batch": batch_id})
        (row,) = csv.DictReader(io.StringIO(shop.get(path, params={"as_input": "true"}).text, newline=""))
        assert (row["title"], row["cutout_state"], row["cutout_key"]) == (
            "Shoe",
            "succeeded",
            "cutouts/a.png",
        )
        put_output(engine, "a", "amazon", OutputState.MADE, key="cutouts/amazon.jpg")
        image = {"as_input": "true", "links": "true", "image_column": "amazon"}
        (row,) = csv.DictReader(io.StringIO(shop.get(path, params=image).text, newline=""))
        assert "/cutouts/amazon.jpg?" in row["source"]
        assert row["cutout_amazon_url"] == row["source"]
        without_links = shop.get(path, params=image | {"links": "false"})
        assert (without_links.status_code, without_links.json()["field"]) == (422, "image_column")
        refused = shop.get(path, params={"as_input": "true", "state": "failed"})
        assert (refused.status_code, refused.json()["field"]) == (422, "as_input")

    @pytest.mark.long("readers that stall for seconds; the tests beside it read results")
    def test_hold_no_connection_while_nobody_reads(self, shop: httpx.Client, engine: Engine) -> None:
        """Many clients that stop reading leave the database to others."""
        batch_id = batch_of(engine)
        with engine.begin() as connection:
            more = (
                "INSERT INTO jobs (batch_id, source, state, virtual_start, finished_at, code)"
                " SELECT :batch, 's',"
                " 'failed', 0, now(), 'BROKEN' FROM generate_series(1, :many)"
            )
            connection.execute(text(more), {"batch": batch_id, "many": MANY})
        with ExitStack() as stack:
            # As many as one producer may have.
            for _ in range(10):
                path = f"/v1/batches/{batch_id}/results"
                answer = stack.enter_context(shop.stream("GET", path, timeout=60))
                assert answer.status_code == 200
                next(answer.iter_bytes())
            time.sleep(1)
            with engine.connect() as connection:
                busy = (
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database()"
                    " AND application_name LIKE 'cutout-api%' AND state <> 'idle'"
                )
                assert connection.execute(text(busy)).scalar_one() == 0
            assert shop.get("/v1/jobs").is_success


@pytest.mark.long("waits until a stalled reader is cut off; the tests beside it read results")
def test_a_client_that_reads_nothing_is_cut_off(
    shop: httpx.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not keep what it asked for waiting for ever."""
    monkeypatch.setattr(streaming, "SEND_WITHIN_S", 1.0)
    batch_id = batch_of(engine)
    with engine.begin() as connection:
        more = (
            "INSERT INTO jobs (batch_id, source, state, virtual_start, finished_at, code, message)"
            " SELECT :batch, 's', 'failed', 0, now(), 'BROKEN', repeat('x', 500)"
            " FROM generate_series(1, 40000)"
        )
        connection.execute(text(more), {"batch": batch_id})
    # Compressed it would fit into the buffers of the connection.
    plain = {"Accept-Encoding": "identity"}
    with shop.stream("GET", f"/v1/batches/{batch_id}/results", headers=plain) as answer:
        pieces = answer.iter_bytes()
        next(pieces)
        time.sleep(scaled(4))
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
