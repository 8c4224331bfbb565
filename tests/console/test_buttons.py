"""Buttons without a browser: what each changes, what it asks first, and whom and what it refuses."""

import html
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from cutout.enums import OperatorScope
from tests.console.conftest import Site, signed_in
from tests.console.forms import told
from tests.support.actions import carry_out

VIEW, OPERATE = OperatorScope.VIEW, OperatorScope.OPERATE
FAILED = (
    "state = 'failed', queue_state = NULL, finished_at = now(), code = 'SOURCE_UNAVAILABLE', message = 'x'"
)
HELD = "state = 'held', queue_state = NULL, code = 'NO_ANSWER', message = 'x'"
PAID = "result_url = 'https://r.example/', result_expires_at = now() + interval '1 h', step = 'copy'"
JSON = {"Accept": "application/json"}
UNKNOWN = str(uuid.UUID(int=7))


@contextmanager
def operator(site: Site, *scopes: OperatorScope) -> Iterator[httpx.Client]:
    """A client that is signed in with an operator's key of these scopes, without any: of all."""
    with httpx.Client(base_url=site.url, timeout=60, headers={"Sec-Fetch-Site": "same-origin"}) as client:
        token = site.make_operator(*scopes).partition("token=")[2]
        assert client.post("/console/link", data={"token": token}).status_code == 303
        yield client


@pytest.fixture
def ana(site: Site) -> Iterator[httpx.Client]:
    """An operator who may do everything."""
    with operator(site) as client:
        yield client


@pytest.fixture
def spring(site: Site) -> uuid.UUID:
    """A batch with 3 failed jobs, of which one has a paid result, 1 held, and 2 that wait."""
    batch_id = site.make_batch("spring", [f"SKU-{n}" for n in range(6)])
    let(site, FAILED, "external_id IN ('SKU-0', 'SKU-1', 'SKU-2')")
    let(site, PAID, "external_id = 'SKU-2'")
    let(site, HELD, "external_id = 'SKU-3'")
    return batch_id


def let(site: Site, be: str, which: str) -> None:
    """Let these jobs be in another state."""
    # Texts of this module.
    site.execute(f"UPDATE jobs SET {be} WHERE {which}")  # noqa: S608


def actions(site: Site) -> list[Any]:
    """The rows of actions, the first one first."""
    with site.engine.connect() as connection:
        return list(connection.execute(text("SELECT * FROM actions ORDER BY id")))


def fields(page: str, address: str) -> dict[str, str]:
    """The hidden fields of the form that goes to the address."""
    form = page.partition(f'action="{address}"')[2].partition("</form>")[0]
    assert form, f"there is no form to {address}"
    found = re.findall(r'type="hidden" name="([a-z_]+)" value="([^"]*)"', form)
    return {name: html.unescape(value) for name, value in found}


def press(client: httpx.Client, page: str, address: str, **more: str) -> httpx.Response:
    """Send the form of a page, with what else is filled in."""
    return client.post(address, data=fields(client.get(page).text, address) | more)


def revision(site: Site, batch_id: uuid.UUID) -> int:
    return int(site.scalar("SELECT revision FROM batches WHERE id = :id", id=batch_id))


