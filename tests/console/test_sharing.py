"""Connections, answers and bytes that pages share."""

import asyncio
import time
import uuid
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
from sqlalchemy import text

from console.pool import FOR_PAGES, SESSIONS, Pool
from console.priced import Priced
from console.screens.calendar import RunMark, Span, bounds_of, days_of
from cutout.enums import RunState
from cutout.models import Schedule
from tests.console.conftest import Site
from tests.support import event_loop
from tests.support.machine import scaled
from tests.support.plain_http import NO_TLS

OURS = {"Sec-Fetch-Site": "same-origin"}
UTC_ZONE = ZoneInfo("UTC")


def test_sessions_are_known_while_pages_are_slow(database_url: str) -> None:
    """Slow pages of several producers leave a connection to the lookup that each page begins with."""

    async def main() -> float:
        slow_s = scaled(1.5)
        slow = [
            asyncio.create_task(
                pool.read(lambda c: c.execute(text(f"SELECT pg_sleep({slow_s})")), of=uuid.uuid4())
            )
            for _ in range(FOR_PAGES + 1)
        ]
        await asyncio.sleep(slow_s / 5)
        began = time.monotonic()
        assert await pool.read(lambda c: c.scalar(text("SELECT 1")), of=SESSIONS) == 1
        took_s = time.monotonic() - began
        await asyncio.gather(*slow, return_exceptions=True)
        return took_s / slow_s

    pool = Pool(database_url)
    try:
        assert event_loop.run(main()) < 0.5
    finally:
        pool.close()


class TestPriced:
    """Answers that are kept as long as their price asks."""

    def test_who_asks_at_once_shares_the_answer(self) -> None:
        """It is made once, also for those who come while it is fresh, and apart for another key."""
        asked: list[str] = []

        async def ask(key: str) -> str:
            asked.append(key)
            await asyncio.sleep(0.05)
            return key * 2

        async def main() -> None:
            answers: Priced[str, str] = Priced(ask, at_once=2)
            found = await asyncio.gather(*(answers.get(key) for key in "aaab"))
            assert [each.value for each in found if each] == ["aa", "aa", "aa", "bb"]
            assert await answers.get("a") == found[0]

        event_loop.run(main())
        assert sorted(asked) == ["a", "b"]

    def test_a_list_does_not_wait_for_the_next_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It gets the last one while the next is made; a page waits for that."""
        # An answer that took long on a busy machine would be kept for longer than the test waits.
        monkeypatch.setattr("console.priced.MOST_SHARE", 1.0)
        made = iter(range(10))

        async def ask(_: str) -> int:
            await asyncio.sleep(0.02)
            return next(made)

        async def main() -> None:
            answers: Priced[str, int] = Priced(ask, at_once=1)
            first = await answers.get("a")
            assert first is not None
            await asyncio.sleep(1.1)
            assert await answers.get("a", soon=True) == first
            assert first.at < datetime.now(UTC)
            later = await answers.get("a")
            assert later is not None
            assert (later.value, later.at > first.at) == (1, True)

        event_loop.run(main())

    def test_a_fault_is_of_those_who_wait_and_not_kept(self) -> None:
        """The next one tries again; what is not there is looked for again, too."""
        faults = iter([RuntimeError("away"), None, "there"])

        async def ask(_: str) -> str | None:
            found = next(faults)
            if isinstance(found, RuntimeError):
                raise found
            return found

        async def main() -> None:
            answers: Priced[str, str] = Priced(ask, at_once=1)
            both = await asyncio.gather(answers.get("a"), answers.get("a"), return_exceptions=True)
            assert [str(each) for each in both] == ["away", "away"]
            assert await answers.get("a") is None
            found = await answers.get("a")
            assert found is not None
            assert found.value == "there"

        event_loop.run(main())


def test_a_large_page_is_compressed(site: Site) -> None:
    """It needs no key of the API for it."""
    batch_id = site.make_batch("long ones", [f"SKU-{n:04}" for n in range(50)])
    site.execute("UPDATE jobs SET external_id = external_id || repeat('<', 2500)")
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as client:
        assert client.post("/console/sign-in", data={"key": site.key}, headers=OURS).status_code == 303
        page = client.get(f"/console/batches/{batch_id}")
    assert len(page.text) > 128 * 1024
    assert page.headers["content-encoding"] == "gzip"


def test_a_code_alone_is_of_jobs_that_have_a_reason(site: Site) -> None:
    """Its list does not read all jobs of the batch."""
    batch_id = site.make_batch("failures", ["good", "bad"])
    site.execute(
        "UPDATE jobs SET state = 'failed', queue_state = NULL, code = 'X', message = 'no',"
        " finished_at = now() WHERE external_id = 'bad'"
    )
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as client:
        client.post("/console/sign-in", data={"key": site.key}, headers=OURS)
        page = client.get(f"/console/batches/{batch_id}?code=X").text
    assert ">bad<" in page
    assert ">good<" not in page


def test_a_month_counts_runs_where_a_week_lists_them() -> None:
    """A month of many schedules would be too large otherwise."""
    day = date(2026, 11, 11)
    at = datetime(2026, 11, 11, 3, tzinfo=UTC)
    schedule = Schedule(
        id=uuid.uuid4(), name="x", cron="0 3 * * *", zone="UTC", next_fire_at=at, paused_at=at
    )
    runs = [
        RunMark(schedule.id, at + n * timedelta(hours=1), RunState.SUCCEEDED, uuid.uuid4()) for n in range(3)
    ]

    def listed(span: Span) -> bool:
        days = days_of(bounds_of(span, day, UTC_ZONE), UTC_ZONE, [schedule], runs, at + timedelta(days=30))
        (entry,) = [entry for each in days for entry in each.entries]
        assert entry.counts == [(RunState.SUCCEEDED, 3)]
        return entry.is_short

    assert listed(Span.WEEK)
    assert not listed(Span.MONTH)


def test_a_list_says_how_old_a_count_is(site: Site) -> None:
    """A count of some seconds ago will do for a list, and is not told as one of now."""
    site.make_batch("spring", ["one", "two"])
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as client:
        client.post("/console/sign-in", data={"key": site.key}, headers=OURS)
        client.get("/console/batches")
        time.sleep(3.5)
        later = client.get("/console/batches").text
    assert "0 of 2 <small>" in later
    assert " s old</small>" in later
