"""Numbers of the first screen: today's failures with their list, the last hour, their links."""

import re
import uuid
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import func, select

from console.failures import failed_on, today
from cutout.models import JOBS
from tests.console.conftest import Site, Tab, barriers, signed_in
from tests.console.test_buttons import operator
from tests.console.test_screens import SHAPES
from tests.support.clock import wait_for_a_day
from tests.support.explained import plan_of, rows_looked_at
from tests.support.system import wait_until

LIST = "/console/trouble/failed"
FAIL = (
    "UPDATE jobs SET state = 'failed', queue_state = NULL, code = :code, message = 'it was broken',"
    " finished_at = now() - :days * interval '1 day' WHERE external_id = ANY(:skus)"
)


def fail(site: Site, *skus: str, code: str = "SOURCE_MISSING", days: int = 0) -> None:
    """Let these jobs have failed so many days ago."""
    site.execute(FAIL, skus=list(skus), code=code, days=days)


@pytest.fixture
def failing(site: Site) -> Site:
    """Failures of today and of other days, of the producer and of another."""
    wait_for_a_day()
    site.make_batch("spring", [f"SKU-{number:03}" for number in range(120)])
    other, _ = site.make_key("other")
    site.make_batch("autumn", ["other-1"], producer_id=other)
    fail(site, *(f"SKU-{number:03}" for number in range(60)))
    fail(site, "SKU-060", code="IMAGE_TOO_SMALL")
    fail(site, "SKU-061", days=1)
    fail(site, "other-1")
    return site


def number_of(page: str, name: str) -> tuple[str, str]:
    """The number with this name among the totals, and where it leads."""
    found = re.search(rf'<dt>{re.escape(name)}.*?</dt><dd><a href="([^"]*)">([^<]*)</a>', page)
    assert found, name
    return found[2], found[1]


def test_each_sees_the_failures_of_today(failing: Site) -> None:
    """An operator those of all, a producer its own; the number leads to the jobs."""
    with operator(failing) as client:
        assert number_of(client.get("/console").text, "failed today (UTC)") == ("62", LIST)
        assert ">other-1<" in client.get(LIST).text
    with signed_in(failing, failing.key) as client:
        assert number_of(client.get("/console").text, "failed today (UTC)") == ("61", LIST)
        text = client.get(LIST).text
        assert "61 jobs" in text
        assert "other-1" not in text
        assert "SKU-061" not in text


def test_each_number_leads_to_its_rows(failing: Site) -> None:
    """None of the totals is without a link, and each link is a page."""
    failing.execute(
        "UPDATE jobs SET state = 'held', queue_state = NULL, code = 'NO_ANSWER', message = 'unknown'"
        " WHERE external_id = 'SKU-100'"
    )
    failing.execute("INSERT INTO accounts (name, credits, credits_at) VALUES ('a', 100, now())")
    for client_of in (operator(failing), signed_in(failing, failing.key)):
        with client_of as client:
            page = client.get("/console").text
            assert number_of(page, "held") == ("1", "/console/trouble")
            totals = page.partition('<dl class="totals">')[2].partition("</dl>")[0]
            links = re.findall(r'<dd><a href="([^"]*)"', totals)
            assert len(links) == totals.count("<dd>") >= 6
            for link in links:
                assert client.get(link.replace("&amp;", "&")).status_code == 200, link
            held = page.partition("held for a person")[2].partition("</li>")[0]
            assert 'href="/console/' in held


def test_the_list_has_each_job_once(failing: Site) -> None:
    """In pages, the last first; by reason; by day; and what was retried since is gone."""
    with signed_in(failing, failing.key) as client:
        seen: list[str] = []
        address = LIST
        while address:
            text = client.get(address).text
            seen += re.findall(r">(SKU-\d+)</a>", text)
            following = re.search(r'href="([^"]*)" rel="next"', text)
            address = following[1].replace("&amp;", "&") if following else ""
        assert sorted(seen) == [f"SKU-{number:03}" for number in range(61)]
        small = client.get(LIST, params={"code": "IMAGE_TOO_SMALL"}).text
        assert re.findall(r">(SKU-\d+)</a>", small) == ["SKU-060"]
        yesterday = today() - timedelta(days=1)
        assert ">SKU-061<" in client.get(LIST, params={"day": str(yesterday)}).text
        failing.execute(
            "UPDATE jobs SET state = 'queued', queue_state = 'ready', finished_at = NULL, code = NULL,"
            " message = NULL WHERE external_id = 'SKU-060'"
        )
        wait_until(lambda: "60 jobs" in client.get(LIST).text, "it is not counted any more")


@pytest.mark.parametrize(
    "query",
    [
        *("day=x", "day=9999-12-31", "day=0001-01-01", "day=%00", "code=%00", "after=x", "at=x"),
        f"code={'x' * 3000}",
        f"at=2026-11-30T00:00:00&after={uuid.UUID(int=1)}",
    ],
)
def test_a_wrong_address_is_a_page(failing: Site, query: str) -> None:
    """It shows less, and never an error."""
    with signed_in(failing, failing.key) as client:
        assert client.get(f"{LIST}?{query}").status_code == 200


def test_counting_reads_the_failures_of_the_day_alone(failing: Site) -> None:
    """By an index that has no other job, however many there are."""
    with failing.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM jobs")
        counted = select(func.count()).select_from(JOBS).where(*failed_on(today(), None))
        plan = plan_of(connection, counted, enable_seqscan="off")
    assert "ix_jobs_failed" in str(plan)
    assert max(rows_looked_at(plan)) == 62


def chart_of(client: httpx.Client, words: str) -> str:
    """The first screen once its chart is there."""
    wait_until(lambda: words in client.get("/console").text, "the chart is there")
    return client.get("/console").text


def test_the_pace_of_the_last_hour_is_a_chart_and_a_table(failing: Site) -> None:
    """An operator's is of calls, a producer's of its own jobs that ended; both say how old they are."""
    failing.execute("INSERT INTO accounts (name) VALUES ('a')")
    failing.execute(
        "INSERT INTO attempts (job_id, number, fence, worker_id, account, image_sha256, begun_at)"
        " SELECT id, 1, 1, id, 'a', 'x', now() - interval '5 min' FROM jobs WHERE external_id < 'SKU-007'"
    )
    with operator(failing) as client:
        page = chart_of(client, "Calls a minute")
        assert ": 7 calls</title>" in page
        assert "The last hour as of" in page
    with signed_in(failing, failing.key) as client:
        page = chart_of(client, "Ended jobs a minute")
        assert ": 61 jobs</title>" in page
        assert '<td class="n">61</td>' in page


@pytest.mark.parametrize("shape", SHAPES)
def test_they_have_no_barrier(failing: Site, open_tab: Callable[..., Tab], shape: str) -> None:
    """With the chart, and the list of failures."""
    tab = open_tab(**SHAPES[shape])
    page = tab.sign_in(failing.key)
    with signed_in(failing, failing.key) as client:
        chart_of(client, "Ended jobs a minute")
    for address in ("/console", LIST, f"{LIST}?day=2026-01-01"):
        page.goto(f"{failing.url}{address}")
        assert barriers(page) == [], address
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
