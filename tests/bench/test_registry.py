"""Registry of benches, their pages and their sizes."""

import importlib.util
from pathlib import Path

import pytest

from bench.readme import PAGES, marked
from bench.registry import BENCHES, Bench

ENTRY = "\nif __name__ == "
# Run by a bench of another module, in a process of its own.
HELPERS = {
    "bench",
    "bench.bare_loop",
    "bench.polling.server",
    "bench.results.measure",
    "bench.strangers.attacks",
    "bench.outputs.cost",
}


def entries() -> set[str]:
    """Modules of the folder that can be run."""
    found = set()
    for path in PAGES.rglob("*.py"):
        if ENTRY in path.read_text():
            parts = path.relative_to(PAGES.parent).with_suffix("").parts
            found.add(".".join(part for part in parts if part != "__main__"))
    return found


def test_every_bench_is_registered() -> None:
    """A module of this folder that can be run is a bench with a place, or a part of one."""
    assert entries() - HELPERS == {bench.module for bench in BENCHES}


@pytest.mark.parametrize("page", sorted({bench.page for bench in BENCHES}))
def test_pages_have_the_markers_of_their_benches(page: str) -> None:
    """One pair each, and none for a bench that does not exist."""
    text = (PAGES / page).read_text()
    assert sorted(marked(text)) == sorted(bench.name for bench in BENCHES if bench.page == page)
    assert text.count("\n<!-- end -->\n") == len(marked(text))


def test_other_pages_have_no_markers() -> None:
    """A table that nothing writes would look as if it were written."""
    pages = {bench.page for bench in BENCHES}
    others = [path for path in PAGES.rglob("*.md") if str(path.relative_to(PAGES)) not in pages]
    assert not [path for path in others if marked(path.read_text())]


@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: bench.name)
def test_a_bench_can_be_found(bench: Bench) -> None:
    """Its module exists, and its words for small sizes name a part that the module has."""
    spec = importlib.util.find_spec(bench.module)
    assert spec
    assert spec.origin
    source = "".join(path.read_text() for path in _sources(Path(spec.origin)))
    for word in (*bench.options, *bench.quick):
        assert word.isdigit() or f'"{word}"' in source, f"{bench.module} knows no {word}"


def _sources(origin: Path) -> list[Path]:
    return list(origin.parent.glob("*.py")) if origin.name == "__init__.py" else [origin]
