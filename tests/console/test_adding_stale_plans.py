"""Answers to a plan that is not any more what the page showed."""

import uuid

import httpx
import pytest

from cutout.settings import Settings
from cutout.storage import Bucket
from tests.console.conftest import Site
from tests.console.forms import (
    CSV,
    batch_of,
    form,
    read,
    send,
    shown_on,
    told,
)


class TestStalePages:
    """Answers to a plan that is not any more what the page showed."""

    @pytest.fixture
    def batch_id(self, site: Site, client: httpx.Client, settings: Settings, bucket: Bucket) -> uuid.UUID:
        """A batch with a plan of two jobs."""
        made = batch_of(send(client, form(), ("a.csv", CSV)))
        read(site, settings, bucket)
        return made

    def test_a_changed_batch_is_not_approved(
        self, site: Site, client: httpx.Client, batch_id: uuid.UUID
    ) -> None:
        """Another revision or another price than the page showed: it says so and changes nothing."""
        address = f"/console/batches/{batch_id}"
        shown = shown_on(client.get(address).text)
        assert shown["most"] == "2"
        for wrong in ({"revision": "99"}, {"most": "1"}, {"most": ""}, {"revision": "x" * 300}):
            answer = client.post(f"{address}/approve", data=shown | wrong)
            assert (answer.status_code, wrong) == (409, wrong)
            assert "nothing was done" in told(answer)
        site.execute("UPDATE ingests SET plan = plan || '{\"calls\": 7}'")
        assert client.post(f"{address}/approve", data=shown).status_code == 409
        assert site.scalar("SELECT string_agg(kind, ' ') FROM actions") == "add_batch"
        assert not site.scalar("SELECT options ? 'approved' FROM ingests")

    def test_a_plan_is_answered_once(self, site: Site, client: httpx.Client, batch_id: uuid.UUID) -> None:
        """Approved twice, or discarded after that: the second answer changes nothing; one action is kept."""
        address = f"/console/batches/{batch_id}"
        shown = shown_on(client.get(address).text)
        assert client.post(f"{address}/approve", data=shown).status_code == 303
        assert client.post(f"{address}/approve", data=shown).status_code == 409
        assert client.post(f"{address}/discard", data=shown).status_code == 409
        kinds = "SELECT string_agg(kind, ' ' ORDER BY id) FROM actions"
        assert site.scalar(kinds) == "add_batch approve"
        assert site.scalar("SELECT cancelled_at IS NULL FROM batches")

    def test_a_batch_that_is_read_has_no_price(self, site: Site, client: httpx.Client) -> None:
        """Before its source is read it can be discarded, not approved."""
        batch_id = batch_of(send(client, form(), ("a.csv", CSV)))
        page = client.get(f"/console/batches/{batch_id}").text
        assert "Its source is being read" in page
        assert "Approve" not in page
        revision = shown_on(page)["revision"]
        answer = client.post(f"/console/batches/{batch_id}/approve", data={"revision": revision, "most": "0"})
        assert answer.status_code == 409
        assert client.post(f"/console/batches/{batch_id}/discard", data={"revision": revision}).is_redirect
        assert site.scalar("SELECT cancelled_at IS NOT NULL FROM batches")
