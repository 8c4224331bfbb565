"""Prepared pictures look like their sources, whatever their size and container."""

import io
import time
from collections.abc import Iterable
from typing import Any

import pytest
from PIL import Image

from bench.preparation.difference import difference
from bench.preparation.pictures import LARGE, SMALL, Case, cases
from bench.preparation.profiles import ADOBE_RGB, rgb_profile, srgb_profile
from cutout.images.image import prepare
from tests.cutout.images.pictures import encoded, noise, saved

pytest.importorskip("pillow_heif")
SOME_SIZES = {(3999, 2667)}


def differing(found: Iterable[Case]) -> list[str]:
    differences = map(difference, found)
    return [f"{one.name}: {one.mean:.1f}, {one.percentile_99:.0f}" for one in differences if not one.is_small]


class TestTheMixedSet:
    @pytest.mark.long("makes and compares a set of pictures")
    def test_of_small_pictures_is_close_to_what_is_to_be_seen(self) -> None:
        """At most 3 levels in the mean and 24 at the 99th percentile, for each picture."""
        found = list(cases(lambda size: size == SMALL))
        assert len(found) > 120
        assert differing(found) == []

    @pytest.mark.long("makes and compares a set of pictures")
    def test_of_large_jpegs_is_close_to_what_is_to_be_seen(self) -> None:
        """Decoding a JPEG at half its size moves no edge."""
        found = list(cases(lambda size: size in SOME_SIZES))
        assert len(found) == 4 * len(SOME_SIZES)
        assert differing(found) == []

    @pytest.mark.long("prepares some 180 pictures of up to 43 megapixels")
    @pytest.mark.timeout(900)
    def test_of_all_sizes_is_close_to_what_is_to_be_seen(self) -> None:
        """The rest of the set."""
        found = cases(lambda size: size != SMALL and size not in SOME_SIZES)
        assert differing(found) == []


class TestAProfile:
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
    @pytest.mark.parametrize("size", [(600, 500), (2100, 1750)])
    def test_of_other_colours_is_applied_at_every_size(self, kind: str, size: tuple[int, int]) -> None:
        """One scene in Adobe RGB is sent in equal colours, small or large."""
        case = saved_in_adobe_rgb(kind, size)
        red, green, blue = pixel(prepare(case).data)
        assert abs(red - 0) <= 4
        assert abs(green - 170) <= 4
        assert abs(blue - 82) <= 4

    def test_that_is_srgb_changes_nothing(self) -> None:
        """SRGB profiles of other programs leave the bytes unchanged."""
        source = encoded("JPEG", icc_profile=srgb_profile())
        assert prepare(source).data is source

    @pytest.mark.parametrize("profile", [b"no profile", rgb_profile(ADOBE_RGB)[:200]])
    def test_that_is_broken_changes_nothing(self, profile: bytes) -> None:
        """A broken profile is ignored."""
        source = encoded("JPEG", icc_profile=profile)
        assert prepare(source).data is source

    def test_is_read_once(self) -> None:
        """Many pictures with one profile cost little more than without."""
        source = saved(noise((700, 500)), "JPEG", quality=92, icc_profile=srgb_profile())
        prepare(source)
        spent = []
        for _ in range(20):
            began = time.thread_time()
            prepare(source)
            spent.append(time.thread_time() - began)
        assert min(spent) < 0.001


def saved_in_adobe_rgb(kind: str, size: tuple[int, int]) -> bytes:
    image = Image.new("RGB", size, (61, 168, 88))
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    if kind in ("JPEG", "AVIF"):
        options = {"quality": 95}
    return saved(image, kind, icc_profile=rgb_profile(ADOBE_RGB), **options)


def pixel(data: bytes) -> tuple[int, int, int]:
    with Image.open(io.BytesIO(data)) as image:
        red, green, blue = image.convert("RGB").getpixel((20, 20))  # type: ignore[misc]
    return int(red), int(green), int(blue)


def test_sizes_of_the_set_are_small_and_large() -> None:
    """Both sides of the limit are covered."""
    assert max(SMALL) < 1999 < max(LARGE)