class TestPause:
    def test_takes_effect_at_once_with_undo(self, site: Site, ana: httpx.Client, spring: uuid.UUID) -> None:
        """The page after it says so and offers Undo, which is noted on the one row."""
        page = f"/console/batches/{spring}"
        answer = press(ana, page, f"{page}/pause", reason="the bill is wrong")
        assert answer.status_code == 303
        after = ana.get(answer.headers["Location"]).text
        assert "Paused: no new call of this batch goes out." in after
        (row,) = actions(site)
        assert (row.kind, row.actor, row.reason, row.undone_at) == ("pause", "ana", "the bill is wrong", None)
        undo = f"/console/actions/{row.id}/undo"
        undone = ana.post(undo, data=fields(after, undo))
        assert "Undone." in ana.get(undone.headers["Location"]).text
        (row,) = actions(site)
        assert row.undone_by == "ana"
        assert site.scalar("SELECT paused_by_operator_at FROM batches") is None
        assert "undone by ana" in ana.get(page).text

    def test_answers_a_script_in_json(self, ana: httpx.Client, spring: uuid.UUID) -> None:
        page = f"/console/batches/{spring}"
        answer = ana.post(f"{page}/pause", headers=JSON).json()
        assert answer["undo"] == f"/console/actions/{answer['href'].partition('did=')[2]}/undo"
        assert ana.post(answer["undo"], headers=JSON).json()["text"] == "Undone."
        refused = ana.post(answer["undo"], headers=JSON)
        assert refused.status_code == 409
        assert "It was undone already, by ana. Nothing was done." in told(refused)

    def test_cannot_be_undone_later(self, site: Site, ana: httpx.Client, spring: uuid.UUID) -> None:
        """After its time it says so and changes nothing; nor after another change of the pause."""
        page = f"/console/batches/{spring}"
        undo = ana.post(f"{page}/pause", headers=JSON).json()["undo"]
        site.execute("UPDATE actions SET requested_at = requested_at - interval '11 s'")
        assert "more than 10 s have passed" in told(ana.post(undo)).lower()
        assert undo not in ana.get(f"{page}?did={undo.split('/')[3]}").text
        assert site.scalar("SELECT paused_by_operator_at FROM batches") is not None

    def test_of_a_stale_page_changes_nothing(self, site: Site, ana: httpx.Client, spring: uuid.UUID) -> None:
        """A second pause, and a resumption of another pause than the one that was shown."""
        page = f"/console/batches/{spring}"
        assert press(ana, page, f"{page}/pause").status_code == 303
        again = ana.post(f"{page}/pause", data={"revision": "1"})
        assert (again.status_code, len(actions(site))) == (409, 1)
        assert "paused already, and nothing was done" in told(again)
        shown = fields(ana.get(page).text, f"{page}/resume")
        assert ana.post(f"{page}/resume", data=shown).status_code == 303
        assert ana.post(f"{page}/pause").status_code == 303
        late = ana.post(f"{page}/resume", data=shown)
        assert (late.status_code, len(actions(site))) == (409, 3)
        assert "changed meanwhile, and nothing was done" in told(late)
        assert site.scalar("SELECT paused_by_operator_at FROM batches") is not None

    def test_from_the_list_leads_back_to_it(self, ana: httpx.Client, spring: uuid.UUID) -> None:
        """A form cannot lead anywhere else."""
        press_ = press(ana, "/console", f"/console/batches/{spring}/pause")
        assert press_.headers["Location"].startswith("/console?did=")
        assert "Paused" in ana.get(press_.headers["Location"]).text
        for back in ("https://evil.example/", "//evil.example", "/v1/jobs", "/console/\\x", "/console//x"):
            shown = fields(ana.get("/console").text, f"/console/batches/{spring}/resume") | {"back": back}
            answer = ana.post(f"/console/batches/{spring}/resume", data=shown)
            assert answer.headers["Location"].startswith(f"/console/batches/{spring}?did="), back
            ana.post(f"/console/batches/{spring}/pause")

    def test_of_an_operator_is_not_the_producers(
        self, site: Site, ana: httpx.Client, spring: uuid.UUID
    ) -> None:
        """The producer sees that an operator paused it, not who, and has no button to end it."""
        page = f"/console/batches/{spring}"
        ana.post(f"{page}/pause", data={"reason": "secret reason"})
        with signed_in(site, site.key) as shop:
            text = shop.get(page).text
            assert "by an operator" in text
            assert f"{page}/resume" not in text
            assert "batch paused by the operator" in text
            assert "secret reason" not in text
            assert "ana" not in re.findall(r">([^<]*)<", text.partition("<main")[2])
            refused = shop.post(f"{page}/resume", data={"revision": str(revision(site, spring))})
            assert refused.status_code == 409
            assert "an operator paused the batch" in told(refused).lower()
        assert len(actions(site)) == 1


