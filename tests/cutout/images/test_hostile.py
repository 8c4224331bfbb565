"""Damaged and hostile files: every one is fitted or refused, and none raises anything else."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.preparation.pictures import tiff, xmp_of
from bench.preparation.profiles import ADOBE_RGB, rgb_profile
from cutout.images.decode import MIN_SIDE
from cutout.images.image import ENDPOINT_LIMITS, PreparedImage, prepare, refit
from cutout.images.unfit_image import UnfitImage
from tests.cutout.images.pictures import encoded, frames, picture, saved, turned_by_exif
from tests.cutout.images.tiffs import Ifd, tiff_of

SEEDS = {
    "JPEG": turned_by_exif(6),
    "progressive JPEG": encoded("JPEG", progressive=True),
    "CMYK": encoded("JPEG", "CMYK"),
    "MPO": saved(picture(), "MPO", save_all=True, append_images=[picture()]),
    "PNG": turned_by_exif(6, "PNG"),
    "16-bit PNG": encoded("PNG", "I;16"),
    "palette PNG": encoded("PNG", "P"),
    "animated PNG": frames("PNG"),
    "BMP": encoded("BMP"),
    "palette BMP": encoded("BMP", "P"),
    "GIF": encoded("GIF", "P"),
    "animated GIF": frames("GIF"),
    "WEBP": encoded("WEBP", "RGBA"),
    "lossless WEBP": encoded("WEBP", lossless=True),
    "animated WEBP": frames("WEBP"),
    "TIFF": encoded("TIFF", "RGBA"),
    "packed TIFF": encoded("TIFF", compression="tiff_lzw"),
    "JPEG in TIFF": encoded("TIFF", compression="jpeg"),
    "pages": tiff_of(Ifd((40, 40), tags={254: [1]}), Ifd((64, 48), sub=[Ifd((50, 50), tags={254: [1]})])),
    "BigTIFF": tiff_of(Ifd((40, 40), tags={254: [1]}, sub=[Ifd((64, 48))]), big=True),
    "white-is-zero TIFF": tiff(np.zeros((48, 64)), 0, order=">"),
    "AVIF": encoded("AVIF", "RGBA"),
    "profile": encoded("JPEG", icc_profile=rgb_profile(ADOBE_RGB)),
    "XMP": encoded("JPEG", xmp=xmp_of(6)),
    "restarts": encoded("JPEG", restart_marker_blocks=1),
}


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Change some bytes of a picture, mostly in its header, and perhaps cut it or repeat a part."""
    data = bytearray(SEEDS[draw(st.sampled_from(sorted(SEEDS)))])
    place = st.integers(0, min(len(data), 300) - 1) | st.integers(0, len(data) - 1)
    for position in draw(st.lists(place, max_size=8)):
        data[position] = draw(st.integers(0, 255) | st.sampled_from([0, 255, 127, 128]))
    if draw(st.booleans()):
        del data[draw(place) :]
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        data[at:at] = data[at : at + draw(st.integers(1, 40))]
    return bytes(data)


class TestDamagedPictures:
    @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(source=damaged())
    @pytest.mark.filterwarnings("ignore")  # Pillow warns of damage that it reads past
    def test_are_fitted_or_refused(self, source: bytes) -> None:
        """Both ways of preparing give a picture inside the limits, or UnfitImage with code and message."""
        for work in (prepare, refit):
            match _outcome(work, source):
                case UnfitImage() as unfit:
                    assert unfit.code.startswith("IMAGE_")
                    assert unfit.message
                case prepared:
                    assert len(prepared.data) <= ENDPOINT_LIMITS.max_bytes
                    assert min(prepared.width, prepared.height) >= MIN_SIDE
                    assert max(prepared.width, prepared.height) <= ENDPOINT_LIMITS.max_side
                    assert prepare(prepared.data).data is prepared.data

    @settings(max_examples=150, deadline=None)
    @given(prefix=st.sampled_from([source[:40] for source in SEEDS.values()]), rest=st.binary(max_size=200))
    @pytest.mark.filterwarnings("ignore")  # as above
    def test_that_are_only_a_beginning_are_refused(self, prefix: bytes, rest: bytes) -> None:
        """A valid beginning followed by random bytes raises nothing but UnfitImage."""
        with pytest.raises(UnfitImage):
            prepare(prefix + rest)


def _outcome(work: Callable[[bytes], PreparedImage], source: bytes) -> PreparedImage | UnfitImage:
    try:
        return work(source)
    except UnfitImage as unfit:
        return unfit
