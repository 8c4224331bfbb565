"""Whatever a person may name: a clear word, bounded memory and time, and a state to go on from."""

import gzip
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tests.cli.command import Cutout, Ran

WEB = "https://shop.example/a.jpg"
WITHIN_S = 30.0
# Twice what it needs for any catalog.
MOST_BYTES = 1_500_000_000
XML_BOMB = """<?xml version="1.0"?>
<!DOCTYPE rss [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<rss><channel><item><g:id>&b;</g:id></item></channel></rss>
"""


def bounded(cutout: Cutout, *arguments: str) -> Ran:
    """The command with its memory and time bounded by the system."""
    return cutout("ingest", *arguments, most_bytes=MOST_BYTES, within_s=WITHIN_S)


def batches(engine: Engine) -> int:
    with engine.connect() as connection:
        count: int = connection.execute(text("SELECT count(*) FROM batches")).scalar_one()
        return count


def zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(4):
            archive.writestr(f"{n}.png", b"\0" * 40_000_000)


def gzip_bomb(path: Path) -> None:
    header, megabyte = b"external_id,source\n", (b" " * 999 + b"\n") * 1000
    path.write_bytes(gzip.compress(header) + gzip.compress(megabyte) * 300)


def sparse(path: Path) -> None:
    """5 GB without a newline that take no room on the disk."""
    with path.open("wb") as file:
        file.write(b"external_id,source\na,https://shop.example/a.jpg\nb,")
        file.truncate(5_000_000_000)


def of(content: str | bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "zip bomb": (zip_bomb, "which pictures never do"),
    "gzip bomb": (gzip_bomb, "which catalogs never do"),
    "5 GB without newline": (sparse, "line 3 of list has more than 1,048,576 characters"),
    "XML bomb": (of(XML_BOMB), "declares a document type"),
    "external entity": (
        of('<!DOCTYPE rss SYSTEM "file:///etc/passwd"><rss/>'),
        "declares a document type",
    ),
    "NUL bytes": (of(b"external_id,\0source\0\0\n" * 5), "NUL"),
    "header only": (of("external_id,source\n"), "has no rows below its first line"),
    "nothing": (of(""), "is empty"),
    "pipe": (os.mkfifo, "is a pipe or a device"),
    "directory without pictures": (Path.mkdir, "holds no pictures"),
}