class TestRetry:
    def price(self, client: httpx.Client, batch_id: uuid.UUID, code: str = "") -> tuple[str, dict[str, str]]:
        """The page with the price, and the fields that accept it."""
        page = f"/console/batches/{batch_id}"
        asked = client.post(f"{page}/retry/price", data={"code": code})
        assert asked.status_code == 303, told(asked)
        shown = client.get(asked.headers["Location"])
        return told(shown), fields(shown.text, f"{page}/retry")

    def test_is_asked_with_its_price(self, site: Site, ana: httpx.Client, spring: uuid.UUID) -> None:
        """By reason and of all; the row has what was accepted; a quote alone leaves none."""
        page = ana.get(f"/console/batches/{spring}").text
        assert "Retry 3: ≤ 2 credits, $0.006" in html.unescape(page)
        assert "Retry all 4: ≤ 3 credits, $0.009" in html.unescape(page)
        shown, accepted = self.price(ana, spring, "SOURCE_UNAVAILABLE")
        offer = "Retry 3 jobs: up to 2 credits, $0.006 (1 continues with a paid result, at no cost)"
        assert offer in html.unescape(shown)
        assert actions(site) == []
        answer = ana.post(f"/console/batches/{spring}/retry", data=accepted | {"reason": "it is back"})
        assert answer.status_code == 303
        assert "3 jobs go back in the queue, at most 2 credits" in ana.get(answer.headers["Location"]).text
        (row,) = actions(site)
        assert (row.kind, row.expected, row.credits, row.reason) == ("retry", 3, 2, "it is back")
        carry_out(site.engine)
        assert site.scalar("SELECT count(*) FROM jobs WHERE state = 'failed'") == 0
        assert site.scalar("SELECT count(*) FROM jobs WHERE state = 'held'") == 1

    def test_at_a_price_that_changed_is_offered_anew(
        self, site: Site, ana: httpx.Client, spring: uuid.UUID
    ) -> None:
        """It says what changed, changes nothing, and the new price can be accepted from that page."""
        _, accepted = self.price(ana, spring, "SOURCE_UNAVAILABLE")
        let(site, FAILED, "external_id = 'SKU-5'")
        answer = ana.post(f"/console/batches/{spring}/retry", data=accepted)
        assert (answer.status_code, actions(site)) == (409, [])
        assert "now 4 jobs, up to 3 credits ($0.01), not 3 jobs" in html.unescape(told(answer))
        assert "Retry 4 jobs: up to 3 credits" in told(answer)
        renewed = fields(answer.text, f"/console/batches/{spring}/retry")
        assert ana.post(f"/console/batches/{spring}/retry", data=renewed).status_code == 303

    def test_is_accepted_once(self, site: Site, ana: httpx.Client, spring: uuid.UUID) -> None:
        """A form that is sent again, by one or by two at the same time, does nothing more."""
        _, accepted = self.price(ana, spring)
        with ThreadPoolExecutor(4) as pool:
            sent = [
                pool.submit(ana.post, f"/console/batches/{spring}/retry", data=accepted) for _ in range(4)
            ]
            assert sorted(each.result().status_code for each in sent) == [303, 409, 409, 409]
        assert len(actions(site)) == 1
        assert ana.post(f"/console/batches/{spring}/retry", data=accepted).status_code == 409

    def test_belongs_to_who_asked(self, site: Site, ana: httpx.Client, spring: uuid.UUID) -> None:
        """Another operator, and another producer, cannot accept or see it."""
        _, accepted = self.price(ana, spring)
        with operator(site) as ben:
            assert ben.post(f"/console/batches/{spring}/retry", data=accepted).status_code == 409
            seen = ben.get(f"/console/batches/{spring}/retry", params=accepted)
            assert "no longer offered" in told(seen)
        assert actions(site) == []

    def test_needs_the_right_to_spend(self, site: Site, spring: uuid.UUID) -> None:
        """Without it the price is shown without a button, and a form that is sent all the same is refused."""
        with operator(site, VIEW, OPERATE) as ben:
            page = f"/console/batches/{spring}"
            assert "/retry/price" not in ben.get(page).text
            asked = ben.post(f"{page}/retry/price", data={"code": "SOURCE_UNAVAILABLE"})
            shown = ben.get(asked.headers["Location"])
            assert "needs a key with the right “spend”" in told(shown)
            assert f'action="{page}/retry"' not in shown.text
            quote = asked.headers["Location"].partition("quote=")[2]
            assert ben.post(f"{page}/retry", data={"quote": quote}).status_code == 403
            let(site, PAID, "state = 'failed'")
            assert "Retry 3: no credit" in ben.get(page).text
            _, accepted = self.price(ben, spring, "SOURCE_UNAVAILABLE")
            assert ben.post(f"{page}/retry", data=accepted).status_code == 303

    def test_of_nothing_says_so(self, ana: httpx.Client, spring: uuid.UUID) -> None:
        for code in ("NO_SUCH_CODE", "NEEDS_APPROVAL"):
            answer = ana.post(f"/console/batches/{spring}/retry/price", data={"code": code})
            assert answer.status_code == 409, code


