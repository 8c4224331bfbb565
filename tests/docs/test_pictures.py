"""Pictures of README.md: small, of the photos that its caption names, and readable."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from PIL import Image

from tests.docs.before_after import AFTER, DARK, DETAIL, LIGHT, PHOTOS, PICTURE, draw
from tests.docs.pages import README, ROOT

FLOW = ROOT / "docs" / "images" / "flow.svg"
MOST_BYTES = 400_000
SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_is_small_and_as_wide_as_the_page() -> None:
    """README.md loads quickly: three rows, 900 pixels wide, less than 400 kB."""
    assert PICTURE.stat().st_size < MOST_BYTES
    with Image.open(PICTURE) as picture:
        assert picture.size == (900, 606)


def test_the_edge_at_full_size_is_small_and_shown() -> None:
    """README.md has it, with a text for those who cannot see it."""
    assert DETAIL.stat().st_size < MOST_BYTES
    with Image.open(DETAIL) as picture:
        assert picture.width <= 900
    assert re.search(r"!\[[^\]]{40,}\]\(docs/images/full-size\.png\)", README.read_text())


def test_the_caption_names_the_photographers() -> None:
    """A photo's file name begins with its photographer's name: README.md has it, with the attribution."""
    page = re.sub(r"[\W_]+", "-", README.read_text().lower())
    for photo in PHOTOS:
        assert (ROOT / "photos" / f"{photo}.jpg").exists()
        photographer = re.sub(r"-\d+-unsplash$", "", photo)
        assert photographer in page
    assert "(photos/ATTRIBUTION.md)" in README.read_text()


def test_it_is_drawn_from_the_files_of_the_demo(tmp_path: Path) -> None:
    """Cutouts of any size are brought into its cells, behind a checkerboard where they are transparent."""
    for photo in PHOTOS:
        for name in AFTER:
            Image.new("RGBA", (30, 900), (255, 0, 0, 255)).save(tmp_path / name.format(photo))
    drawn = draw(tmp_path)
    assert drawn.size == (900, 606)
    middle, beside = drawn.getpixel((450, 99)), drawn.getpixel((320, 99))
    assert middle == (255, 0, 0, 255)
    assert beside in {(*LIGHT, 255), (*DARK, 255)}


def test_the_flow_has_four_captions_and_a_text_for_those_who_cannot_see_it() -> None:
    """It is well-formed, names its steps 1 to 4 in the drawing and below it, and describes itself."""
    flow = ET.parse(FLOW).getroot()  # noqa: S314 - a file of ours
    numbers = [text.text for text in flow.iter(f"{SVG}text") if text.get("class") == "number"]
    assert sorted(filter(None, numbers)) == ["1", "1", "2", "2", "3", "3", "4", "4"]
    assert len([text for text in flow.iter(f"{SVG}text") if text.get("class") == "caption"]) == 4
    assert flow.findtext(f"{SVG}title")
    assert flow.findtext(f"{SVG}desc")
