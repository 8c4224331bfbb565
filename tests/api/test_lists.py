import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.enums import State
from cutout.models import Producer
from cutout.queue.attempts.outcomes import Fail, Hold
from cutout.status.pages import MOST_EXAMINED, JobFilter, Order, PageRequest, list_jobs
from tests.api.conftest import key_for, producer_of
from tests.api.test_jobs import problem_of
from tests.support.fates import DONE, Fates, make_batch

MANY = 2 * MOST_EXAMINED + 1000


def pages_of(client: httpx.Client, path: str, **query: Any) -> list[list[dict[str, Any]]]:
    """All pages of a list, by its cursors."""
    pages, cursor = [], None
    while True:
        behind: dict[str, str] = {"cursor": cursor} if cursor else {}
        answer = client.get(path, params=query | behind).raise_for_status().json()
        pages.append(answer["data"])
        cursor = answer["next_cursor"]
        if cursor is None:
            return pages


def names(pages: list[list[dict[str, Any]]]) -> list[list[str]]:
    return [[job["external_id"] for job in page] for page in pages]


class TestListingJobs:
    @pytest.mark.parametrize(("order", "pages"), [("newest", ["edc", "ba"]), ("oldest", ["abc", "de"])])
    def test_gives_each_once_in_order(
        self, shop: httpx.Client, engine: Engine, order: str, pages: list[str]
    ) -> None:
        """By pages, from either end; the last page has no cursor."""
        make_batch(engine, dict.fromkeys("abcde"), producer_id=producer_of(engine))
        assert names(pages_of(shop, "/v1/jobs", limit=3, order=order)) == [list(page) for page in pages]

    def test_that_are_new_changes_no_later_page(self, shop: httpx.Client, engine: Engine) -> None:
        """A job that comes while pages are read shifts none of them."""
        make_batch(engine, dict.fromkeys("abcd"), producer_id=producer_of(engine))
        first = shop.get("/v1/jobs", params={"limit": 2}).json()
        make_batch(engine, {"new": None}, producer_id=producer_of(engine))
        then = shop.get("/v1/jobs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
        assert names([first["data"], then["data"]]) == [["d", "c"], ["b", "a"]]

    def test_shows_what_a_look_at_one_shows(self, shop: httpx.Client, engine: Engine) -> None:
        """One object is shared."""
        make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
        (listed,) = shop.get("/v1/jobs").json()["data"]
        assert listed == shop.get(f"/v1/jobs/{listed['id']}").json()

    def test_keeps_to_the_filters(self, shop: httpx.Client, engine: Engine) -> None:
        """By state, code, id and batch, alone and together."""
        ended: Fates = {"done": DONE, "bad": Fail("BROKEN", "m"), "worse": Fail("WORSE", "m")}
        other = make_batch(engine, ended, producer_id=producer_of(engine))
        batch_id = make_batch(engine, {**ended, "new": None}, producer_id=producer_of(engine))
        assert shop.post(
            "/v1/jobs", json={"source_url": "https://a.example/a.jpg", "external_id": "new"}
        ).is_success

        def found(**query: Any) -> list[str]:
            (page,) = names(pages_of(shop, "/v1/jobs", order="oldest", **query))
            return page

        assert found(state="succeeded") == ["done", "done"]
        assert found(state=["succeeded", "failed"], batch=str(batch_id)) == ["done", "bad", "worse"]
        assert found(code="WORSE", batch=str(other)) == ["worse"]
        assert found(external_id="new") == ["new", "new"]
        assert found(external_id="new", batch=str(batch_id)) == ["new"]
        assert found(external_id="bad", state="succeeded") == []
        assert found(batch=str(uuid.uuid4())) == []

    def test_keeps_to_the_time(self, shop: httpx.Client, engine: Engine) -> None:
        """An id made at a time sorts after it and not before it."""
        for name in "abc":
            make_batch(engine, {name: None}, producer_id=producer_of(engine))
        middle = shop.get("/v1/jobs").json()["data"][1]["created_at"]
        after = pages_of(shop, "/v1/jobs", created_after=middle, order="oldest")
        before = pages_of(shop, "/v1/jobs", created_before=middle, order="oldest")
        assert (names(after), names(before)) == ([["b", "c"]], [["a"]])
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        assert pages_of(shop, "/v1/jobs", created_after=tomorrow) == [[]]
        assert pages_of(shop, "/v1/jobs", created_before="9999-12-31T23:59:59Z", limit=3) != [[]]

    def test_is_bounded_by_the_producer(self, shop: httpx.Client, engine: Engine) -> None:
        """Another's jobs are never listed, not by their batch, their id or a cursor of theirs."""
        other = key_for(engine, "other")
        theirs = make_batch(engine, dict.fromkeys("abc"), producer_id=producer_of(engine, "other"))
        make_batch(engine, {"a": None}, producer_id=producer_of(engine))
        cursor = shop.get("/v1/jobs", params={"limit": 1}, headers=other).json()["next_cursor"]
        (mine,) = pages_of(shop, "/v1/jobs")
        assert len(mine) == 1
        assert pages_of(shop, "/v1/jobs", batch=str(theirs)) == [[]]
        (page,) = pages_of(shop, "/v1/jobs", external_id="a")
        assert page == mine
        behind = shop.get("/v1/jobs", params={"limit": 1, "cursor": cursor}).json()["data"]
        assert {job["id"] for job in behind} <= {mine[0]["id"]}

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"limit": 0}, "limit"),
            ({"limit": 201}, "limit"),
            ({"limit": "many"}, "limit"),
            ({"state": "done"}, "state.0"),
            ({"order": "sideways"}, "order"),
            ({"batch": "7"}, "batch"),
            ({"external_id": ""}, "external_id"),
            ({"external_id": "x" * 256}, "external_id"),
            ({"external_id": "a\x00b"}, "external_id"),
            ({"code": "\x00"}, "code.0"),
            ({"code": ["A"] * 21}, "code"),
            ({"created_after": "yesterday"}, "created_after"),
            ({"created_after": "1764150000"}, "created_after"),
            ({"created_after": "2026-01-01T00:00:00"}, "created_after"),
            ({"cursor": ""}, "cursor"),
            ({"cursor": "nonsense"}, "cursor"),
            ({"cursor": "é"}, "cursor"),
            ({"cursor": "A" * 27}, "cursor"),
            ({"cursor": "A" * 65}, "cursor"),
        ],
    )
    def test_refuses_what_is_wrong_by_its_name(
        self, shop: httpx.Client, query: dict[str, Any], field: str
    ) -> None:
        """A problem 422 names the parameter."""
        assert problem_of(shop.get("/v1/jobs", params=query), 422)["field"] == field

    def test_takes_a_cursor_for_its_own_query_alone(self, shop: httpx.Client, engine: Engine) -> None:
        """With other filters it would skip what nobody saw."""
        make_batch(engine, dict.fromkeys("abc"), producer_id=producer_of(engine))
        cursor = shop.get("/v1/jobs", params={"limit": 1}).json()["next_cursor"]
        problem_of(shop.get("/v1/jobs", params={"cursor": cursor, "state": "queued"}), 422)
        problem_of(shop.get("/v1/jobs", params={"cursor": cursor, "order": "oldest"}), 422)
        problem_of(shop.get("/v1/batches", params={"cursor": cursor}), 422)