class TestBadInput:
    @pytest.mark.usefixtures("bucket")
    @pytest.mark.parametrize("bad", list(BAD))
    def test_is_one_line_and_no_batch(self, cutout: Cutout, engine: Engine, tmp_path: Path, bad: str) -> None:
        """The message names the fault and the remedy, in bounded time and memory; nothing is left behind."""
        make, said = BAD[bad]
        make(tmp_path / "list")
        ran = bounded(cutout, "list")
        assert (ran.code, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1), ran.stderr
        assert said in ran.stderr
        assert batches(engine) == 0

    @pytest.mark.usefixtures("bucket")
    def test_of_devices_is_refused(self, cutout: Cutout) -> None:
        """An endless stream is not begun."""
        ran = bounded(cutout, "/dev/zero")
        assert (ran.code, len(ran.stderr.splitlines())) == (2, 1)
        assert "is a pipe or a device" in ran.stderr

    @pytest.mark.usefixtures("bucket")
    def test_of_ten_thousand_rejects_in_a_row_takes_the_rest(self, cutout: Cutout, tmp_path: Path) -> None:
        """They stand in the file of rejects, one line on stderr counts them, and the good rows are jobs."""
        rows = f"a,{WEB}\n" + "".join(f"{n},none.jpg\n" for n in range(10_000)) + f"b,{WEB}\n"
        (tmp_path / "list.csv").write_text(f"external_id,source\n{rows}")
        ran = cutout("ingest", "list.csv")
        # Every 5 s it says how far it is.
        said = [line for line in ran.stderr.splitlines() if not re.match(r"[\d,]+ rows, ", line)]
        assert (ran.code, len(said)) == (1, 1)
        assert ": 2 enqueued, 10,000 rejected" in ran.stdout
        assert len((tmp_path / "rejects.csv").read_text().splitlines()) == 10_001

    @pytest.mark.usefixtures("bucket")
    def test_with_a_full_disk_can_be_gone_on_with(
        self, cutout: Cutout, engine: Engine, tmp_path: Path
    ) -> None:
        """The rows before are enqueued, the batch is named, and the same with another file ends it."""
        rows = "".join(f"{n},{WEB}\n" for n in range(10_000)) + "bad,none.jpg\nlast," + WEB + "\n"
        (tmp_path / "list.csv").write_text(f"external_id,source\n{rows}")
        ran = cutout("ingest", "list.csv", "--rejects", "/dev/full")
        assert ran.code == 2
        assert "10,000 jobs are enqueued, as batch" in ran.stderr
        assert "/dev/full cannot be written: No space left on device; make room" in ran.stderr
        again = cutout("ingest", "list.csv")
        assert "continues: 10,000 rows were read" in again.stderr
        assert ": 10,001 enqueued, 1 rejected, 0 duplicates" in again.stdout
        assert batches(engine) == 1

    @pytest.mark.usefixtures("bucket")
    def test_in_the_middle_of_a_manifest_keeps_what_was_before(self, cutout: Cutout, tmp_path: Path) -> None:
        """Whole chunks stay, the batch is named with what to do, and it can be withdrawn."""
        rows = "".join(f"{n},{WEB}\n" for n in range(10_500))
        (tmp_path / "list.csv").write_text(f'external_id,source\n{rows}a,"open\n')
        ran = cutout("ingest", "list.csv")
        assert ran.code == 2
        assert "10,000 jobs are enqueued, as batch" in ran.stderr
        assert "the quote that opens in line 10502" in ran.stderr
        (batch_id,) = re.findall(r"`cutout cancel (\S+)`", ran.stderr)
        assert "continues: 10,000 rows were read" in cutout("ingest", "list.csv").stderr
        assert cutout("cancel", batch_id).stdout == "10,000 cancelled\n"
        assert batch_id not in cutout("ingest", "list.csv").stderr

    @pytest.mark.usefixtures("bucket")
    def test_stops_a_strict_ingest_with_its_own_exit_code(
        self, cutout: Cutout, engine: Engine, tmp_path: Path
    ) -> None:
        """1, the place and the reason; nothing of that chunk is stored."""
        (tmp_path / "list.csv").write_text(f"external_id,source\na,{WEB}\nb,none.jpg\n")
        ran = cutout("ingest", "list.csv", "--strict")
        assert (ran.code, batches(engine)) == (1, 0)
        assert ran.stderr.startswith("stopped by --strict at line 3, source: 'none.jpg' is no file")

    @pytest.mark.parametrize(
        ("address", "said"),
        [("s3://{}/x/", "does not exist|there is no bucket"), ("s3://other/x/", "CUTOUT_SOURCE_BUCKETS")],
    )
    def test_of_a_bucket_that_is_missing_or_not_allowed(
        self, cutout: Cutout, environment: dict[str, str], address: str, said: str
    ) -> None:
        """One line that names the setting or the bucket."""
        ran = cutout("ingest", address.format(environment["CUTOUT_S3_BUCKET"]))
        assert (ran.code, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
        assert any(word in ran.stderr for word in said.split("|"))

    @pytest.mark.parametrize(
        ("option", "said"),
        [
            (("--map", "colour=x"), "--map: 'colour' cannot be mapped"),
            (("--priority", "urgent"), "--priority: 'urgent' is not one of"),
            (("--rejects", "list.csv"), "is not a rejects file"),
        ],
    )
    def test_in_an_option_is_one_line(
        self, cutout: Cutout, tmp_path: Path, option: tuple[str, str], said: str
    ) -> None:
        """The manifest itself is never taken for the file of rejects."""
        (tmp_path / "list.csv").write_text(f"external_id,source\na,{WEB}\n")
        ran = cutout("ingest", "list.csv", *option)
        assert (ran.code, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
        assert said in ran.stderr
        assert (tmp_path / "list.csv").exists()
