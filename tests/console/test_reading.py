"""Screens that only read: Trouble, Schedules, Money, Limit, System and search."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page

from cutout.enums import OperatorScope
from tests.console.conftest import Site, Tab, barriers
from tests.console.test_screens import SHAPES
from tests.support.machine import scaled
from tests.support.plain_http import NO_TLS
from tests.support.system import wait_until

OURS = {"Sec-Fetch-Site": "same-origin"}
HOSTILE = "SKU-0001\u202egnp.\x07<img src=x onerror=alert(1)>"
SCHEDULE = "00000000-0000-4000-8000-000000000001"


FILLING = (Path(__file__).parent / "full_of_trouble.sql").read_text(encoding="utf-8")


def fill(site: Site) -> None:
    """Trouble and calls of each kind."""
    batch_id = site.make_batch("spring <b>", [f"SKU-{n:04}" for n in range(40)])
    known = {"sku": HOSTILE, "batch": batch_id, "producer": site.producer_id, "schedule": SCHEDULE}
    for statement in FILLING.split(";\n"):
        names = re.findall(r"(?<!:):([a-z]+)", statement)
        site.execute(statement, **{name: known[name] for name in names})


FOR_ALL = (
    "/trouble",
    "/trouble/held?code=NO_ANSWER",
    "/trouble/webhooks",
    "/schedules",
    "/schedules?view=month&zone=Europe/Paris&day=2027-03-10",
    "/money",
    "/money?by=batch",
    "/money/unknown",
    "/search?q=SKU",
    "/search?q=nothing-has-this-name",
    "/search",
)
FOR_OPERATORS = ("/trouble/at-risk", "/money?by=producer", "/limit", "/system")


@pytest.fixture
def shop(site: Site) -> Iterator[httpx.Client]:
    """A client that signed in as the producer, without a browser's ways."""
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as client:
        assert client.post("/console/sign-in", data={"key": site.key}, headers=OURS).status_code == 303
        yield client


@pytest.fixture
def operator(site: Site) -> Iterator[httpx.Client]:
    """A client that signed in as an operator."""
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as client:
        token = site.make_operator(OperatorScope.VIEW).partition("token=")[2]
        answer = client.post("/console/link", data={"token": token}, headers=OURS)
        assert answer.status_code == 303
        yield client


def made(client: httpx.Client, address: str) -> str:
    """The page once what is made beside it is there."""
    wait_until(lambda: "are being made" not in client.get(address).text, f"{address} has all")
    return client.get(address).text


def signed_in(site: Site, tab: Tab) -> Page:
    """The tab of an operator."""
    tab.page.goto(site.make_operator(OperatorScope.VIEW))
    tab.page.wait_for_url(f"{site.url}/console")
    return tab.page


@pytest.mark.parametrize("shape", SHAPES)
def test_no_screen_has_a_barrier(site: Site, open_tab: Callable[..., Tab], shape: str) -> None:
    """Axe finds nothing on any screen of an operator, full of trouble, and none is wider than its window."""
    fill(site)
    page = signed_in(site, open_tab(**SHAPES[shape]))
    for address in (*FOR_ALL, *FOR_OPERATORS, f"/schedules/{SCHEDULE}"):
        page.goto(f"{site.url}/console{address}")
        page.get_by_text("are being made").first.wait_for(state="detached")
        assert barriers(page) == [], address
        assert page.locator("#offline").is_hidden(), address
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address


def test_empty_screens_teach(site: Site, tab: Tab) -> None:
    """Without any job each screen of a producer says how to fill it, at this address, without a barrier."""
    page = tab.sign_in(site.key)
    for address, taught in (
        ("/trouble", f"{site.url}/v1/jobs"),
        ("/schedules", f"{site.url}/v1/schedules"),
        ("/money", f"{site.url}/v1/batches"),
        ("/search", f"{site.url}/v1/jobs"),
    ):
        page.goto(f"{site.url}/console{address}")
        page.locator("pre", has_text=taught).wait_for()
        assert barriers(page) == [], address


