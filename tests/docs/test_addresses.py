"""Where packages come from is the machine's own affair."""

import re
import subprocess

import pytest

from tests.docs.pages import ROOT

# In pieces, so that this file is not what it looks for.
INDEXES = [
    f"{name}.{domain}"
    for name, domain in (
        ("py" + "pi", "org"),
        ("python" + "hosted", "org"),
        ("npm" + "js", "org"),
        ("ana" + "conda", "org"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("proxy.go" + "lang", "org"),
        ("repo.maven" + ".apache", "org"),
    )
]


def test_no_file_has_the_address_of_a_package_index() -> None:
    """No file of the repository, tracked or about to be, holds the host name of a package index."""
    # Whoever runs the tests need not own the files.
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    named = re.compile("|".join(map(re.escape, INDEXES)).encode(), re.IGNORECASE)
    paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    assert len(paths) > 100
    assert [path for path in paths if path.is_file() and named.search(path.read_bytes())] == []


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_lock_files_have_names_versions_and_hashes_alone(name: str) -> None:
    """A lock file names no address and sets no option: every line is a requirement or one of its hashes."""
    lines = (ROOT / name).read_text().splitlines()
    line = re.compile(
        r'[a-z0-9-]+(\[[a-z,-]+\])?==[\w.+!-]+( ; [\w .()<>=!\'"]+)? \\|    --hash=sha256:\w{64}( \\)?'
    )
    assert [wrong for wrong in lines if not line.fullmatch(wrong)] == []