class TestBudget:
    def test_is_raised_at_its_price(self, site: Site, ana: httpx.Client, spring: uuid.UUID) -> None:
        """First the price of the number, then the change; what changed meanwhile is not overwritten."""
        page = f"/console/batches/{spring}"
        site.execute("UPDATE batches SET budget = 10, spent = 4")
        assert "Show the price" in ana.get(f"{page}/budget").text
        shown = ana.get(f"{page}/budget", params={"to": "1,010"}).text
        assert "Raise the budget to 1,010: up to 1,000 credits, $3.00 more" in html.unescape(shown)
        assert actions(site) == []
        accepted = fields(shown, f"{page}/budget")
        site.execute("UPDATE batches SET budget = 20, revision = revision + 1")
        late = ana.post(f"{page}/budget", data=accepted)
        assert (late.status_code, actions(site)) == (409, [])
        assert "Its budget is 20 credits" in told(late)
        accepted = fields(ana.get(f"{page}/budget", params={"to": "1010"}).text, f"{page}/budget")
        assert ana.post(f"{page}/budget", data=accepted).status_code == 303
        (row,) = actions(site)
        assert (row.kind, row.credits, row.options["from"]) == ("budget", 1010, 20)

    @pytest.mark.parametrize("to", ["", "x", "-1", "1.5", "9" * 13, "9" * 400, "2000000000", "٣", "1e3"])
    def test_is_a_whole_number(self, site: Site, ana: httpx.Client, spring: uuid.UUID, to: str) -> None:
        page = f"/console/batches/{spring}/budget"
        asked = ana.get(page, params={"to": to})
        sent = ana.post(page, data={"to": to, "from": "None", "revision": str(revision(site, spring))})
        assert (asked.status_code, sent.status_code) == (422, 422)
        assert actions(site) == []


class TestFinal:
    def test_cancel_needs_the_count(self, site: Site, ana: httpx.Client, spring: uuid.UUID) -> None:
        """Another number changes nothing and says which; the right one cancels."""
        page = f"/console/batches/{spring}"
        wrong = press(ana, f"{page}/cancel", f"{page}/cancel", count="5")
        assert (wrong.status_code, actions(site)) == (409, [])
        assert "has 6 jobs, not 5 as typed" in told(wrong)
        for bad in ("", "six", "6" * 300, "6.0"):
            answer = press(ana, f"{page}/cancel", f"{page}/cancel", count=bad)
            assert (answer.status_code, actions(site)) == (422, []), bad
        done = press(ana, f"{page}/cancel", f"{page}/cancel", count="6", reason="not wanted")
        assert "no call of it begins any more" in ana.get(done.headers["Location"]).text
        (row,) = actions(site)
        assert (row.kind, row.reason) == ("cancel", "not wanted")
        replayed = ana.post(f"{page}/cancel", data={"count": "6", "revision": str(revision(site, spring))})
        assert (replayed.status_code, len(actions(site))) == (409, 1)

    def test_cancel_of_a_stale_page_changes_nothing(
        self, site: Site, ana: httpx.Client, spring: uuid.UUID
    ) -> None:
        page = f"/console/batches/{spring}"
        shown = fields(ana.get(f"{page}/cancel").text, f"{page}/cancel") | {"count": "6"}
        ana.post(f"{page}/pause")
        answer = ana.post(f"{page}/cancel", data=shown)
        assert (answer.status_code, len(actions(site))) == (409, 1)
        assert "changed meanwhile, and nothing was done" in told(answer)
        assert ana.post(
            f"{page}/cancel", data=fields(answer.text, f"{page}/cancel") | {"count": "6"}
        ).is_redirect

    def test_delete_needs_an_end_and_the_count(
        self, site: Site, ana: httpx.Client, spring: uuid.UUID
    ) -> None:
        """One that has not ended is not deleted; then it is gone from its page and its list says so."""
        page = f"/console/batches/{spring}"
        early = press(ana, f"{page}/delete", f"{page}/delete", count="6")
        assert (early.status_code, actions(site)) == (409, [])
        assert "has jobs that have not ended" in told(early)
        let(site, FAILED, "state <> 'failed'")
        assert f"{page}/delete" in ana.get(page).text
        done = press(ana, f"{page}/delete", f"{page}/delete", count="6", objects="true")
        assert "The batch is being deleted" in ana.get(done.headers["Location"]).text
        (row,) = actions(site)
        assert (row.kind, row.options) == ("delete", {"objects": True})
        assert ana.get(page).status_code == 404


