import uuid

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cutout.producers.producers import create_producer
from tests.cli.command import Cutout


class TestKeys:
    def test_are_shown_once(self, cutout: Cutout) -> None:
        """The key stands alone on the last line when it is made, and never in the list."""
        made = cutout("keys", "make", "[/shop]")
        assert made.code == 0
        first, key = made.stdout.splitlines()
        key_id, _, producer_id, scopes, name = first.split()
        assert (key[:7], scopes, name) == ("cutout_", "enqueue,read", "[/shop]")
        listed = cutout("keys", "list")
        assert (listed.code, listed.stdout.split()[0]) == (0, key_id)
        assert listed.stdout.split()[2:] == [
            "valid", "enqueue,read", "never", "used", "producer", producer_id, "[/shop]",
        ]  # fmt: skip
        assert key not in listed.stdout

    def test_that_are_revoked_are_listed_so(self, cutout: Cutout, engine: Engine) -> None:
        """By the key's id or its producer's; a second time finds nothing, as does an id that is none."""
        with Session(engine) as session, session.begin():
            producer_id = create_producer(session, "shop")[0].id
        said = cutout("keys", "revoke", str(producer_id)).stdout
        assert said.startswith(f"{producer_id} is revoked\n")
        assert cutout("keys", "list").stdout.split()[2] == "revoked"
        again = cutout("keys", "revoke", str(producer_id))
        assert (again.code, len(again.stderr.splitlines())) == (2, 1)
        assert f"no valid key is or belongs to {producer_id}" in again.stderr
        assert cutout("keys", "revoke", "shop").code == 2

    def test_of_one_producer_may_be_several(self, cutout: Cutout) -> None:
        """Each with scopes and an end of its own; revoking one leaves the other."""
        first = cutout("keys", "make", "shop").stdout.split()
        options = ("--producer", first[2], "--scope", "read", "--scope", "admin", "--days", "3")
        second = cutout("keys", "make", "reports", *options).stdout.split()
        assert (second[2], second[3]) == (first[2], "admin,read")
        assert cutout("keys", "revoke", first[0]).code == 0
        states = [line.split()[2] for line in cutout("keys", "list").stdout.splitlines()]
        assert states == ["revoked", "valid"]
        unknown = cutout("keys", "make", "x", "--producer", str(uuid.UUID(int=1)))
        assert (unknown.code, "there is no producer" in unknown.stderr) == (2, True)
        assert cutout("keys", "make", "x", "--scope", "root").code == 2

    def test_have_a_quota_of_their_producer(self, cutout: Cutout) -> None:
        """It is shown in the list until it is taken away; what is no number is refused."""
        producer_id = cutout("keys", "make", "shop").stdout.split()[2]
        assert cutout("keys", "quota", producer_id, "1000").stdout.endswith("1,000 unfinished jobs\n")
        assert "quota 1,000" in cutout("keys", "list").stdout
        assert cutout("keys", "quota", producer_id, "none").stdout.endswith("any number of unfinished jobs\n")
        assert "quota" not in cutout("keys", "list").stdout
        for wrong in ("-1", "many", "9" * 30):
            assert cutout("keys", "quota", producer_id, "--", wrong).code == 2
        assert cutout("keys", "quota", str(uuid.UUID(int=1)), "5").code == 2

    def test_that_end_soon_are_marked(self, cutout: Cutout) -> None:
        """The list has the end of each valid key that has one, and marks those of the next 14 days."""
        cutout("keys", "make", "soon", "--days", "3")
        cutout("keys", "make", "later", "--days", "30")
        cutout("keys", "make", "endless")
        soon, later, endless = cutout("keys", "list").stdout.splitlines()
        assert (" expires 2" in soon, soon.endswith(" SOON")) == (True, True)
        assert (" expires 2" in later, "SOON" in later) == (True, False)
        assert "expires" not in endless

    def test_that_end_soon_are_known_to_the_doctor(self, cutout: Cutout) -> None:
        """With the key's name, its end and what to do; it is no fault yet."""
        producer_id = cutout("keys", "make", "soon", "--days", "3").stdout.split()[2]
        cutout("keys", "make", "later", "--days", "30")
        cutout("keys", "revoke", cutout("keys", "make", "gone", "--days", "3").stdout.split()[0])
        said = cutout("doctor").stdout
        (found,) = [line for line in said.splitlines() if " keys " in line and "next:" not in line]
        assert found.startswith("ok")
        assert f"the key 'soon' of producer {producer_id} expires at " in found
        assert f"next: give its user another: `cutout keys make NAME --producer {producer_id}`" in said
