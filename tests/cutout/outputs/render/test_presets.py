"""Files of all presets, held against what marketplaces demand."""

import io
from pathlib import Path

import pytest
from PIL import Image

from cutout.outputs.recipes import PRESETS, parse_recipe
from cutout.outputs.render import Rendered, render
from tests.cutout.outputs.render.marketplaces import DEMANDS, faults
from tests.cutout.outputs.render.subjects import (
    ODD,
    PASSING,
    PHOTOS,
    cutout_of,
    is_cropped,
    large_cutout_of,
    odd_subject,
    photos,
)


def rules(rendered: Rendered) -> set[str]:
    """Return the names of the rules that an output says it failed."""
    return {problem.partition(":")[0] for problem in rendered.problems}


def test_every_marketplace_is_checked() -> None:
    """Each preset with a source has a check of its own here."""
    assert set(DEMANDS) == {name for name, preset in PRESETS.items() if preset.sources}


@pytest.mark.parametrize("photo", photos("renders each photo for seven marketplaces"))
class TestPhotos:
    def test_large_photos_pass(self, photo: Path) -> None:
        """A photo with enough pixels passes, but for one that crops its subject, which is marked."""
        cutout = large_cutout_of(photo)
        for name in DEMANDS:
            rendered = render(cutout, parse_recipe(name), natural_scale=1.0)
            found = set(faults(name, rendered.data))
            assert found <= rules(rendered), name
            if is_cropped(photo):
                assert rules(rendered) <= {"background", "whole"}, (name, rendered.problems)
            else:
                assert not rendered.problems, (name, rendered.problems)

    def test_small_photos_are_marked(self, photo: Path) -> None:
        """A photo with too few pixels is delivered as it can be, and names the rule that failed."""
        cutout = cutout_of(photo)
        for name in ("amazon", "google", "zalando"):
            rendered = render(cutout, parse_recipe(name), natural_scale=1.0)
            assert set(faults(name, rendered.data)) <= rules(rendered), name
            assert rendered.measures["stretch"] <= 1


LONG = pytest.mark.long("20 subjects for each of six marketplaces; amazon is in the first tier")
NAMES = [pytest.param(name, marks=() if name == "amazon" else LONG) for name in DEMANDS]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ODD)
def test_odd_subjects_pass_or_are_marked(name: str, kind: str) -> None:
    """Whatever the subject, a file that a marketplace refuses names the rule."""
    rendered = render(odd_subject(kind), parse_recipe(name), natural_scale=1.0)
    assert set(faults(name, rendered.data)) <= rules(rendered), rendered.problems
    if kind in PASSING:
        assert rendered.problems == ()


@pytest.mark.parametrize(
    ("kind", "marked"),
    [
        ("tiny", {"fill"}),
        ("one pixel", {"fill"}),
        ("small picture", {"fill"}),
        ("at the left", {"background", "whole"}),
        ("at all sides", {"background", "whole"}),
        ("in a corner", {"background", "whole", "fill"}),
    ],
)
def test_marks_of_odd_subjects(kind: str, marked: set[str]) -> None:
    """Each rule that cannot be met is named, and no other."""
    assert rules(render(odd_subject(kind), parse_recipe("amazon"), natural_scale=1.0)) == marked


@pytest.mark.parametrize("photo", PHOTOS[3:4], ids=lambda photo: photo.name[:12])
def test_web(photo: Path) -> None:
    """The preset for one's own pages is a transparent WEBP of its size, with nothing at its edge."""
    rendered = render(large_cutout_of(photo), parse_recipe("web cut=float"), natural_scale=1.0)
    picture = Image.open(io.BytesIO(rendered.data))
    assert (picture.format, picture.mode, picture.size) == ("WEBP", "RGBA", (1600, 1600))
    assert picture.crop((0, 0, 1600, 8)).getchannel("A").getextrema() == (0, 0)
    assert not rendered.problems
