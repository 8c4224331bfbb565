"""Row in `actions` of what is added by a page: who, of what sort, how many in the end, and in which batch."""

import uuid

import httpx
import pytest

from cutout.enums import OperatorScope
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.console.conftest import Site
from tests.console.forms import CSV, JPEG, batch_of, form, read, send, told
from tests.console.test_adding import pictures, zipped
from tests.console.test_buttons import actions, operator

PICTURES = [(f"{number}.jpg", JPEG + bytes([number])) for number in range(2)]
ZIP = zipped(pictures(2))
SOURCES: dict[str, tuple[list[tuple[str, bytes]], str, str]] = {
    "manifest": ([("a.csv", CSV)], "", "upload"),
    "zip": ([("shoes.zip", ZIP)], "", "upload"),
    "pictures": (PICTURES, "", "upload"),
    "address": ([], "https://shop.example/catalog.csv?token=secret", "address"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_each_sort_of_source_leaves_one_row(site: Site, client: httpx.Client, name: str) -> None:
    """With the producer's key; the form sent again leaves no second one, and no secret is in it."""
    files, url, sort = SOURCES[name]
    fields = form(name="spring", url=url)
    batch_id = batch_of(send(client, fields, *files))
    assert batch_of(send(client, fields, *files)) == batch_id
    (row,) = actions(site)
    assert (row.kind, row.subject, row.subject_id, row.batch_id) == ("add_batch", "batch", batch_id, batch_id)
    assert (row.actor_role, row.actor, row.actor_key_id) == (
        "producer",
        "shop",
        site.scalar("SELECT id FROM api_keys"),
    )
    assert (row.options, row.producer_id, row.credits) == ({"source": sort}, site.producer_id, None)
    assert "secret" not in str(row)


def test_an_operator_who_adds_is_named(
    site: Site, client: httpx.Client, settings: Settings, bucket: Bucket
) -> None:
    """On the batch's page for operators; its producer learns that it was the operator, and how many jobs."""
    with operator(site, OperatorScope.VIEW, OperatorScope.OPERATE) as ana:
        answer = send(ana, form(name="spring", producer=str(site.producer_id)), ("a.csv", CSV))
        batch_id = batch_of(answer)
        read(site, settings, bucket)
        assert "batch added: 2 by ana" in told(ana.get(f"/console/batches/{batch_id}"))
    (row,) = actions(site)
    assert (row.actor_role, row.actor, row.changed) == ("operator", "ana", 2)
    assert row.options["source"] == "upload"
    assert row.options["kind"]
    shown = told(client.get(f"/console/batches/{batch_id}"))
    assert "batch added: 2 by the operator" in shown
    assert "ana" not in shown.split()


def test_an_operator_adds_a_prefix_of_the_bucket(site: Site, bucket: Bucket) -> None:
    del bucket
    source = f"s3://{site.app.state.services.settings.s3_bucket}/photos/"
    with operator(site) as ana:
        batch_of(send(ana, form(url=source, producer=str(site.producer_id))))
    (row,) = actions(site)
    assert (row.actor, row.options) == ("ana", {"source": "bucket prefix"})


def test_what_is_refused_leaves_no_row(site: Site, client: httpx.Client) -> None:
    """A faulty form, one of a viewer, one of another producer, and one that is beyond the quota."""
    assert send(client, form(url="ftp://x"), ("a.csv", CSV)).status_code == 422
    assert send(client, form(weight="x"), ("a.csv", CSV)).status_code == 422
    assert send(client, form() | {"token": "x"}, ("a.csv", CSV)).status_code == 422
    with operator(site, OperatorScope.VIEW) as ben:
        refused = send(ben, form(producer=str(site.producer_id)), ("a.csv", CSV))
        assert refused.status_code == 403
    with operator(site) as ana:
        assert send(ana, form(producer=str(uuid.uuid4())), ("a.csv", CSV)).status_code == 422
    site.execute("UPDATE producers SET job_quota = 0")
    assert send(client, form(), ("a.csv", CSV)).status_code == 422
    assert actions(site) == []
