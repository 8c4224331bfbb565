import csv
import os
import pty
import re
from pathlib import Path

import httpx
import pytest

from tests.cli.command import Cutout
from tests.support.sandbox import Sandbox
from tests.support.system import System


@pytest.fixture
def cutout(system: System, sandbox: Sandbox, tmp_path: Path) -> Cutout:
    """The command, at the running system."""
    sandbox.reset()
    return Cutout(system.environment, tmp_path)


def batch_in(said: str) -> str:
    """The id of the batch that a command named."""
    found = re.search(r"batch ([0-9a-f-]{36})", said)
    assert found, said
    return found[1]


def read_terminal(leader: int) -> str:
    """Output to a terminal, until its last writer is gone."""
    said = b""
    try:
        while chunk := os.read(leader, 65536):
            said += chunk
    except OSError:  # how Linux says that nobody writes any more
        pass
    finally:
        os.close(leader)
    return said.decode()


def post_batch(system: System, key: str) -> int:
    """The status that the API answers to a new batch under this key."""
    url, headers = f"{system.client.base_url}/v1/batches", {"Authorization": f"Bearer {key}"}
    return httpx.post(url, json={"name": "b"}, headers=headers).status_code


class TestARunningSystem:
    def test_carries_a_directory_from_ingest_to_results(
        self, cutout: Cutout, sandbox: Sandbox, picture: bytes, tmp_path: Path
    ) -> None:
        """Two pictures in two forms: plain lines when piped, exit code 0, four credits, four rows."""
        (tmp_path / "photos").mkdir()
        for name in ("hat.png", "shoe.png"):
            (tmp_path / "photos" / name).write_bytes(picture)
        forms = ("--return-form", "rgba", "--return-form", "mask")
        ran = cutout.ended(cutout.start("ingest", "photos", *forms, "--wait"))
        assert (ran.code, ran.stderr) == (0, "")
        batch_id = batch_in(ran.stdout)
        first, *progress = ran.stdout.splitlines()
        assert first == f"batch {batch_id}: 4 enqueued, 0 rejected, 0 duplicates"
        lines = [line for line in progress if not line.startswith((" ", "batch "))]
        assert all(
            re.fullmatch(r"[0-4] of 4 done, 0 failed, 0 held, [0-4] credits?.*", line) for line in lines
        )
        assert lines[-1].startswith("4 of 4")
        # The pictures were sent as they are: RGBA is what was bought, and the masks are made of it.
        assert lines[-1].endswith("; outputs: 2 of 2 done, 0 failed")
        assert f"batch {batch_id}  photos: 4 of 4 done; 4 succeeded" in progress
        assert sandbox.charges() == 4

        assert cutout("status", batch_id).code == 0
        assert cutout("results", batch_id, "-o", "out.csv").code == 0
        with (tmp_path / "out.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(row["external_id"], row["return_form"]) for row in rows] == [
            ("hat", "rgba"), ("hat", "mask"), ("shoe", "rgba"), ("shoe", "mask"),
        ]  # fmt: skip
        for row in rows:
            assert (row["state"], row["credits"], row["attempts"]) == ("succeeded", "1", "1")
            assert row["request_id"]
            shown = cutout("status", row["job_id"])
            assert (shown.code, f"  {row['key']}  {row['width']}x{row['height']} " in shown.stdout) == (
                0,
                True,
            )

    def test_names_what_failed_and_can_take_it_again(
        self, cutout: Cutout, sandbox: Sandbox, picture: bytes, tmp_path: Path
    ) -> None:
        """A text named .jpg fails without a call, the rest succeeds, and the exit code is 1."""
        (tmp_path / "good.png").write_bytes(picture)
        (tmp_path / "text.jpg").write_text("not a picture")
        ran = cutout("ingest", ".", "--wait")
        batch_id = batch_in(ran.stdout)
        assert ran.code == 1
        assert "2 of 2 done; 1 succeeded, 1 failed\n" in ran.stdout
        (failure,) = [line for line in ran.stdout.splitlines() if line.startswith("  failed")]
        assert re.fullmatch(r"  failed text \(rgba\): [A-Z_]+: .+", failure)
        assert sandbox.charges() == 1

        assert cutout("retry", batch_id).stdout == "1 back in the queue\n"

    @pytest.mark.long("runs everything on a terminal")
    def test_shows_a_bar_on_a_terminal(self, cutout: Cutout, picture: bytes, tmp_path: Path) -> None:
        """The bar ends full and is followed by the counts, within the terminal's 80 columns."""
        (tmp_path / "good.png").write_bytes(picture)
        leader, follower = pty.openpty()
        cutout.environment["TERM"] = "xterm"
        cutout.environment["COLUMNS"] = "80"
        process = cutout.start("ingest", ".", "--wait", stdout=follower)
        os.close(follower)
        said = read_terminal(leader)
        assert cutout.ended(process).code == 0
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\r", re.sub(r"\x1b\[[0-9;]*m", "", said))
        bars = [line for line in re.split(r"[\r\n]+", plain) if "━" in line]
        assert "1/1 0 failed, 0 held" in bars[-1]
        assert max(map(len, bars)) <= 80
        assert "1 of 1 done; 1 succeeded" in plain

    @pytest.mark.long("runs everything; tests/api/test_keys.py has the rules")
    def test_knows_a_key_until_it_is_revoked(self, cutout: Cutout, system: System) -> None:
        """The API takes the key that `keys make` printed, and answers 401 after `keys revoke`."""
        key_id, *_, key = cutout("keys", "make", "shop").stdout.split()
        assert post_batch(system, key) == 201
        assert cutout("keys", "revoke", key_id).code == 0
        assert post_batch(system, key) == 401
