"""Types for TypeScript: those that are committed are of this API, and the example works with them."""

import json

import pytest

from tests.docs.pages import ROOT
from tests.support.typescript import CLIENT, TypeScript, install

DOCUMENT = ROOT / "docs" / "reference" / "openapi.json"


@pytest.fixture(scope="module")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> TypeScript:
    """Compiler and generator."""
    return install(tmp_path_factory.mktemp("typescript") / "client")


@pytest.mark.long("installs packages of npm")
def test_the_types_are_those_of_the_document(typescript: TypeScript) -> None:
    """The committed file is what the generator makes of the committed document."""
    assert typescript.types_of(DOCUMENT) == (CLIENT / "api.d.ts").read_text(), "renew it by `make types`"


@pytest.mark.long("installs packages of npm")
def test_the_example_compiles(typescript: TypeScript) -> None:
    """Under strict rules; `tests/docs/test_examples.py` runs it. A member that is none does not compile."""
    assert (typescript.compile() / "example.js").is_file()
    wrong = 'import { ask, type Job } from "./cutout.js";\nconsole.log((await ask<Job>("GET", "/")).stat);\n'
    with pytest.raises(AssertionError, match="Property 'stat' does not exist"):
        typescript.compile(wrong=wrong)


def test_the_lock_file_has_hashes_and_no_index() -> None:
    """Each package has its version and hash, and none the address that it came from."""
    lock = json.loads((CLIENT / "package-lock.json").read_text())
    assert "resolved" not in json.dumps(lock)
    packages = {name: found for name, found in lock["packages"].items() if name}
    assert packages
    assert [name for name, found in packages.items() if "integrity" not in found] == []
    wanted = json.loads((CLIENT / "package.json").read_text())["devDependencies"]
    assert lock["packages"][""]["devDependencies"] == wanted
    assert all(version[0].isdigit() for version in wanted.values()), "name exact versions"