class TestManyJobs:
    @pytest.fixture
    def producer_id(self, engine: Engine) -> uuid.UUID:
        """A producer with many jobs, of which the oldest failed."""
        key_for(engine, "shop")
        producer_id = producer_of(engine)
        fill = text(
            "INSERT INTO jobs (producer_id, source, queue_state, virtual_start, external_id)"
            " SELECT :producer, 's', 'ready', n, 'x' || n FROM generate_series(1, :many) AS n"
        )
        fail = text(
            "UPDATE jobs SET state = 'failed', queue_state = NULL, code = 'BROKEN', finished_at = now()"
            " WHERE external_id = 'x1'"
        )
        with engine.begin() as connection:
            connection.execute(fill, {"producer": producer_id, "many": MANY})
            connection.execute(fail)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE jobs"))
        return producer_id

    def test_that_do_not_fit_end_a_page(self, engine: Engine, producer_id: uuid.UUID) -> None:
        """Empty pages say where to go on, until the one that fits is found."""
        wanted, place, sizes = JobFilter(states=(State.FAILED,)), PageRequest(), []
        with engine.connect() as connection:
            while True:
                page = list_jobs(connection, producer_id, wanted, place)
                sizes.append(len(page.rows))
                if page.next_after is None:
                    break
                place = PageRequest(after=page.next_after)
        assert sizes == [0, 0, 1]

    @pytest.mark.parametrize(
        "wanted", [JobFilter(), JobFilter(states=(State.FAILED,)), JobFilter(codes=("NONE",))]
    )
    @pytest.mark.parametrize("order", Order)
    def test_cost_a_bounded_number_of_rows_on_any_page(
        self, engine: Engine, producer_id: uuid.UUID, wanted: JobFilter, order: Order
    ) -> None:
        """Deep pages read no more rows than the first, by what Postgres itself counts."""
        with engine.connect() as connection:
            ids = connection.execute(text("SELECT id FROM jobs ORDER BY id")).scalars().all()
        middle = ids[len(ids) // 2]
        first, deep = (
            _rows_read(engine, producer_id, wanted, PageRequest(order, after)) for after in (None, middle)
        )
        assert 0 < deep <= first <= 2 * MOST_EXAMINED + 1000


def _rows_read(engine: Engine, producer_id: uuid.UUID, wanted: JobFilter, place: PageRequest) -> int:
    """Count of the rows and index entries that a page read."""
    reads = text(
        "SELECT pg_stat_get_xact_tuples_returned('jobs'::regclass)"
        " + (SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) FROM pg_index"
        " WHERE indrelid = 'jobs'::regclass)"
    )
    with engine.begin() as connection:
        before = connection.execute(reads).scalar_one()
        list_jobs(connection, producer_id, wanted, place)
        return int(connection.execute(reads).scalar_one() - before)


class TestListingBatches:
    def test_gives_each_once_in_order(self, shop: httpx.Client, engine: Engine) -> None:
        """By pages, without counts, and none of another producer's."""
        key_for(engine, "other")
        make_batch(engine, {"a": None}, name="theirs", producer_id=producer_of(engine, "other"))
        for name in "abc":
            make_batch(engine, {"a": Hold("LOOK", "m")}, name=name, producer_id=producer_of(engine))
        pages = pages_of(shop, "/v1/batches", limit=2)
        assert [[batch["name"] for batch in page] for page in pages] == [["c", "b"], ["a"]]
        assert pages[0][0]["results_url"] == f"/v1/batches/{pages[0][0]['id']}/results"
        oldest = shop.get("/v1/batches", params={"order": "oldest", "limit": 1}).json()
        assert oldest["data"][0]["name"] == "a"

    def test_keeps_to_the_filters(self, shop: httpx.Client, engine: Engine) -> None:
        """By exact name, by state as a look at each shows it, by time; several together."""
        mine = producer_of(engine)
        made = {
            "finished": make_batch(engine, {"a": DONE}, name="x", producer_id=mine),
            "empty": make_batch(engine, {}, name="y", producer_id=mine),
            "cancelled": make_batch(engine, {"a": DONE}, name="z", producer_id=mine),
            # Last, or their jobs would be claimed for the others.
            "active": make_batch(engine, {"a": DONE, "b": None}, name="x", producer_id=mine),
            "cancelling": make_batch(engine, {"a": None}, name="z", producer_id=mine),
        }
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE batches SET cancelled_at = now() WHERE id = ANY (:ids)"),
                {"ids": [made["cancelling"], made["cancelled"]]},
            )
        names = {str(batch_id): name for name, batch_id in made.items()}

        def listed(**query: Any) -> set[str]:
            return {names[each["id"]] for page in pages_of(shop, "/v1/batches", **query) for each in page}

        assert listed() == set(made)
        assert listed(name="x") == {"finished", "active"}
        assert listed(name="X") == set()
        assert listed(state="active") == {"active", "empty"}
        assert listed(state=["finished", "cancelled"], limit=1) == {"finished", "cancelled"}
        assert listed(state="cancelling", name="z") == {"cancelling"}
        for page in pages_of(shop, "/v1/batches", limit=2):
            for each in page:
                assert each["state"] == shop.get(f"/v1/batches/{each['id']}").json()["state"]
        now = datetime.now(UTC)
        assert listed(created_after=(now + timedelta(hours=2)).isoformat()) == set()
        assert listed(created_before=(now + timedelta(hours=2)).isoformat()) == set(made)
        assert listed(created_before=(now - timedelta(hours=2)).isoformat()) == set()
        assert listed(created_after=(now - timedelta(hours=2)).isoformat(), name="y") == {"empty"}
        problem = problem_of(shop.get("/v1/batches", params={"state": "done"}), 422)
        assert problem["field"].startswith("state")


def test_a_producer_without_jobs_has_one_empty_page(shop: httpx.Client, engine: Engine) -> None:
    """Neither jobs nor batches."""
    with Session(engine) as session:
        assert session.query(Producer).count() == 1
    assert (pages_of(shop, "/v1/jobs"), pages_of(shop, "/v1/batches")) == ([[]], [[]])
