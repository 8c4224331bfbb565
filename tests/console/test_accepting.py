"""Acceptance of what came unexpectedly, from the job's page: no call, only what was shown, and recorded."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from cutout.enums import OperatorScope, Scope
from tests.console.conftest import Site, signed_in
from tests.console.forms import told
from tests.console.test_buttons import UNKNOWN, actions, fields, operator, press

CAME = (
    "UPDATE jobs SET state = 'held', queue_state = NULL, code = 'RESULT_UNEXPECTED', message = 'no alpha',"
    " unexpected = CAST(:found AS jsonb)"
)
PICTURE = (
    '{"key": "unexpected/1/ab.png", "reason": "it has no alpha channel", "sha256": "ab",'
    ' "media_type": "image/png", "extension": "png", "size_bytes": 9000, "width": 60, "height": 40}'
)
PAGE = '{"key": "unexpected/1/cd.html", "reason": "x", "sha256": "cd", "media_type": "text/html",'
PAGE += ' "extension": "html", "size_bytes": 9}'


@pytest.fixture
def ana(site: Site) -> Iterator[httpx.Client]:
    with operator(site) as client:
        yield client


@pytest.fixture
def page(site: Site) -> str:
    """The page of a held job with an unexpected picture."""
    site.make_batch("spring", ["A"])
    site.execute(CAME, found=PICTURE)
    job_id = site.scalar("SELECT id FROM jobs")
    return f"/console/jobs/{job_id}"


def test_what_came_becomes_the_cutout_without_a_call(site: Site, ana: httpx.Client, page: str) -> None:
    """It can be looked at first; the copy is next then, no credit is spent, and the row says who."""
    shown = told(ana.get(page))
    assert "Accept what came: no credit" in shown
    assert "it has no alpha channel" in shown
    picture = ana.get(f"{page}/files/unexpected")
    assert (picture.status_code, "unexpected/1/ab.png" in picture.headers["Location"]) == (303, True)
    asked = told(ana.get(f"{page}/accept"))
    assert "60 by 40 pixels, image/png, 9,000 bytes" in asked
    assert "no call is made, and no credit spent" in asked
    done = press(ana, f"{page}/accept", f"{page}/accept", reason="good enough")
    after = told(ana.get(done.headers["Location"]))
    assert "Accepted: what came becomes its cutout, without a call." in after
    (row,) = actions(site)
    assert (row.kind, row.actor, row.reason, row.credits) == ("accept_job", "ana", "good enough", None)
    told_next = site.scalar("SELECT state || ' ' || step || ' ' || (unexpected ->> 'accepted') FROM jobs")
    assert told_next == "queued copy true"
    assert f"{page}/accept" not in ana.get(page).text


def test_it_is_accepted_from_the_list_of_trouble(site: Site, ana: httpx.Client, page: str) -> None:
    """The list says who is acceptable, and is where one is led back to, for the next one."""
    site.make_batch("autumn", ["B"])
    site.execute(f"{CAME} WHERE external_id = 'B'", found=PAGE)
    listed = "/console/trouble/held?code=RESULT_UNEXPECTED"
    button = f"{page}/accept?back=%2Fconsole%2Ftrouble%2Fheld"
    shown = ana.get(listed).text
    assert re.findall(r'href="([^"]+)" data-dialog>Accept what came: no credit', shown) == [button]
    asked = ana.get(button).text
    assert f'href="{listed}" data-close' in asked
    sent = fields(asked, f"{page}/accept")
    done = ana.post(f"{page}/accept", data=sent)
    assert done.headers["Location"].startswith(f"{listed}&did=")
    after = ana.get(done.headers["Location"]).text
    assert "Accepted: what came becomes its cutout, without a call." in after
    assert button not in after
    assert [row.kind for row in actions(site)] == ["accept_job"]
    refused = ana.post(f"{page}/accept", data=sent)
    assert refused.status_code == 409


def test_the_list_leads_nowhere_else(site: Site, ana: httpx.Client, page: str) -> None:
    """Another address in the form is as none."""
    form = fields(ana.get(f"{page}/accept?back=https://evil.example").text, f"{page}/accept")
    done = ana.post(f"{page}/accept", data=form | {"back": "//evil.example"})
    assert done.headers["Location"].startswith(f"{page}?did=")


def test_two_at_once_accept_it_once(site: Site, ana: httpx.Client, page: str) -> None:
    form = fields(ana.get(f"{page}/accept").text, f"{page}/accept")
    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(ana.post, f"{page}/accept", data=form) for _ in range(4)]
        assert sorted(each.result().status_code for each in sent) == [303, 409, 409, 409]
    assert len(actions(site)) == 1


def test_a_stale_page_accepts_nothing(site: Site, ana: httpx.Client, page: str) -> None:
    """Another picture came since, it was released or cancelled meanwhile, and forms that are none."""
    form = fields(ana.get(f"{page}/accept").text, f"{page}/accept")
    site.execute('UPDATE jobs SET unexpected = unexpected || \'{"sha256": "ef"}\'')
    late = ana.post(f"{page}/accept", data=form)
    assert "Another result came for it than the page showed" in told(late)
    for bad in ({}, {"seen": form["seen"]}, form | {"result": "\0"}, form | {"seen": "x" * 4000}):
        assert ana.post(f"{page}/accept", data=bad).status_code == 409
    now = fields(ana.get(f"{page}/accept").text, f"{page}/accept")
    site.execute("UPDATE jobs SET released_at = now()")
    assert "not as the page showed it" in told(ana.post(f"{page}/accept", data=now))
    site.execute("UPDATE jobs SET state = 'cancelled', finished_at = now()")
    assert ana.post(f"{page}/accept", data=now).status_code == 409
    assert ana.get(f"{page}/accept").status_code == 409
    assert (late.status_code, actions(site)) == (409, [])


def test_what_is_no_picture_cannot_be_accepted(site: Site, ana: httpx.Client, page: str) -> None:
    """Nor is it offered to be opened: it may be a page of a stranger."""
    form = fields(ana.get(f"{page}/accept").text, f"{page}/accept")
    site.execute(CAME, found=PAGE)
    assert f"{page}/accept" not in ana.get(page).text
    assert ana.get(f"{page}/files/unexpected").status_code == 404
    assert ana.post(f"{page}/accept", data=form | {"result": "cd"}).status_code == 409
    assert actions(site) == []


def test_it_is_of_those_who_may(site: Site, page: str) -> None:
    with operator(site) as ana:
        form = fields(ana.get(f"{page}/accept").text, f"{page}/accept")
    with operator(site, OperatorScope.VIEW) as ben:
        assert f"{page}/accept" not in ben.get(page).text
        assert "Accept what came" not in ben.get("/console/trouble/held").text
        assert ben.post(f"{page}/accept", data=form).status_code == 403
    with signed_in(site, site.make_key("other", *Scope)[1]) as other:
        unknown = page.replace(page.rpartition("/")[2], UNKNOWN)
        for address in (page, unknown, "/console/jobs/x"):
            assert other.get(f"{address}/accept").status_code == 404
            assert other.post(f"{address}/accept", data=form).status_code == 404
        assert other.get(f"{page}/files/unexpected").status_code == 404
    assert actions(site) == []
    with operator(site, OperatorScope.VIEW, OperatorScope.OPERATE) as ben:
        assert press(ben, f"{page}/accept", f"{page}/accept").is_redirect
    assert [row.kind for row in actions(site)] == ["accept_job"]
