"""Downloads from the page of a batch: for a producer and an operator, with and without a script."""

import csv
import io
import json
import random
import uuid
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page

from api.limits.producer_slots import ProducerSlots
from api.services import Services
from cutout.enums import OperatorScope, ReturnForm
from cutout.queue.attempts.outcomes import Fail, Outcome, StoredObject, Succeeded
from cutout.results import pictures_zip
from cutout.storage import Bucket
from tests.console.conftest import Site, Tab
from tests.console.test_pages import OURS
from tests.support.fates import make_batch
from tests.support.machine import scaled
from tests.support.outputs import without_outputs
from tests.support.plain_http import NO_TLS
from tests.support.system import wait_until

NAME = 'spring "2026" <b>'


@pytest.fixture
def batch_id(site: Site, bucket: Bucket) -> uuid.UUID:
    """A batch of the producer: two pictures, a failure, and one that waits."""
    fates: dict[str | tuple[str, ReturnForm], Outcome | None] = {
        "broken": Fail("=BROKEN", "m"),
        "waits": None,
    }
    for name in ("SKU-1", "SKU-2"):
        data = name.encode() * 100
        sha256 = bucket.put_cutout(data, key=f"cutouts/{name}.png", media_type="image/png", metadata={})
        fates[name] = Succeeded(StoredObject(f"cutouts/{name}.png", sha256, "image/png", len(data), 10, 20))
    made = make_batch(site.engine, fates, name=NAME, producer_id=site.producer_id)
    without_outputs(site.engine)
    return made


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """A client that signed in with the producer's key."""
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as client:
        client.post("/console/sign-in", data={"key": site.key}, headers=OURS)
        yield client


def saved(page: Page, link: str) -> tuple[str, bytes]:
    """Name and content of the file that a link saves."""
    with page.expect_download() as found:
        page.get_by_role("link", name=link, exact=True).click()
    return found.value.suggested_filename, Path(found.value.path()).read_bytes()


def check_files(page: Page) -> None:
    """Each link of the page saves its file."""
    name, data = saved(page, "Results as CSV")
    assert name == "spring_2026_b-results.csv"
    rows = {row["external_id"]: row for row in csv.DictReader(io.StringIO(data.decode(), newline=""))}
    assert {sku: row["state"] for sku, row in rows.items()} == {
        "SKU-1": "succeeded",
        "SKU-2": "succeeded",
        "broken": "failed",
        "waits": "queued",
    }
    assert rows["broken"]["error_code"] == "'=BROKEN"
    _, data = saved(page, "with links to the pictures")
    rows = {row["external_id"]: row for row in csv.DictReader(io.StringIO(data.decode(), newline=""))}
    assert httpx.get(rows["SKU-2"]["url"]).content == b"SKU-2" * 100
    name, data = saved(page, "Results as NDJSON")
    assert name == "spring_2026_b-results.ndjson"
    assert sorted(json.loads(line)["external_id"] for line in data.splitlines()) == sorted(rows)
    name, data = saved(page, "Pictures as a zip")
    assert name == "spring_2026_b-pictures.zip"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {each: archive.read(each) for each in archive.namelist()} == {
            "SKU-1.png": b"SKU-1" * 100,
            "SKU-2.png": b"SKU-2" * 100,
        }


@pytest.mark.parametrize("scripts", [True, False])
def test_a_producer_saves_all_files(
    site: Site, open_tab: Callable[..., Tab], batch_id: uuid.UUID, *, scripts: bool
) -> None:
    """The page says how many they are and how large, and what an unfinished batch will lack."""
    tab = open_tab(java_script_enabled=scripts, accept_downloads=True)
    if scripts:
        page = tab.sign_in(site.key)
    else:
        page = tab.page
        page.goto(f"{site.url}/console")
        page.fill("#key", site.key)
        page.click("button.main")
    page.goto(f"{site.url}/console/batches/{batch_id}")
    assert "2 files, 1.0 kB" in page.inner_text("#downloads")
    assert "This batch has not ended" in page.inner_text("main")
    check_files(page)
    assert page.url.endswith(f"/batches/{batch_id}")


def test_an_operator_saves_them_too(site: Site, tab: Tab, batch_id: uuid.UUID) -> None:
    """A key that may only look suffices."""
    page = tab.page
    page.goto(site.make_operator(OperatorScope.VIEW))
    page.wait_for_url(f"{site.url}/console")
    page.goto(f"{site.url}/console/batches/{batch_id}")
    check_files(page)


def test_anothers_files_are_none(site: Site, client: httpx.Client, batch_id: uuid.UUID) -> None:
    """Another producer's batch, one that is being deleted, and a wrong address are the same 404."""
    files = ("results/csv", "results/ndjson?links=true", "results/as-it-came", "pictures/1")
    other, _ = site.make_key("other")
    foreign = make_batch(site.engine, {"secret": None}, name="secret plan", producer_id=other)
    for wanted in (foreign, uuid.uuid4(), "x"):
        for file in files:
            answer = client.get(f"/console/batches/{wanted}/{file}")
            assert answer.status_code == 404, file
            assert "secret" not in answer.text
            assert "content-disposition" not in answer.headers
    own = f"/console/batches/{batch_id}"
    wrong = (
        "results/xml",
        "results/as-it-came",
        "pictures/0",
        "pictures/-1",
        "pictures/x",
        "pictures/9999999",
    )
    for file in wrong:
        assert client.get(f"{own}/{file}").status_code == 404, file
    site.execute("UPDATE batches SET delete_requested_at = now()")
    assert client.get(f"{own}/results/csv").status_code == 404
    client.cookies.clear()
    assert client.get(f"{own}/results/csv").status_code == 303


