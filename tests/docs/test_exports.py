"""Each page on an export: its command, run on its export, makes the pictures that it shows."""

import shlex
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from cli.ingest_options import columns_of, delimiter_of
from cutout.ingest import Ingest, IngestOptions, ReadOptions, RejectsFile, open_source
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.docs.pages import ROOT, blocks

FOLDER = ROOT / "docs" / "how-to" / "exports"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "index.md")
OVERVIEW = FOLDER / "index.md"


def reading_of(words: list[str]) -> ReadOptions:
    """The reading of a manifest that the command's options ask for."""
    options = dict(zip(words, [*words[1:], ""][: len(words)], strict=True))
    return ReadOptions(
        columns_of(options.get("--map", "")),
        options.get("--encoding"),
        "--keys" in words,
        delimiter=delimiter_of(options.get("--delimiter")),
        many="--many" in words,
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_mapping_that_is_copied_works(
    engine: Engine, bucket: Bucket, settings: Settings, tmp_path: Path, page: Path
) -> None:
    """Every row of the example is a picture under the id that the page says, and none is rejected."""
    content = page.read_text()
    (export,) = blocks(content, "csv") or blocks(content, "json")
    (expected,) = blocks(content, "text")
    command = next(block for block in blocks(content, "") if block.startswith("cutout ingest"))
    _, _, name, *words = shlex.split(command)
    (tmp_path / name).write_text(export, encoding="utf-8")
    order = IngestOptions("n", reading=reading_of(words))
    source = open_source(str(tmp_path / name), order.reading, settings, bucket)
    with closing(source), RejectsFile(tmp_path / "rejects.csv") as rejects:
        done = Ingest(engine, bucket, source, order, rejects).run(
            on_resume=lambda *_: None, watch=lambda _: None
        )
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT external_id, source FROM jobs ORDER BY id"))
        assert [" ".join(row) for row in rows] == expected.splitlines()
    assert (done.counts.rejects, done.counts.duplicates) == (0, 0)


def test_every_page_is_in_the_overview() -> None:
    """With its mapping or without."""
    overview = OVERVIEW.read_text()
    assert all(f"({page.name})" in overview for page in PAGES)
    assert len(PAGES) >= 7