class TestJob:
    def job(self, site: Site, sku: str) -> str:
        found = site.scalar("SELECT id FROM jobs WHERE external_id = :sku", sku=sku)
        return f"/console/jobs/{found}"

    def test_is_retried_or_released_at_its_price(
        self, site: Site, ana: httpx.Client, spring: uuid.UUID
    ) -> None:
        """Each page says the price; the life of the job has who did it and why."""
        del spring
        for sku, kind, offer in (
            ("SKU-0", "retry_job", "Retry it: up to 1 credit, $0.003"),
            ("SKU-2", "retry_job", "Retry it: no credit"),
            ("SKU-3", "release_job", "Release it: up to 1 credit, $0.003"),
        ):
            page = self.job(site, sku)
            assert offer in ana.get(f"{page}/retry").text
            done = press(ana, f"{page}/retry", f"{page}/retry", reason="looked at it")
            after = ana.get(done.headers["Location"]).text
            assert "back in the queue" in after
            assert "by ana: “looked at it”" in html.unescape(after)
            row = actions(site)[-1]
            assert (row.kind, row.credits) == (kind, 0 if sku == "SKU-2" else 1)
        assert len(actions(site)) == 3

    def test_of_a_stale_page_is_left_alone(self, site: Site, ana: httpx.Client, spring: uuid.UUID) -> None:
        """A price that changed, and a job that went on and failed again."""
        del spring
        page = self.job(site, "SKU-2")
        shown = fields(ana.get(f"{page}/retry").text, f"{page}/retry")
        site.execute("UPDATE jobs SET result_expires_at = now() - interval '1 s' WHERE external_id = 'SKU-2'")
        dearer = ana.post(f"{page}/retry", data=shown)
        assert (dearer.status_code, actions(site)) == (409, [])
        assert "up to 1 credit" in told(dearer)
        assert ana.post(f"{page}/retry", data=fields(dearer.text, f"{page}/retry")).is_redirect
        let(site, FAILED, "external_id = 'SKU-2'")
        again = ana.post(f"{page}/retry", data=shown | {"credits": "1"})
        assert (again.status_code, len(actions(site))) == (409, 1)
        assert "not as the page showed it" in told(again)

    def test_is_cancelled(self, site: Site, ana: httpx.Client, spring: uuid.UUID) -> None:
        """Once; one that has ended is not."""
        del spring
        page = self.job(site, "SKU-5")
        assert press(ana, f"{page}/cancel", f"{page}/cancel").is_redirect
        assert site.scalar("SELECT state FROM jobs WHERE external_id = 'SKU-5'") == "cancelled"
        assert ana.get(f"{page}/cancel").status_code == 409
        assert [row.kind for row in actions(site)] == ["cancel_job"]
        assert f"{page}/cancel" not in ana.get(page).text

    def test_costs_a_right(self, site: Site, spring: uuid.UUID) -> None:
        """Without the right to spend one releases what is paid for, and nothing else."""
        del spring
        with operator(site, VIEW, OPERATE) as ben:
            page = self.job(site, "SKU-3")
            assert f"{page}/retry" not in ben.get(page).text
            assert "needs a key with the right “spend”" in told(ben.get(f"{page}/retry"))
            seen = ana_fields(site, page)
            assert ben.post(f"{page}/retry", data=seen).status_code == 403
            assert ben.post(f"{page}/retry", data=seen | {"credits": "0"}).status_code == 409
            paid = self.job(site, "SKU-2")
            assert press(ben, f"{paid}/retry", f"{paid}/retry").is_redirect


def ana_fields(site: Site, page: str) -> dict[str, str]:
    """The fields that somebody with all rights is shown."""
    with operator(site) as other:
        return fields(other.get(f"{page}/retry").text, f"{page}/retry")