def test_the_manifest_comes_back_with_the_results(
    site: Site, client: httpx.Client, bucket: Bucket, batch_id: uuid.UUID
) -> None:
    """As it came in, with columns added; of a zip of pictures there is none."""
    rows = b"external_id;source\r\nSKU-1;https://shop.example/a.jpg\r\n"
    bucket.put_pieces([rows], key="manifests/spring", media_type="text/csv")
    site.execute(
        "INSERT INTO ingests (batch_id, fingerprint, kind, manifest_key, records, pictures, jobs,"
        " finished_at) VALUES (:batch, 'x', 'CSV manifest', 'manifests/spring', 1, 1, 1, now())",
        batch=batch_id,
    )
    page = client.get(f"/console/batches/{batch_id}").text
    assert "Your file with the results" in page
    answer = client.get(f"/console/batches/{batch_id}/results/as-it-came")
    assert answer.headers["content-disposition"] == 'attachment; filename="spring_2026_b-with-results.csv"'
    head, first, *_ = answer.text.splitlines()
    assert head.startswith("external_id;source;cutout_state")
    assert first.startswith("SKU-1;https://shop.example/a.jpg;succeeded")
    site.execute("UPDATE ingests SET kind = 'zip archive of pictures'")
    assert client.get(f"/console/batches/{batch_id}/results/as-it-came").status_code == 404
    assert "Your file with the results" not in client.get(f"/console/batches/{batch_id}?code=x").text


def test_without_the_bucket_a_page_says_so(
    site: Site, client: httpx.Client, batch_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot begin is a page with the remedy."""
    services: Services = site.app.state.services
    monkeypatch.setattr(services.bucket, "name", "no-such-bucket")
    answer = client.get(f"/console/batches/{batch_id}/pictures/1")
    assert answer.status_code == 503
    assert "The bucket does not answer" in answer.text
    assert "content-disposition" not in answer.headers


def is_free(places: ProducerSlots) -> bool:
    return len(places) == 0


def test_a_producer_has_its_share_of_downloads(site: Site, client: httpx.Client, batch_id: uuid.UUID) -> None:
    """One too many is a page, a place is free again once a file was sent, and zips take none of results."""
    services: Services = site.app.state.services
    results, pictures = (f"/console/batches/{batch_id}/{path}" for path in ("results/csv", "pictures/1"))
    for address, other, places, most in (
        (results, pictures, services.downloads, 10),
        (pictures, results, services.pictures, 5),
    ):
        for _ in range(12):
            assert client.get(address).status_code == 200
            wait_until(partial(is_free, places), "all places are free")
        places._of[site.producer_id] = most
        answer = client.get(address)
        assert answer.status_code == 429
        assert answer.headers["retry-after"]
        assert "Nothing was sent." in answer.text
        assert client.get(other).status_code == 200
        places._of.clear()


def test_many_pictures_come_in_parts(
    site: Site, client: httpx.Client, batch_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its link and the pictures of its jobs."""
    monkeypatch.setattr("console.screens.downloads.JOBS_A_ZIP", 1)
    monkeypatch.setattr(pictures_zip, "JOBS_A_ZIP", 1)
    monkeypatch.setattr(pictures_zip, "JOBS_A_PAGE", 1)
    text = client.get(f"/console/batches/{batch_id}").text
    assert "4 zips" in text
    names = []
    for part in range(1, 5):
        assert f"/pictures/{part}" in text
        answer = client.get(f"/console/batches/{batch_id}/pictures/{part}")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            names += archive.namelist()
    assert sorted(names) == ["SKU-1.png", "SKU-2.png"]


def test_a_download_ends_with_its_session(
    site: Site, client: httpx.Client, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever revokes a key that was stolen ends what is being read with it."""
    monkeypatch.setattr("api.console_downloads.ASK_EVERY_S", 0.0)
    data = random.randbytes(40_000_000)  # noqa: S311 - cannot be compressed
    sha256 = bucket.put_cutout(data, key="cutouts/large.png", media_type="image/png", metadata={})
    stored = StoredObject("cutouts/large.png", sha256, "image/png", len(data), 10, 20)
    batch_id = make_batch(site.engine, {"large": Succeeded(stored)}, producer_id=site.producer_id)
    without_outputs(site.engine)
    with client.stream("GET", f"/console/batches/{batch_id}/pictures/1") as answer:
        pieces = answer.iter_raw(65_536)
        assert next(pieces)
        site.execute("UPDATE api_keys SET revoked_at = now()")
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