def test_a_producer_sees_its_own_alone(site: Site, shop: httpx.Client) -> None:
    """Another's trouble, money, schedules and SKUs are as none; screens of the installation are refused."""
    other, _ = site.make_key("other")
    fill(site)
    site.execute("UPDATE batches SET producer_id = :other, name = 'secret plan'", other=other)
    site.execute("UPDATE jobs SET producer_id = :other", other=other)
    site.execute("UPDATE schedules SET producer_id = :other, name = id::text || 'secret plan'", other=other)
    site.execute("UPDATE deliveries SET producer_id = :other", other=other)
    for address in FOR_ALL:
        answer = made(shop, f"/console{address}")
        for told in (
            "secret plan",
            "SKU-0004",
            "3 credits",
            "hooks.example",
            "CREDITS_BELOW",
            "other",
        ):
            assert told not in answer.replace("older", "").replace("nother", ""), (address, told)
    assert "Nothing waits for a person" in shop.get("/console/trouble").text
    assert shop.get(f"/console/schedules/{SCHEDULE}").status_code == 404
    run_id = site.scalar("SELECT id FROM runs WHERE report_key IS NOT NULL LIMIT 1")
    assert shop.get(f"/console/schedules/{SCHEDULE}/runs/{run_id}/report").status_code == 404
    assert shop.get("/console/search", params={"q": HOSTILE}).status_code == 200
    for address in ("/trouble/at-risk", "/limit", "/system"):
        assert shop.get(f"/console{address}").status_code == 403, address
    assert "Limit</a>" not in shop.get("/console").text
    # By producer it gets its own days.
    assert "By producer" not in made(shop, "/console/money?by=producer")


def test_trouble_says_what_waits_and_what_it_may_have_cost(site: Site, operator: httpx.Client) -> None:
    """Held jobs by reason with credits in doubt, stops, results at risk, webhooks; numbers lead to rows."""
    fill(site)
    text = operator.get("/console/trouble").text
    assert "The bucket takes no cutouts" in text
    assert "CREDITS_BELOW_RESERVE: few credits are left" in text
    assert "3 credits" in text
    assert re.search(r'href="/console/trouble/at-risk">1 paid result is', text)
    assert "1 h 5" in text
    assert "spring &lt;b&gt;" in text
    held = operator.get("/console/trouble/held?code=NO_ANSWER").text
    assert held.count('href="/console/jobs/') == 3
    assert "SKU-0001[U+202E]gnp.[U+0007]&lt;img src=x" in held
    risk = operator.get("/console/trouble/at-risk").text
    assert risk.index("SKU-0008") < risk.index("SKU-0007")
    hooks = operator.get("/console/trouble/webhooks", params={"producer": str(site.producer_id)}).text
    assert hooks.count("the server answered 500") == 3
    # Of an address that may hold a token only the host is shown.
    assert "secret-path" not in hooks


def test_trouble_names_batches_that_wait_for_approval(site: Site, shop: httpx.Client) -> None:
    """A batch with a plan that nobody approved; not once it is approved."""
    batch_id = site.make_batch("planned", ["SKU-1"])
    site.execute(
        "INSERT INTO ingests (batch_id, fingerprint, kind, options, finished_at)"
        " VALUES (:batch, 'x', 'manifest', jsonb_build_object('plan', true), now())",
        batch=batch_id,
    )
    assert "Wait for approval" in shop.get("/console/trouble").text
    site.execute("UPDATE ingests SET options = options || jsonb_build_object('approved', true)")
    wait_until(lambda: "Wait for approval" not in shop.get("/console/trouble").text, "it is approved")


