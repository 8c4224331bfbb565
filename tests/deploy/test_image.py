"""Contents of the image."""

import ast
import importlib
import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
import sysconfig
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cli.main import COMMANDS, NEEDS
from tests.deploy.compose import ROOT, load_services
from tests.deploy.dockerfile import (
    Instruction,
    copied,
    entrypoint,
    environment,
    is_ignored,
    make_tree,
    read_instructions,
    stages_of,
)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
LOCKS = {"requirements.lock", "requirements-dev.lock"}
INSTRUCTIONS = read_instructions()
TAG = "python:3.13-slim-trixie"
# Not in the image for production.
DEVELOPMENT = {"local", "sandbox"}


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """A server that gives this status; its port, and the requests that it got."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"GET {self.path}")
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, asked
        server.shutdown()


class TestDockerfile:
    def test_every_package_of_production_is_copied(self) -> None:
        """The image gets each package of the project but those for development, each exists, nothing else."""
        assert set(copied("cutout")) == set(PACKAGES) - DEVELOPMENT
        assert set(copied("heif")) == set(copied("cutout"))
        assert set(copied("sandbox")) == set(copied("cutout")) | {"sandbox"}
        assert set(copied()) == {*PACKAGES, *LOCKS} - {"local"}
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
            "heif-dependencies": ["heif.lock"],
        }
        for install in installs:
            assert {"--require-hashes", "--no-cache-dir", "--only-binary=:all:"} <= set(install.rest.split())

    @pytest.mark.parametrize(
        ("extra", "package", "lock"),
        [("heif", "pillow-heif", "heif.lock")],
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

    def test_the_base_is_an_argument(self) -> None:
        """The one base from outside can be given; without it, it names its Python and its Debian."""
        stages = {i.stage for i in INSTRUCTIONS}
        bases = {i.rest.split()[0] for i in INSTRUCTIONS if i.word == "FROM"} - stages
        assert bases == {"${PYTHON_IMAGE}"}
        assert INSTRUCTIONS[0] == Instruction("", "ARG", f"PYTHON_IMAGE={TAG}")

    @pytest.mark.parametrize(
        ("base", "version", "revision", "builds"),
        [
            (TAG, "development", "unknown", True),
            (f"{TAG}@sha256:{'a' * 64}", "1.0.0", "b" * 40, True),
            (TAG, "1.0.0", "b" * 40, False),
            (f"{TAG}@sha256:{'a' * 63}", "1.0.0", "b" * 40, False),
            (f"{TAG}@sha256:{'a' * 64}", "1.0.0", "unknown", False),
        ],
    )
    def test_a_release_names_its_base_by_digest(
        self, base: str, version: str, revision: str, *, builds: bool
    ) -> None:
        """A build with a version fails without the base's digest and a revision, and says what it needs."""
        (run,) = [i for i in INSTRUCTIONS if i.word == "RUN" and "$PYTHON_IMAGE" in i.rest]
        given = {"PATH": "/usr/bin:/bin", "PYTHON_IMAGE": base, "VERSION": version, "REVISION": revision}
        done = subprocess.run(
            ["/bin/sh", "-c", run.rest], env=given, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == builds
        assert builds or "needs PYTHON_IMAGE with a digest and REVISION" in done.stderr
        assert run.stage in stages_of("cutout")
        before = INSTRUCTIONS[: INSTRUCTIONS.index(run)]
        declared = {i.rest.partition("=")[0] for i in before if i.word == "ARG" and i.stage == run.stage}
        assert {"PYTHON_IMAGE", "VERSION", "REVISION"} <= declared

    def test_labels_say_what_it_is(self) -> None:
        """Version, revision and source are arguments of the build; the licence is the project's."""
        (label,) = [i for i in INSTRUCTIONS if i.word == "LABEL"]
        found = dict(pair.split("=", 1) for pair in shlex.split(label.rest))
        names = {name.removeprefix("org.opencontainers.image."): value for name, value in found.items()}
        assert names["licenses"] == PROJECT["project"]["license"]
        assert (names["version"], names["revision"], names["source"]) == ("$VERSION", "$REVISION", "$SOURCE")
        assert {"title", "description"} <= names.keys()

    @pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
    def test_the_health_check_asks_whether_it_lives(self, status: int, *, healthy: bool) -> None:
        """It asks /livez at the address of metrics, by whatever port that has, and not through a proxy."""
        (check, of_sandbox) = [i for i in INSTRUCTIONS if i.word == "HEALTHCHECK"]
        assert of_sandbox == Instruction("sandbox", "HEALTHCHECK", "NONE")
        program, *words = json.loads(check.rest.partition("CMD ")[2])
        assert program == "python"
        with answering(status) as (port, asked):
            given = {"CUTOUT_METRICS_ADDRESS": f"0.0.0.0:{port}", "http_proxy": "http://127.0.0.1:1"}
            done = subprocess.run([sys.executable, *words], env=given, check=False)
            assert asked == ["GET /livez"]
        assert (done.returncode == 0) == healthy
        gone = subprocess.run([sys.executable, *words], env=given, stderr=subprocess.DEVNULL, check=False)
        assert gone.returncode == 1

    def test_its_metrics_address_is_that_of_the_compose_file(self) -> None:
        """The health check works without compose, at the same port."""
        declared = load_services()["api"]["environment"]["CUTOUT_METRICS_ADDRESS"]
        assert environment()["CUTOUT_METRICS_ADDRESS"] == declared

    def test_nothing_is_fetched(self) -> None:
        """No instruction downloads anything, but pip what the lock names."""
        assert not {i.word for i in INSTRUCTIONS} & {"ADD"}
        assert not [i for i in INSTRUCTIONS if re.search(r"\b(curl|wget|apt-get|git)\b|https?://", i.rest)]

    @staticmethod
    def _last_stage() -> str:
        return INSTRUCTIONS[-1].stage


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory /app of the image."""
    return make_tree("cutout", tmp_path_factory.mktemp("image") / "app")


class TestWithoutDevelopment:
    """Commands from the file tree of the image, in which the packages for development are not."""

    @staticmethod
    def execute(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
        given = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{tree}:{sysconfig.get_path('purelib')}",
            "CUTOUT_DATABASE_URL": "postgresql://127.0.0.1:1/cutout",
            "CUTOUT_REDIS_URL": "redis://127.0.0.1:1/0",
        }
        # Without `site`, which would find the repository.
        command = [sys.executable, "-S", *words]
        return subprocess.run(command, cwd=tree, env=given, capture_output=True, text=True, check=False)

    def run(self, tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
        return self.execute(tree, "-m", "cli", *words)

    def test_the_help_is_there(self, tree: Path) -> None:
        """All commands are listed."""
        done = self.run(tree, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert all(command in done.stdout for command in COMMANDS)

    def test_every_process_is_there(self, tree: Path) -> None:
        """Modules of each process are in the image, and nothing of the repository is imported instead."""
        modules = ["api.app", *(f"worker.{name}.loop" for name in ("dispatcher", "ingester", "renderer"))]
        names = ", ".join([*modules, "worker.pipeline.process"])
        done = self.execute(tree, "-c", f"import sys, {names}; print(*sys.modules['api'].__path__)")
        assert (done.stdout.strip(), done.stderr) == (str(tree / "api"), "")

    @pytest.mark.parametrize("command", NEEDS)
    def test_what_is_not_there_says_so(self, tree: Path, command: str) -> None:
        """A command for development is one sentence with the remedy, whatever its options."""
        done = self.run(tree, command, "--port", "1")
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert f"`cutout {command}` is for development, and not in this image" in done.stderr

    def test_nothing_else_imports_them(self) -> None:
        """Only the commands for development import the packages for development."""
        importers = {
            str(path.relative_to(ROOT))
            for package in set(PACKAGES) - DEVELOPMENT
            for path in (ROOT / package).rglob("*.py")
            if DEVELOPMENT & set(_imported(ast.parse(path.read_text())))
        }
        assert importers == {"cli/up.py", "cli/demo.py", "cli/stack.py"}


class TestDependencies:
    @pytest.mark.parametrize("package", PACKAGES)
    def test_imports_only_what_the_image_has(self, package: str) -> None:
        """Everything a package imports is its own, the standard library's, or locked for production."""
        locked = _locked(ROOT / "requirements.lock")
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
            "local/binaries.py",
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
