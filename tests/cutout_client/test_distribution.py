"""The client as a distribution of its own, built as pip builds it and installed beside httpx alone."""

import email
import importlib.metadata
import json
import shutil
import subprocess
import tarfile
import tomllib
import venv
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import cutout_client
from cutout import __version__
from tests.docs.pages import ROOT, blocks
from tests.support.wheels import build

CLIENT = ROOT / "cutout_client"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OF_THE_CLIENT = tomllib.loads((CLIENT / "pyproject.toml").read_text())
# Nothing listens on port 1.
PROGRAM = """
import importlib.util, json, sys
import cutout_client

with cutout_client.Client("http://127.0.0.1:1", "key", retries=cutout_client.Retries(tries=1)) as client:
    try:
        client.jobs.get("019a0000-0000-7000-8000-000000000000")
    except cutout_client.CutoutError as error:
        raised = type(error).__name__
print(json.dumps({
    "file": cutout_client.__file__,
    "version": cutout_client.__version__,
    "raised": raised,
    "others": [name for name in sys.argv[1:] if importlib.util.find_spec(name)],
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's wheel, built from its unpacked sdist."""
    directory = tmp_path_factory.mktemp("built")
    with tarfile.open(build(CLIENT, "sdist", directory)) as sdist:
        sdist.extractall(directory, filter="data")
    (unpacked,) = (path for path in directory.iterdir() if path.is_dir())
    return build(unpacked, "wheel", directory)


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """Metadata of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def requirements_of(lines: list[str]) -> list[Requirement]:
    """The requirements without those of extras or other systems."""
    found = [Requirement(line) for line in lines]
    return [each for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]


def link_with_requirements(names: list[str], site_packages: Path) -> set[str]:
    """Make these distributions and all that they need importable there; returns their names."""
    done: set[str] = set()
    while names:
        name = names.pop()
        if name in done:
            continue
        done.add(name)
        distribution = importlib.metadata.distribution(name)
        names += [each.name for each in requirements_of(distribution.requires or [])]
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}:
            link = site_packages / top
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(top))))
    return done


class TestTheWheel:
    def test_has_the_package_and_nothing_else(self, wheel: Path) -> None:
        """Its files are those of the package, the marker of types with them, and its metadata."""
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
        info = f"cutout_client-{cutout_client.__version__}.dist-info"
        code = {f"cutout_client/{path.relative_to(CLIENT)}" for path in CLIENT.rglob("*.py")}
        of_metadata = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "licenses/LICENSE")}
        assert names == code | {"cutout_client/py.typed"} | of_metadata

    def test_needs_httpx_alone(self, metadata: Message) -> None:
        """Its one requirement is the httpx that the project itself has."""
        (needed,) = metadata.get_all("Requires-Dist") or []
        assert Requirement(needed).name == "httpx"
        assert needed in {str(Requirement(each)) for each in PROJECT["project"]["dependencies"]}

    def test_runs_where_nothing_else_of_ours_is(self, wheel: Path, metadata: Message, tmp_path: Path) -> None:
        """Beside httpx alone it is imported, and a call to nobody ends with an error of its own type."""
        venv.create(tmp_path / "env", symlinks=True)
        (site_packages,) = (tmp_path / "env").glob("lib/python*/site-packages")
        needed = requirements_of(metadata.get_all("Requires-Dist") or [])
        assert "cutout" not in link_with_requirements([each.name for each in needed], site_packages)
        shutil.unpack_archive(wheel, site_packages, "zip")
        ours = [*PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], "tests", "sqlalchemy"]
        ran = subprocess.run(
            [tmp_path / "env" / "bin" / "python", "-I", "-c", PROGRAM, *ours],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout) == {
            "file": str(site_packages / "cutout_client" / "__init__.py"),
            "version": cutout_client.__version__,
            "raised": "NoAnswerError",
            "others": [],
        }


class TestTheProject:
    """cutout_client/pyproject.toml beside the one of the repository."""

    @pytest.mark.parametrize("field", ["requires-python", "license", "authors"])
    def test_says_what_the_client_s_says(self, field: str) -> None:
        """Both have the same Pythons, licence and authors."""
        assert OF_THE_CLIENT["project"][field] == PROJECT["project"][field]

    def test_has_the_same_licence_text(self) -> None:
        """The copy that goes into the client's wheel is the repository's LICENSE."""
        assert (CLIENT / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()

    def test_has_the_same_version(self, wheel: Path) -> None:
        """Client and main distribution are released together."""
        assert wheel.name == f"cutout_client-{__version__}-py3-none-any.whl"

    def test_the_example_is_the_package_s(self) -> None:
        """The README's example compiles, and its steps are those that the package's docstring shows."""
        (example,) = blocks((CLIENT / "README.md").read_text(), "python")
        compile(example, "README.md", "exec")
        steps = [line.strip() for line in example.partition("\n\n")[2].splitlines()]
        assert steps == [line.strip() for line in (cutout_client.__doc__ or "").splitlines()[4:]]
