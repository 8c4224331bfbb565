"""Webhooks that were given up are sent again from a page; a job's life shows what was sent about it."""

import json
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from cutout.enums import OperatorScope
from tests.console.conftest import Site, signed_in
from tests.console.forms import told
from tests.console.test_buttons import FAILED, UNKNOWN, actions, fields, let, operator, press

MESSAGE = (
    "INSERT INTO deliveries"
    " (producer_id, url, type, payload, state, last_status, last_error, finished_at, tries)"
    " VALUES (:owner, 'https://hooks.example/secret-path', :type, :payload, :state,"
    " CASE :state WHEN 'delivered' THEN 200 WHEN 'given_up' THEN 500 END,"
    " CASE :state WHEN 'given_up' THEN 'the server answered 500' END,"
    " CASE :state WHEN 'waiting' THEN NULL ELSE now() END, 9) RETURNING id"
)
GIVEN_UP_AGAIN = "UPDATE deliveries SET finished_at = now(), tries = 3, state = 'given_up', last_error = :why"
TAKEN = "UPDATE deliveries SET finished_at = now(), tries = 3, state = 'delivered', last_status = 204"
SECRET = "see CUTOUT_SOURCE_PRIVATE_HOSTS"
WEBHOOKS = "/console/trouble/webhooks"
ALL = f"{WEBHOOKS}/replay"


@pytest.fixture
def ana(site: Site) -> Iterator[httpx.Client]:
    with operator(site) as client:
        yield client


def message(
    site: Site,
    type_: str = "job.failed",
    data: object = None,
    state: str = "given_up",
    owner: uuid.UUID | None = None,
) -> str:
    """The id of a message about `data`."""
    payload = json.dumps({"type": type_, "data": data or {}})
    values = {"type": type_, "payload": payload, "state": state, "owner": owner or site.producer_id}
    return str(site.scalar_of_change(MESSAGE, **values))


def waiting(site: Site) -> int:
    return int(site.scalar("SELECT count(*) FROM deliveries WHERE state = 'waiting' AND tries = 0"))


class TestOne:
    def test_is_sent_again_from_the_list(self, site: Site, ana: httpx.Client) -> None:
        """Under its id, recorded with the reason; the form sent again does nothing more."""
        ids = [message(site) for _ in range(2)]
        address = f"/console/deliveries/{ids[0]}/replay"
        form = fields(ana.get(WEBHOOKS).text, address) | {"reason": "it is mended"}
        done = ana.post(address, data=form)
        assert done.headers["Location"].startswith(f"{WEBHOOKS}?did=")
        after = ana.get(done.headers["Location"]).text
        assert "It is sent again." in after
        assert (address in after, ids[1] in after) == (False, True)
        (row,) = actions(site)
        assert (row.kind, row.actor, row.reason) == ("replay_delivery", "ana", "it is mended")
        assert (str(row.subject_id), row.producer_id) == (ids[0], site.producer_id)
        again = ana.post(address, data=form)
        assert (again.status_code, len(actions(site)), waiting(site)) == (409, 1, 1)
        assert "it was sent again already" in told(again)

    def test_is_sent_once_by_two_at_once(self, site: Site, ana: httpx.Client) -> None:
        address = f"/console/deliveries/{message(site)}/replay"
        with ThreadPoolExecutor(4) as pool:
            sent = [pool.submit(ana.post, address, data={}) for _ in range(4)]
            assert sorted(each.result().status_code for each in sent) == [303, 409, 409, 409]
        assert len(actions(site)) == 1

    @pytest.mark.parametrize("state", ["waiting", "delivered"])
    def test_is_left_alone_unless_it_was_given_up(self, site: Site, ana: httpx.Client, state: str) -> None:
        sent = ana.post(f"/console/deliveries/{message(site, state=state)}/replay", data={})
        assert (sent.status_code, actions(site)) == (409, [])

    def test_of_others_is_none(self, site: Site) -> None:
        """Another producer's is not there, nor one that never was; who may only view is refused."""
        other, key = site.make_key("other")
        address = f"/console/deliveries/{message(site)}/replay"
        with signed_in(site, key) as client:
            for known in (address, address.replace(address.split("/")[3], UNKNOWN)):
                assert client.post(known, data={}).status_code == 404
            assert client.post("/console/deliveries/x/replay", data={}).status_code == 404
        with operator(site, OperatorScope.VIEW) as ben:
            assert address not in ben.get(WEBHOOKS).text
            assert ben.post(address, data={}).status_code == 403
        assert actions(site) == []
        own = f"/console/deliveries/{message(site, owner=other)}/replay"
        with signed_in(site, key) as client:
            assert press(client, WEBHOOKS, own).is_redirect
        assert [(row.actor, row.producer_id) for row in actions(site)] == [("other", other)]


