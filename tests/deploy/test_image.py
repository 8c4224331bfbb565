"""Contents of the image."""

import ast
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT
from tests.deploy.dockerfile import Instruction, copied, entrypoint, is_ignored, read_instructions

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
LOCKS = {"requirements.lock", "requirements-dev.lock"}
INSTRUCTIONS = read_instructions()


class TestDockerfile:
    def test_every_package_is_copied(self) -> None:
        """The image gets each package of the project, each exists, and nothing else but the lock files."""
        assert set(copied()) == {*PACKAGES, *LOCKS}
        assert all((ROOT / source).exists() for source in copied())

    def test_every_package_is_known(self) -> None:
        """Each top-level package is one of the project's, except for development and the client's own."""
        found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
        assert found - {"tests", "bench", "cutout_client"} == set(PACKAGES)

    def test_installs_the_lock_with_hashes(self) -> None:
        """Whatever is installed is a locked wheel with its hash, for all stages from requirements.lock."""
        installs = [i for i in INSTRUCTIONS if "pip " in i.rest and i.word == "RUN"]
        assert {i.stage: re.findall(r"-r (\S+)", i.rest) for i in installs} == {
            "dependencies": ["requirements.lock"],
            "sandbox-dependencies": ["numpy.lock"],
            "heif-dependencies": ["heif.lock"],
        }
        for install in installs:
            assert {"--require-hashes", "--no-cache-dir", "--only-binary=:all:"} <= set(install.rest.split())

    @pytest.mark.parametrize(
        ("extra", "package", "lock"),
        [("sandbox", "numpy", "numpy.lock"), ("heif", "pillow-heif", "heif.lock")],
    )
    def test_an_extra_is_taken_from_the_lock(
        self, tmp_path: Path, extra: str, package: str, lock: str
    ) -> None:
        """An extra of one package is cut out of the development lock with its hashes."""
        names = PROJECT["project"]["optional-dependencies"][extra]
        assert [re.split(r"[^\w-]", name)[0] for name in names] == [package]
        (run,) = [i.rest for i in INSTRUCTIONS if i.word == "RUN" and lock in i.rest]
        subprocess.run(
            ["/bin/sh", "-c", run.split("&&")[0].replace(lock, str(tmp_path / lock))], cwd=ROOT, check=True
        )
        entries = re.split(r"\n(?=\S)", (tmp_path / lock).read_text().strip())
        assert entries
        for entry in entries:
            assert entry.startswith(f"{package}==")
            assert "--hash=sha256:" in entry

    def test_runs_the_command_as_a_fixed_user(self) -> None:
        """The image runs `cutout` under a numeric uid, by an exec-form entry point that gets the signals."""
        assert entrypoint() == ["cutout"]
        assert [i.rest for i in INSTRUCTIONS if i.word == "USER"] == ["10001:10001"]
        assert self._last_stage() == "cutout"

    def test_the_console_script_is_the_projects(self, tmp_path: Path) -> None:
        """The `cutout` that the image gets runs what pyproject.toml names."""
        module, function = PROJECT["project"]["scripts"]["cutout"].split(":")
        (run,) = [i.rest for i in INSTRUCTIONS if i.word == "RUN" and "/usr/local/bin/cutout" in i.rest]
        script = tmp_path / "cutout"
        subprocess.run(
            ["/bin/sh", "-c", run.split("&&")[0].replace("/usr/local/bin/cutout", str(script))], check=True
        )
        assert script.read_text().splitlines() == [
            "#!/opt/venv/bin/python",
            f"from {module} import {function}",
            f"{function}()",
        ]
        assert callable(getattr(importlib.import_module(module), function))

    def test_the_base_is_pinned_by_tag(self) -> None:
        """Every base from outside names its Python and its Debian."""
        stages = {i.stage for i in INSTRUCTIONS}
        bases = {i.rest.split()[0] for i in INSTRUCTIONS if i.word == "FROM"} - stages
        assert bases == {"python:3.13-slim-trixie"}

    def test_nothing_is_fetched(self) -> None:
        """No instruction downloads anything, but pip what the lock names."""
        assert not {i.word for i in INSTRUCTIONS} & {"ADD"}
        assert not [i for i in INSTRUCTIONS if re.search(r"\b(curl|wget|apt-get|git)\b|https?://", i.rest)]

    @staticmethod
    def _last_stage() -> str:
        return INSTRUCTIONS[-1].stage


class TestDependencies:
    @pytest.mark.parametrize("package", PACKAGES)
    def test_imports_only_what_the_image_has(self, package: str) -> None:
        """Everything a package imports is its own, the standard library's, or locked for production."""
        locked = _locked(ROOT / "requirements.lock") | ({"numpy"} if package == "sandbox" else set())
        known = importlib.metadata.packages_distributions()
        for path in sorted((ROOT / package).rglob("*.py")):
            for name in _imported(ast.parse(path.read_text())):
                if name not in sys.stdlib_module_names and name not in PACKAGES:
                    found = {_normal(distribution) for distribution in known.get(name, [])}
                    assert found & locked, f"{path.relative_to(ROOT)} imports {name}, which production lacks"


class TestDockerignore:
    @pytest.mark.parametrize(
        "path",
        [
            ".git",
            ".git/HEAD",
            ".env",
            ".env.production",
            ".venv",
            ".venv/bin/python",
            ".cutout",
            ".cutout/postgres/password",
            "tests",
            "tests/conftest.py",
            "demo-output",
            "demo-output/contact-sheet.png",
            "photos/ATTRIBUTION.md",
            "bench/cpu_per_job.py",
            "docker-compose.yml",
            "api/__pycache__/app.cpython-313.pyc",
            "cutout/endpoint/__pycache__/client.cpython-313.pyc",
        ],
    )
    def test_stays_outside(self, path: str) -> None:
        """History, secrets, data, tests and what was compiled here never reach the builder."""
        assert is_ignored(path)

    def test_what_is_copied_gets_in(self) -> None:
        """Each file that the Dockerfile copies reaches the builder."""
        for source in copied():
            files = [ROOT / source] if (ROOT / source).is_file() else (ROOT / source).rglob("*.py")
            for file in files:
                assert not is_ignored(str(file.relative_to(ROOT)))


def _locked(path: Path) -> set[str]:
    return {_normal(name) for name in re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==", path.read_text())}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name.split(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.split(".")[0]
    for child in ast.iter_child_nodes(node):
        yield from _imported(child)


def test_instructions_are_read() -> None:
    """The reader of these tests sees continued lines as one instruction."""
    assert Instruction("runtime", "WORKDIR", "/app") in INSTRUCTIONS
    assert any(
        i.word == "ENV" and "PYTHONPATH=/app" in i.rest and "PATH=/opt" in i.rest for i in INSTRUCTIONS
    )
