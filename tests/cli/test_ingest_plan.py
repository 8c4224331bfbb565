import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from cutout.billing import accounts
from cutout.billing.accounts import account_name
from cutout.queue.blocks.blocked_jobs import unblock
from cutout.storage import Bucket
from tests.cli.command import Cutout

WEB = "https://shop.example/a.jpg"

Count = Callable[[str], int]


@pytest.fixture
def count(engine: Engine) -> Count:
    """Count of the rows of a table."""

    def read(table: str) -> int:
        with engine.connect() as connection:
            found: int = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608
            return found

    return read


def manifest(directory: Path, rows: int = 4) -> Path:
    path = directory / "list.csv"
    path.write_text("external_id,source\n" + "".join(f"{n},{WEB}?{n}\n" for n in range(rows)))
    return path


@pytest.mark.usefixtures("bucket")
class TestADryRun:
    def test_says_what_it_would_cost_and_stores_nothing(
        self, cutout: Cutout, engine: Engine, bucket: Bucket, tmp_path: Path, count: Count
    ) -> None:
        """Counts that add up, credits and money, the balance, and how long it takes at the present limit."""
        name = account_name(cutout.environment["CUTOUT_ENDPOINT_API_KEYS"])
        with engine.begin() as connection:
            accounts.ensure(connection, name)
            accounts.keep_credits(connection, name, 18_204)
            connection.execute(
                text(
                    "INSERT INTO limits"
                    " (account, level, open_calls, waiting, calls_per_second, latency_seconds)"
                    " VALUES (:name, 28, 0, 0, 14, 2)"
                ),
                {"name": name},
            )
        path = manifest(tmp_path, 1000)
        with path.open("a") as file:
            file.write(f"0,{WEB}?0\nno picture,\nbad,ftp://shop.example/a\n")
        ran = cutout("ingest", "list.csv", "--dry-run")
        assert ran.code == 1
        said = {" ".join(line.split()) for line in ran.stdout.splitlines()}
        assert "rows 1,003" in said
        assert "pictures 1,003" in said
        assert any(line.startswith("rejected 2 rejects.csv (1 ") for line in said)
        assert "duplicates 1" in said
        assert "already bought 0 0 credits" in said
        assert "to buy 1,000 1,000 credits, about $3.00 (balance 18,204)" in said
        assert "at 14.0 calls/s about 1 min 11 s" in said
        assert re.match(r"CSV manifest · [\d,]+ bytes\n", ran.stdout)
        assert [count(table) for table in ("jobs", "batches", "ingests")] == [0, 0, 0]
        assert bucket.keys("") == []
        assert (tmp_path / "rejects.csv").exists()

    def test_reads_a_directory_without_uploading_it(
        self, cutout: Cutout, bucket: Bucket, tmp_path: Path, picture: bytes
    ) -> None:
        """Its files are hashed; two that are the same would make one call."""
        (tmp_path / "photos").mkdir()
        for name in ("a.png", "b.png"):
            (tmp_path / "photos" / name).write_bytes(picture)
        ran = cutout("ingest", "photos", "--dry-run", settings={"CUTOUT_REUSE": "producer"})
        said = {" ".join(line.split()) for line in ran.stdout.splitlines()}
        assert ran.code == 0
        assert "same picture 1 0 credits" in said
        assert any(line.startswith("to buy 1 1 credit, about $0.00 (balance unknown)") for line in said)
        assert bucket.keys("") == []


@pytest.mark.usefixtures("bucket")
class TestAPlan:
    def test_waits_for_approval(self, cutout: Cutout, engine: Engine, tmp_path: Path) -> None:
        """The batch is stored and held; `cutout approve` lets it go, once."""
        manifest(tmp_path)
        ran = cutout("ingest", "list.csv", "--plan")
        found = re.search(r"`cutout approve (\S+)`", ran.stdout)
        assert ran.code == 0
        assert found
        assert "4 held" in cutout("status", found[1]).stdout
        assert cutout("retry", found[1]).code == 1
        assert cutout("approve", found[1][:18]).stdout.endswith("is approved: 4 jobs come into line\n")
        again = cutout("approve", found[1])
        assert (again.code, again.stderr) == (1, f"the batch {found[1]} waits for no approval\n")
        with engine.connect() as connection:
            assert unblock(connection) == 4
