from sqlalchemy import Engine
from sqlalchemy.orm import Session

from jobs.producers import create_producer
from tests.cli.command import Cutout


class TestKeys:
    def test_are_shown_once(self, cutout: Cutout) -> None:
        """The key stands alone on the last line when it is made, and never in the list."""
        made = cutout("keys", "make", "[/shop]")
        assert made.code == 0
        first, key = made.stdout.splitlines()
        producer_id, name = first.split()
        assert (key[:7], name) == ("cutout_", "[/shop]")
        listed = cutout("keys", "list")
        assert (listed.code, listed.stdout.split()[0]) == (0, producer_id)
        assert listed.stdout.split()[2:] == ["valid", "[/shop]"]
        assert key not in listed.stdout

    def test_that_are_revoked_are_listed_so(self, cutout: Cutout, engine: Engine) -> None:
        """A second revoking finds nothing to revoke and exits 2, as does an id that is none."""
        with Session(engine) as session, session.begin():
            producer_id = create_producer(session, "shop")[0].id
        assert cutout("keys", "revoke", str(producer_id)).stdout == f"{producer_id} is revoked\n"
        assert cutout("keys", "list").stdout.split()[2] == "revoked"
        again = cutout("keys", "revoke", str(producer_id))
        assert (again.code, len(again.stderr.splitlines())) == (2, 1)
        assert f"no valid key belongs to {producer_id}" in again.stderr
        assert cutout("keys", "revoke", "shop").code == 2
