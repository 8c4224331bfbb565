"""Adding work by faulty, damaged, too large or hostile forms."""

import uuid
from collections.abc import Callable

import httpx

from cutout.settings import Settings
from cutout.storage import Bucket
from tests.console.conftest import Site
from tests.console.forms import CSV, JPEG, batch_of, begun, form, nothing_is_left, read, send, told
from tests.console.test_adding import pictures, zipped

Files = list[tuple[str, tuple[str, bytes]]]
Sender = Callable[..., httpx.Response]


FAULTS: dict[str, tuple[dict[str, str], list[tuple[str, bytes]], str]] = {
    "nothing": (form(), [], "There is nothing to read"),
    "an empty file": (form(), [("a.csv", b"")], "has 0 bytes"),
    "a file and an address": (form(url="https://shop.example/a.csv"), [("a.csv", CSV)], "a file and an addr"),
    "a manifest with pictures": (form(), [("a.csv", CSV), ("b.jpg", JPEG)], "is no picture"),
    "pictures with a zip": (form(), [("b.jpg", JPEG), ("c.zip", zipped({}))], "came together with pictures"),
    "a weight of words": (form(weight="heavy"), [("a.csv", CSV)], "weight"),
    "a budget below zero": (form(budget="-1"), [("a.csv", CSV)], "budget"),
    "a budget beyond numbers": (form(budget="9" * 30), [("a.csv", CSV)], "budget"),
    "an unknown form": (form(return_form="psd"), [("a.csv", CSV)], "return_form"),
    "an unknown rendition": (form(outputs="moon"), [("a.csv", CSV)], "moon"),
    "columns that cannot be": (form(map="source"), [("a.csv", CSV)], "map"),
    "a name that hides text": (form(name="a\u202eb"), [("a.csv", CSV)], "name"),
    "a name too long": (form(name="n" * 300), [("a.csv", CSV)], "name"),
    "a private address": (form(url="https://10.0.0.1/a.csv"), [], "The address"),
    "an address of files": (form(url="file:///etc/passwd"), [], "must begin with https://"),
    "a bucket of the operator": (form(url="s3://any/prefix/"), [], "must begin with https://"),
    "no token": (form(token=""), [("a.csv", CSV)], "not complete"),
    "a token of words": (form(token="x' OR 1=1"), [("a.csv", CSV)], "not complete"),
    "a huge field": (form(map="x" * 9000), [("a.csv", CSV)], "is longer than"),
    "many fields": (form(**{f"f{n}": "" for n in range(80)}), [("a.csv", CSV)], "more than 60 fields"),
}


class TestFaults:
    """Forms that cannot be carried out."""

    def test_a_faulty_form_says_why_and_stores_nothing(
        self, site: Site, client: httpx.Client, bucket: Bucket
    ) -> None:
        """The answer names the fault; there is no batch and no object."""
        for case, (fields, files, text) in FAULTS.items():
            answer = send(client, fields, *files)
            assert answer.status_code in {413, 422}, case
            assert text in told(answer), case
        assert nothing_is_left(site, bucket)

    def test_a_damaged_body_is_no_error_of_ours(
        self, site: Site, client: httpx.Client, bucket: Bucket
    ) -> None:
        """Bodies that are no such form, or have no end, are refused."""
        whole = b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n' + CSV
        token = f'--x\r\nContent-Disposition: form-data; name="token"\r\n\r\n{uuid.uuid4()}\r\n'.encode()
        multipart = "multipart/form-data; boundary=x"
        for kind, body, status in (
            (multipart, token + whole, 400),
            (multipart, b"no form at all", 400),
            (multipart, b"", 400),
            (multipart, b"--x\r\nContent-Disposition: form-data; name=" + b"a" * 10_000, 400),
            ("multipart/form-data", token + whole, 415),
            (f"multipart/form-data; boundary={'b' * 300}", token, 400),
            ("text/csv", CSV, 415),
            ("application/x-www-form-urlencoded", b"token=1", 415),
        ):
            answer = client.post("/console/add", content=body, headers={"Content-Type": kind})
            assert (answer.status_code, kind) == (status, kind), told(answer)
        assert nothing_is_left(site, bucket)

    def test_more_bytes_than_are_taken_are_refused(
        self, site: Site, client: httpx.Client, bucket: Bucket
    ) -> None:
        """A body above the limit is refused by its length; pictures above an archive's leave nothing."""
        settings = site.app.state.services.settings
        with begun(client, settings.max_manifest_bytes + 1_000_000) as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 413")
        object.__setattr__(settings, "max_archive_bytes", 2000)
        answer = send(client, form(), *pictures(9).items())
        assert answer.status_code == 422
        assert "pack several" in told(answer)
        assert nothing_is_left(site, bucket)

    def test_hostile_names_are_rejected_by_name(
        self, site: Site, client: httpx.Client, settings: Settings, bucket: Bucket
    ) -> None:
        """Names that hide, climb, repeat or are huge become no jobs, and the page shows them harmlessly."""
        names = ["good.jpg", "a\u202egpj.exe.jpg", "../../etc/passwd.jpg", "good.jpg", "n" * 900 + ".jpg"]
        names += ["..", "<img src=x onerror=alert(1)>.jpg"]
        batch_id = batch_of(send(client, form(), *((name, JPEG) for name in names)))
        read(site, settings, bucket)
        ids = site.scalar("SELECT array_agg(external_id ORDER BY external_id) FROM jobs")
        assert sorted(ids) == ["<img src=x onerror=alert(1)>", "good.jpg", "passwd"]
        page = client.get(f"/console/batches/{batch_id}").text
        assert "U+202E" in page
        assert "\u202e" not in page
        assert "<img src=x" not in page
        assert "is the name of two files of the archive" in page

    def test_a_name_that_was_given_to_another_form_is_kept(self, client: httpx.Client) -> None:
        """A faulty form comes back with what was typed."""
        answer = send(client, form(name="spring <b>", weight="heavy"), ("a.csv", CSV))
        assert 'value="spring &lt;b&gt;"' in answer.text
        assert 'value="heavy"' in answer.text
