"""The compiler and generator of `clients/typescript`, installed as its lock file says."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2] / "clients" / "typescript"


class TypeScript:
    """A copy of `clients/typescript` with its packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("node_modules"))
        self._run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")

    def types_of(self, document: Path) -> str:
        """The types of an OpenAPI document, as the script `generate` makes them."""
        made = self.folder / "made.d.ts"
        self._run("npx", "openapi-typescript", str(document), "--default-non-nullable=false", f"-o={made}")
        return made.read_text()

    def compile(self, **programs: str) -> Path:
        """Compile programs beside those of the folder, by name; returns the folder with JavaScript."""
        for name, text in programs.items():
            (self.folder / f"{name}.ts").write_text(text)
        built = self.folder / "built"
        self._run("npx", "tsc", "--outDir", str(built))
        return built

    def _run(self, *command: str) -> None:
        ran = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def install(folder: Path) -> TypeScript:
    """Install into a folder that does not exist yet. Without node the test is skipped, but not in CI."""
    missing = [name for name in ("node", "npm", "npx") if not shutil.which(name)]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"{' and '.join(missing)} missing: install Node.js 20 to test the types for TypeScript")
    return TypeScript(folder)