def test_money_adds_up_beside_the_page(site: Site, operator: httpx.Client) -> None:
    """The first look says that sums are made; then come days, batches, producers, the budget, the balance."""
    fill(site)
    first = operator.get("/console/money").text
    assert "are being made" in first
    assert '<noscript><meta http-equiv="refresh"' in first
    days = made(operator, "/console/money")
    assert "refresh" not in days
    assert re.search(r"Sums as of <time datetime=\"\d{4}", days)
    assert '<tfoot><tr><th scope="row">All of these</th><td class="n">35</td><td class="n">29</td>' in days
    wait_until(lambda: "it does not add up" in operator.get("/console/money").text, "the balance is compared")
    assert "spring &lt;b&gt;" in made(operator, "/console/money?by=batch")
    assert ">shop<" in made(operator, "/console/money?by=producer")
    unknown = operator.get("/console/money/unknown").text
    assert unknown.count('href="/console/jobs/') == 3
    # A new call is in the sums when they are made again, not before: each viewer gets those that are there.
    site.execute("DELETE FROM attempts WHERE code = 'NO_ANSWER'")
    assert ">29<" in operator.get("/console/money").text
    assert operator.get("/console/money/unknown").text.count('href="/console/jobs/') in (0, 3)


def test_money_of_many_batches_shows_the_newest(
    site: Site, shop: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table ends and says so; reading it stops there."""
    monkeypatch.setattr("console.screens.money.MOST_ROWS", 2)
    for name in ("first", "second", "third", "fourth"):
        site.make_batch(name, ["SKU-1"])
    site.execute("INSERT INTO accounts (name) VALUES ('9b2d00000000')")
    site.execute(
        "INSERT INTO attempts (job_id, number, fence, worker_id, account, image_sha256, outcome, ended_at)"
        " SELECT id, 1, 1, gen_random_uuid(), '9b2d00000000', 'x', 'charged', now() FROM jobs"
    )
    text = made(shop, "/console/money?by=batch")
    assert [name for name in ("first", "second", "third", "fourth") if f">{name}<" in text] == [
        "third",
        "fourth",
    ]
    assert "Only the newest 2 are shown" in text


def months_around_today(client: httpx.Client) -> str:
    """The last month, this one and the next: runs of some days before and after a day are in two of them."""
    first = datetime.now(UTC).date().replace(day=1)
    days = (first - timedelta(days=1), first, first + timedelta(days=31))
    address = "/console/schedules?view=month&zone=Europe/Paris&day="
    return "".join(client.get(f"{address}{day}").text for day in days)


def test_schedules_show_what_ran_and_what_comes(
    site: Site, operator: httpx.Client, shop: httpx.Client
) -> None:
    """The states of runs by word, windows in the zone that is shown, and days on which clocks change."""
    fill(site)
    months = months_around_today(operator)
    for word in ("succeeded", "partial", "failed", "over budget", "late", "skipped", "coming"):
        assert f"</span> {word}</span>" in months, word
    assert "window 01:00 to 06:00" in months
    assert "nightly &lt;i&gt;" in months
    spring = operator.get("/console/schedules?view=month&zone=Europe/Paris&day=2027-03-10").text
    assert spring.count("clocks go forward 60 min at 02:00") == 1
    autumn = operator.get("/console/schedules?view=week&zone=Europe/Paris&day=2027-10-31").text
    assert autumn.count("clocks go back 60 min at 03:00") == 1
    # Windows are shown from today on, and in winter Paris is an hour ahead.
    winter = f"{datetime.now(UTC).year + 1}-01-10"
    assert "window 00:00 to 05:00" in operator.get(f"/console/schedules?zone=UTC&day={winter}").text
    own = shop.get(f"/console/schedules/{SCHEDULE}").text
    assert own.count("Europe/Paris · <time") == 10
    assert own.count("<tr id=") == 25
    # Neither the token of the source nor an operator's words.
    assert "secret" not in own
    assert "worker 7" not in own
    assert "worker 7" in operator.get(f"/console/schedules/{SCHEDULE}").text
    run_id = site.scalar("SELECT id FROM runs WHERE report_key IS NOT NULL LIMIT 1")
    answer = shop.get(f"/console/schedules/{SCHEDULE}/runs/{run_id}/report")
    assert answer.status_code == 303
    assert f"/reports/{run_id}/report.html?" in answer.headers["location"]
    earlier = re.search(r'href="([^"]*before=[^"]*)" rel="next"', own)
    assert earlier
    assert shop.get(earlier[1].replace("&amp;", "&")).text.count("<tr id=") == 16


def test_limit_and_system_show_the_installation(site: Site, operator: httpx.Client) -> None:
    """Accounts with figures, slow answers, credits; checks, workers, tables, keys without their secrets."""
    fill(site)
    wait_until(lambda: "slow down" in operator.get("/console/limit").text, "the last hour was read")
    limit = operator.get("/console/limit").text
    assert "12 of 14.6 in use" in limit
    assert "<svg" in limit
    assert "credits left" in limit
    system = made(operator, "/console/system")
    assert "No dispatcher leads" in system
    assert "does not reach the bucket" in system
    assert "</span> silent</span>" in system
    assert "<code>attempts</code>" in system
    assert ">shop<" in system
    assert "CUTOUT_WEBHOOK_KEEP_DAYS" in system
    sha256 = site.scalar("SELECT encode(key_sha256, 'hex') FROM api_keys WHERE producer_id IS NOT NULL")
    assert site.key not in system
    assert sha256 not in system


def test_one_hit_is_gone_to(site: Site, shop: httpx.Client) -> None:
    """A SKU of one batch leads to its job, a name to its batch; two hits are listed, none is told."""
    site.make_batch("spring", ["SKU-1", "SKU-2"])
    job_id = site.scalar("SELECT id FROM jobs WHERE external_id = 'SKU-1'")
    assert shop.get("/console/search?q=SKU-1").headers["location"] == f"/console/jobs/{job_id}"
    assert shop.get(f"/console/search?q={job_id}").headers["location"] == f"/console/jobs/{job_id}"
    assert shop.get("/console/search?q=PRI").headers["location"].startswith("/console/batches/")
    site.make_batch("summer", ["SKU-1"])
    # An answer is a second old at most.
    wait_until(
        lambda: shop.get("/console/search?q=SKU-1").text.count('href="/console/jobs/') == 2, "both are found"
    )
    assert "Nothing was found" in shop.get("/console/search?q=sku-1").text


def test_search_says_what_it_did_not_examine(
    site: Site, shop: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more batches than it looks into, one hit is no proof that there is no other."""
    monkeypatch.setattr("cutout.status.search.MOST_BATCHES", 2)
    for name in ("first", "second", "third"):
        site.make_batch(name, [f"SKU-{name}"])
    found = shop.get("/console/search?q=SKU-third").text
    assert found.count('href="/console/jobs/') == 1
    assert "older ones were not examined" in found
    assert "older ones were not examined" in shop.get("/console/search?q=SKU-first").text


def test_bad_addresses_are_as_none(site: Site, operator: httpx.Client) -> None:
    """Wrong zones, days, ids and moments select nothing less, and are no error."""
    fill(site)
    for query in (
        "zone=Mars/Base",
        "zone=..%2f..%2fetc",
        "day=9999-12-31&view=month",
        "day=0001-01-01",
        "day=x",
        "view=year",
        "after=x",
    ):
        assert operator.get(f"/console/schedules?{query}").status_code == 200, query
    assert operator.get(f"/console/schedules/{SCHEDULE}?before=x").status_code == 200
    assert operator.get("/console/schedules/x").status_code == 404
    assert operator.get("/console/trouble/webhooks?producer=x").status_code == 200
    assert operator.get("/console/trouble/held?code=" + "x" * 5000).status_code == 200
    assert operator.get("/console/money?by=year").status_code == 200
    assert operator.get("/console/search", params={"q": "%_\\" + "9" * 5000}).status_code == 200


def test_new_trouble_shows_by_itself(site: Site, tab: Tab) -> None:
    """An open page of a producer shows a job that is held meanwhile, without being loaded again."""
    site.make_batch("spring", ["SKU-1"])
    page = tab.sign_in(site.key)
    page.goto(f"{site.url}/console/trouble")
    page.get_by_text("Nothing waits for a person").wait_for()
    site.execute("UPDATE jobs SET state = 'held', queue_state = NULL, code = 'NO_ANSWER', message = 'broken'")
    page.get_by_role("link", name="NO_ANSWER").wait_for()
