import json
import os
import pwd
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from cli.user import user
from tests.cli.command import Cutout
from tests.support.fates import Fates

MakeBatch = Callable[[str, Fates], str]
ME = pwd.getpwuid(os.getuid()).pw_name


class TestActions:
    def test_are_listed_with_who_and_why(self, cutout: Cutout, make_batch: MakeBatch) -> None:
        """A line each, latest first; in a pipe plain text."""
        batch = make_batch("b", {"a": None})
        cutout("pause", "--reason", "[red]the bill")
        cutout("budget", batch, "5")
        ran = cutout("actions")
        budget, pause = ran.stdout.splitlines()
        assert (ran.code, ran.stderr) == (0, "")
        assert f"  command {ME}  pause_all  everything  1 changed  reason: [red]the bill" in pause
        assert f"  command {ME}  budget  batch {batch}  1 changed  at most 5 credits" in budget
        assert "\x1b" not in ran.stdout

    def test_are_objects_for_programs(self, cutout: Cutout, make_batch: MakeBatch) -> None:
        batch = make_batch("b", {"a": None})
        cutout("cancel", batch)
        (found,) = [json.loads(line) for line in cutout("actions", "--json").stdout.splitlines()]
        assert (found["kind"], found["batch_id"], found["changed"]) == ("cancel", batch, 1)
        assert (found["actor_role"], found["actor"], found["reason"]) == ("command", ME, None)
        assert found["finished_at"] is not None

    def test_are_filtered(self, cutout: Cutout, make_batch: MakeBatch) -> None:
        first, second = make_batch("a", {"a": None}), make_batch("b", {"b": None})
        for batch in (first, second):
            cutout("pause", "--batch", batch)
        cutout("resume", "--batch", first)

        def count(*options: str) -> int:
            ran = cutout("actions", *options)
            assert ran.code == 0, ran
            return len(ran.stdout.splitlines())

        assert (count(), count("--batch", first), count("--limit", "1")) == (3, 2, 1)
        assert (count("--kind", "pause"), count("--kind", "pause", "--kind", "resume")) == (2, 3)
        assert (count("--who", ME), count("--who", "nobody-else")) == (3, 0)
        assert (count("--since", "5m"), count("--since", "2099-01-01"), count("--since", "1970-01-01")) == (
            3,
            0,
            3,
        )
        assert cutout("actions", "--since", "yesterday").code == 2
        assert cutout("actions", "--kind", "unknown").code == 2
        assert cutout("actions", "--batch", "ffff").code == 2

    def test_show_no_control_characters(self, cutout: Cutout, engine: Engine) -> None:
        """Whoever wrote them into the table."""
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO actions (kind, actor_role, actor, reason, finished_at)"
                    " VALUES ('pause_all', 'operator', E'a\\x1b[2K', E'b\\nc', now())"
                )
            )
        (line,) = cutout("actions").stdout.splitlines()
        assert "operator a\\x1b[2K" in line
        assert "reason: b\\nc" in line


class TestTheUser:
    def test_is_the_process_s_whatever_its_environment_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """But for root, whose sudo says who it was."""
        monkeypatch.setattr(os, "getuid", lambda: 0)
        monkeypatch.setenv("SUDO_USER", "ana")
        assert user() == "root by sudo of ana"
        monkeypatch.setattr(os, "getuid", lambda: 12_345_678)
        assert user() == "12345678"


class TestOperatorsKeys:
    def test_are_made_with_their_rights(self, cutout: Cutout) -> None:
        """All of them, one, or to look only; the list says operator in place of the producer."""
        for options, scopes in (
            ((), "operate,spend,view"),
            (("--read-only",), "view"),
            (("--scope", "operate"), "operate"),
        ):
            made = cutout("keys", "make", "--operator", "ana", *options)
            first, key = made.stdout.splitlines()
            assert first.split()[1:] == ["operator", scopes, "ana"]
            assert key.startswith("cutout_")
        listed = cutout("keys", "list").stdout.splitlines()
        assert [line.split()[-2:] for line in listed] == [["operator", "ana"]] * 3
        assert cutout("keys", "revoke", listed[0].split()[0]).stdout.endswith("is revoked\n")
        assert cutout("keys", "list").stdout.split()[2] == "revoked"

    @pytest.mark.parametrize(
        "options",
        [
            ("shop", "--operator", "ana"),
            ("--operator", "ana", "--scope", "read"),
            ("--operator", "ana", "--read-only", "--scope", "spend"),
            ("--operator", "a\nb"),
            ("shop", "--read-only"),
            ("shop", "--scope", "view"),
            (),
        ],
    )
    def test_that_make_no_sense_are_refused(self, cutout: Cutout, options: tuple[str, ...]) -> None:
        ran = cutout("keys", "make", *options)
        assert ran.code == 2
        assert cutout("keys", "list").stdout == ""

    def test_that_end_soon_are_told_by_the_doctor(self, cutout: Cutout) -> None:
        cutout("keys", "make", "--operator", "ana", "--days", "3")
        assert "the key 'ana' of an operator expires at" in cutout("doctor").stdout
