"""The wheel of the main distribution."""

import email
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from cutout import __version__
from tests.deploy.compose import ROOT
from tests.support.wheels import build

PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
    "packages"
]
INFO = f"cutout-{__version__}.dist-info"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the repository."""
    return build(ROOT, "wheel", tmp_path_factory.mktemp("built"))


def test_has_the_packages_and_nothing_else(wheel: Path) -> None:
    """It has every package of the project, but not the client, which is a distribution of its own."""
    with zipfile.ZipFile(wheel) as archive:
        found = {name.partition("/")[0] for name in archive.namelist()}
    assert found == {*PACKAGES, INFO}
    assert "cutout_client" not in found


def test_says_whose_it_is(wheel: Path) -> None:
    """Its metadata has licence, authors and the version of the code, and it brings the licence's text."""
    with zipfile.ZipFile(wheel) as archive:
        said: Message = email.message_from_bytes(archive.read(f"{INFO}/METADATA"))
        licence = archive.read(f"{INFO}/licenses/LICENSE")
    fields = [said[name] for name in ("Name", "Version", "License-Expression", "Author")]
    assert fields == ["cutout", __version__, "MIT", "the cutout authors"]
    assert licence == (ROOT / "LICENSE").read_bytes()
