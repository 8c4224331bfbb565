"""The four forms, the URLs they are behind, and their end."""

import os
import threading
import time
from pathlib import Path

import pytest

from sandbox.results import SWEPT_AT_ONCE, Results
from sandbox.spool import Spool
from sandbox.upload import Upload
from tests.sandbox.client import Client
from tests.sandbox.pictures import decoded, encoded, product
from tests.support.machine import scaled

DEAD = 20
PHOTOS = sorted((Path(__file__).parents[2] / "photos").glob("*.jpg"))


class TestForms:
    def test_default_is_a_four_channel_png_of_the_same_size(self, client: Client, picture: bytes) -> None:
        """Without return_form the disc stays opaque and the background turns transparent."""
        result = client.cut_out(picture)
        cutout = decoded(result.content)
        assert (cutout.format, cutout.mode, cutout.size) == ("PNG", "RGBA", (240, 180))
        alpha = cutout.getchannel("A")
        assert (alpha.getpixel((120, 90)), alpha.getpixel((5, 5))) == (255, 0)

    def test_mask_is_one_channel(self, client: Client, picture: bytes) -> None:
        """`mask` is white where the subject is and black elsewhere."""
        mask = decoded(client.cut_out(picture, "mask").content)
        assert (mask.format, mask.mode, mask.size) == ("PNG", "L", (240, 180))
        assert (mask.getpixel((120, 90)), mask.getpixel((5, 5))) == (255, 0)

    def test_white_background_is_white(self, client: Client, picture: bytes) -> None:
        """`whiteBK` is an opaque picture, a JPEG, white around the subject."""
        white = decoded(client.cut_out(picture, "whiteBK").content)
        assert (white.format, white.mode, white.getpixel((5, 5))) == ("JPEG", "RGB", (255, 255, 255))

    def test_crop_is_as_large_as_its_subject(self, client: Client) -> None:
        """`crop` cuts the blank edges off."""
        crop = decoded(client.cut_out(encoded(product(), "PNG"), "crop").content)
        assert crop.mode == "RGBA"
        assert crop.size == pytest.approx((121, 91), abs=4)

    def test_a_picture_without_a_subject_is_cut_out_too(self, client: Client) -> None:
        """A plain picture comes back wholly transparent."""
        plain = encoded(product(colour="#ececee"))
        assert decoded(client.cut_out(plain).content).getchannel("A").getextrema() == (0, 0)
        assert decoded(client.cut_out(plain, "crop").content).size == (1, 1)

    def test_a_picture_of_the_least_size_is_cut_out(self, client: Client) -> None:
        """The smallest picture taken does not break the cutting."""
        assert decoded(client.cut_out(encoded(product((33, 34)))).content).size == (33, 34)


class TestPhotos:
    @pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.stem[:12])
    def test_keep_their_subject_and_lose_their_border(self, client: Client, photo: Path) -> None:
        """Of a real photo a part between 1% and 70% stays, and most of the border goes."""
        mask = decoded(client.cut_out(photo.read_bytes(), "mask").content)
        small = mask.resize((64, 64))
        covered = sum(small.histogram()[128:]) / (64 * 64)
        border = [small.getpixel((x, y)) for x in range(64) for y in range(64) if {x, y} & {0, 63}]
        assert 0.01 < covered < 0.7
        assert sum(value == 0 for value in border) > 0.8 * len(border)


class TestSweep:
    def test_deletes_the_pictures_of_dead_results_alone(self) -> None:
        """Files without a living result leave the disk, their cutouts too; the rest stays."""
        spool = Spool()
        results = Results(spool)
        upload = Upload(b"bytes", None)
        dead = [results.publish(upload, picture, None, lifetime=60) for picture in ("dead", "living")]
        name = results.publish(upload, "living", None, lifetime=60)
        results.cutout("dead", "mask").write_bytes(b"cutout")
        spool.database.execute("UPDATE results SET dies_at = 0 WHERE name IN (?, ?)", dead)
        results.sweep()
        assert {path.name for path in spool.path.glob("*.*") if "sqlite" not in path.name} == {
            "living.source"
        }
        assert results.take(name) is not None
        spool.close()
        assert not spool.path.exists()

    def test_never_keeps_calls_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Results that died together go little by little, and none is looked for among all others."""
        spool = Spool()
        results = Results(spool)
        for number in range(DEAD):
            results.publish(Upload(b"bytes", None), f"{number}", None, lifetime=60)
        spool.database.execute("UPDATE results SET dies_at = 0")
        with monkeypatch.context() as patched:
            patched.setattr(os, "scandir", None)
            patched.setattr(os, "listdir", None)
            results.publish(Upload(b"bytes", None), "new", None, lifetime=60)
        assert len(list(spool.path.glob("*.source"))) == DEAD + 1 - SWEPT_AT_ONCE
        results.sweep(most=DEAD)
        assert [path.name for path in spool.path.glob("*.source")] == ["new.source"]
        spool.close()


class TestUrl:
    def test_is_on_the_host_the_call_named(self, client: Client, picture: bytes) -> None:
        """The URL's host is the one in the call's Host header."""
        assert client.call(picture).json()["data"]["image_url"].startswith(f"{client.url}/results/")
        named = client.http.post(
            "/api/cutout/general/commodity-background-removal",
            files={"image": ("p", picture)},
            headers={"ailabapi-api-key": client.key, "host": "results.example:81"},
        )
        assert named.json()["data"]["image_url"].startswith("http://results.example:81/results/")

    def test_is_another_for_every_call(self, client: Client, picture: bytes) -> None:
        """One picture sent twice has two URLs, with 128 random bits each."""
        first, second = (client.call(picture).json()["data"]["image_url"] for _ in range(2))
        assert first != second
        assert len(first.rpartition("/")[2]) == len("0" * 32 + ".png")

    def test_never_given_out_is_not_found(self, client: Client) -> None:
        """A guessed name answers 404."""
        assert client.http.get(f"/results/{'0' * 32}.png").status_code == 404

    def test_dies_after_its_lifetime(self, client: Client, picture: bytes) -> None:
        """A URL works until its lifetime is over, then answers 404."""
        lifetime_s = scaled(0.5)
        client.set(url_lifetime=lifetime_s)
        url = client.call(picture).json()["data"]["image_url"]
        assert client.http.get(url).status_code == 200
        time.sleep(lifetime_s + 0.1)
        assert client.http.get(url).status_code == 404

    def test_serves_many_at_once_the_same_bytes(self, client: Client) -> None:
        """Downloads that meet while the cutout is being made all get it."""
        url = client.call(PHOTOS[0].read_bytes()).json()["data"]["image_url"]
        got: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: got.append(client.http.get(url).content)) for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 5
        assert len(set(got)) == 1


def test_results_may_lie_at_another_address(client: Client, picture: bytes) -> None:
    """Their URLs lead there, whatever address was called."""
    client.set(results_url="http://elsewhere.example:81/base/")
    try:
        url = client.call(picture).json()["data"]["image_url"]
    finally:
        client.set(results_url=None)
    assert url.startswith("http://elsewhere.example:81/base/results/")