class TestAll:
    def test_of_a_producer_are_sent_again(self, site: Site, ana: httpx.Client) -> None:
        """As many as were shown, in one row; those of others stay given up."""
        other, _ = site.make_key("other")
        for owner in (site.producer_id, site.producer_id, other):
            message(site, owner=owner)
        page = f"{ALL}?producer={site.producer_id}"
        assert page in ana.get("/console/trouble").text
        form = fields(ana.get(page).text, ALL)
        done = ana.post(ALL, data=form | {"reason": "mended"})
        assert "2 messages are sent again." in ana.get(done.headers["Location"]).text
        (row,) = actions(site)
        assert (row.kind, row.changed, row.expected, row.reason) == ("replay_delivery", 2, 2, "mended")
        assert (waiting(site), ana.post(ALL, data=form).status_code) == (2, 409)

    def test_of_a_stale_page_stay(self, site: Site, ana: httpx.Client) -> None:
        """One that was given up since, wrong numbers, and none at all."""
        assert ana.get(ALL).status_code == 409
        message(site)
        form = fields(ana.get(ALL).text, ALL)
        message(site)
        late = ana.post(ALL, data=form)
        assert "Other messages are given up than the page showed" in told(late)
        assert fields(late.text, ALL)["messages"] == "2"
        bad: list[dict[str, str]] = [
            {},
            {"messages": "2"},
            {"messages": "x" * 4000, "last": "\0"},
            {"producer": "x"},
        ]
        assert {ana.post(ALL, data=each).status_code for each in bad} == {409, 422}
        assert ana.get(f"{ALL}?producer=x").status_code == 422
        assert (late.status_code, waiting(site), actions(site)) == (409, 0, [])

    def test_of_a_producer_are_its_own(self, site: Site) -> None:
        """Whatever producer its form names; without the right there is no button."""
        _, key = site.make_key("other")
        message(site)
        with signed_in(site, key) as other:
            assert other.get(f"{ALL}?producer={site.producer_id}").status_code == 409
            assert other.post(ALL, data={"producer": str(site.producer_id)}).status_code == 409
        with operator(site, OperatorScope.VIEW) as ben:
            assert ALL not in ben.get("/console/trouble").text + ben.get(WEBHOOKS).text
            assert (ben.get(ALL).status_code, ben.post(ALL, data={}).status_code) == (403, 403)
        with signed_in(site, site.key) as shop:
            assert press(shop, ALL, ALL).is_redirect
        assert [(row.actor, row.subject) for row in actions(site)] == [("shop", "producer")]


class TestLife:
    def test_of_a_job_has_its_messages(self, site: Site, ana: httpx.Client) -> None:
        """Those about it alone and digests with it; none about other jobs, and none of others' receivers."""
        batch_id = site.make_batch("spring", ["A", "B"])
        let(site, FAILED, "TRUE")
        a, b = (site.scalar("SELECT id FROM jobs WHERE external_id = :sku", sku=sku) for sku in "AB")
        site.execute("DELETE FROM deliveries")
        message(site, "job.failed", {"id": str(a)}, "delivered")
        message(site, "job.held", {"id": str(a)}, "waiting")
        message(site, "job.cancelled", {"id": str(b)}, "delivered")
        jobs = {"batch_id": str(batch_id), "jobs": [{"id": str(a)}]}
        digest = message(site, "jobs.digest", jobs)
        message(site, "jobs.digest", {"batch_id": str(batch_id), "jobs": [{"id": str(b)}]})
        message(site, "job.rendered", {"id": str(a)}, owner=site.make_key("other")[0])
        page = f"/console/jobs/{a}"
        shown = told(ana.get(page))
        assert "webhook job.failed to hooks.example: 200" in shown
        assert "webhook job.held to hooks.example waits after 9 tries" in shown
        digested = "webhook jobs.digest to hooks.example given up after 9 tries: the server answered 500"
        assert shown.count(digested) == 1
        assert not {"job.cancelled", "job.rendered"} & set(shown.split())
        assert "secret-path" not in ana.get(page).text
        done = press(ana, page, f"/console/deliveries/{digest}/replay")
        assert done.headers["Location"].startswith(f"{page}?did=")
        after = told(ana.get(done.headers["Location"]))
        assert "It is sent again." in after
        assert "webhook jobs.digest to hooks.example is to be sent" in after
        again = "webhook jobs.digest to hooks.example sent again"
        assert after.index(digested) < after.index(again)
        assert [row.actor for row in actions(site)] == ["ana"]

    def test_of_a_job_keeps_each_end_of_a_message(self, site: Site, ana: httpx.Client) -> None:
        """Given up twice and sent again twice, then taken; the errors as each viewer may read them."""
        site.make_batch("spring", ["A"])
        job_id = site.scalar("SELECT id FROM jobs")
        site.execute("DELETE FROM deliveries")
        sent = message(site, "job.failed", {"id": str(job_id)})
        page = f"/console/jobs/{job_id}"
        again = f"/console/deliveries/{sent}/replay"
        assert press(ana, page, again).is_redirect
        site.execute(GIVEN_UP_AGAIN, why=SECRET)
        assert press(ana, page, again).is_redirect
        site.execute(TAKEN)
        shown = told(ana.get(page))
        about = "webhook job.failed to hooks.example"
        events = re.findall(rf"{about} ?((?:given up after|sent again)[^:]*|: 204)", shown)
        assert [each.split(" ")[0] for each in events] == ["given", "sent", "given", "sent", ":"]
        assert SECRET in shown
        with signed_in(site, site.key) as shop:
            hers = told(shop.get(page))
        assert (hers.count(f"{about} given up"), SECRET in hers) == (2, False)

    def test_of_a_job_offers_no_button_to_who_only_looks(self, site: Site) -> None:
        site.make_batch("spring", ["A"])
        job_id = site.scalar("SELECT id FROM jobs")
        site.execute("DELETE FROM deliveries")
        message(site, "job.failed", {"id": str(job_id)})
        with operator(site, OperatorScope.VIEW) as ben:
            page = ben.get(f"/console/jobs/{job_id}").text
        assert "given up after 9 tries" in page
        assert "/replay" not in page
