from pathlib import Path

import pytest

from cli.main import COMMANDS
from tests.cli.command import Cutout

KEYS = ["keys make", "keys list", "keys revoke", "keys quota"]
# What needs the settings, and enough words that nothing else is at fault.
OF_SETTINGS = [
    "ingest .", "status 0", "results 0", "ledger", "retry 0", "cancel 0", "doctor", "keys list",
    "keys make x", "migrate", "api", "dispatcher", "worker",
]  # fmt: skip


@pytest.fixture
def cutout(tmp_path: Path) -> Cutout:
    """The command without any server; the settings name some, where nothing listens."""
    settings = {
        "CUTOUT_DATABASE_URL": "postgresql://cutout:hidden-word@127.0.0.1:1/cutout",
        "CUTOUT_REDIS_URL": "redis://:hidden-word@127.0.0.1:1/0",
        "CUTOUT_ENDPOINT_API_KEYS": "hidden-word",
    }
    return Cutout(settings, tmp_path)


class TestHelp:
    @pytest.mark.parametrize("command", ["", *COMMANDS, *KEYS])
    def test_is_there_for_every_command(self, cutout: Cutout, command: str) -> None:
        """`--help` needs no settings, exits 0 and says how the command is used."""
        ran = cutout(*command.split(), "--help", settings={"CUTOUT_DATABASE_URL": ""})
        assert (ran.code, ran.stderr) == (0, "")
        assert "usage:" in ran.stdout.lower()
        assert all(word in ran.stdout for word in command.split())

    def test_is_what_the_bare_command_shows(self, cutout: Cutout) -> None:
        """`cutout` alone lists its commands and the exit codes."""
        ran = cutout()
        assert ran.code == 2
        assert all(command in ran.stdout for command in COMMANDS)
        assert "Exit codes" in ran.stdout

    def test_is_named_after_a_slip(self, cutout: Cutout) -> None:
        """A command that does not exist is named, with where to look."""
        ran = cutout("statsu")
        assert ran.code == 2
        assert "statsu" in ran.stderr
        assert "--help" in ran.stderr


class TestASetting:
    @pytest.mark.parametrize("command", OF_SETTINGS)
    def test_that_is_missing_is_one_line(self, cutout: Cutout, command: str) -> None:
        """The line names the variable, and the exit code is 2."""
        ran = cutout(*command.split(), settings={"CUTOUT_DATABASE_URL": ""})
        assert (ran.code, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
        assert ran.stderr.startswith("CUTOUT_DATABASE_URL is missing (")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("DATABASE_URL", "mysql://u:hidden-word@h/d"),
            ("REDIS_URL", "http://:hidden-word@h"),
            ("CALLS_PER_SECOND", "0"),
            ("CALLS_IN_FLIGHT", "many"),
            ("KEY_TEMPLATE", "cutouts/same.png"),
            ("ENDPOINT_API_KEYS", "hidden-word,hidden-word"),
        ],
    )
    def test_that_is_wrong_is_one_line(self, cutout: Cutout, name: str, value: str) -> None:
        """A wrong value is answered by its variable's name, and no secret is repeated."""
        ran = cutout("status", "0", settings={f"CUTOUT_{name}": value})
        assert (ran.code, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
        assert ran.stderr.startswith(f"CUTOUT_{name} ")
        assert "hidden-word" not in ran.stderr

    def test_each_gets_its_own_line(self, cutout: Cutout) -> None:
        """Two that are wrong are told at once."""
        ran = cutout("doctor", settings={"CUTOUT_REDIS_URL": "", "CUTOUT_CALLS_PER_SECOND": "-1"})
        assert (ran.code, len(ran.stderr.splitlines())) == (2, 2)

    @pytest.mark.parametrize("command", ["worker", "dispatcher"])
    def test_of_the_endpoint_s_key_is_needed_to_start(self, cutout: Cutout, command: str) -> None:
        """A process that calls the endpoint does not start without its key."""
        ran = cutout(command, settings={"CUTOUT_ENDPOINT_API_KEYS": ""})
        assert (ran.code, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
        assert ran.stderr.startswith("CUTOUT_ENDPOINT_API_KEYS is missing")

    def test_may_stand_in_a_file(self, cutout: Cutout, tmp_path: Path) -> None:
        """`.env` in the directory is read; the environment goes before it."""
        (tmp_path / ".env").write_text("CUTOUT_CALLS_PER_SECOND=0\nCUTOUT_DATABASE_URL=mysql://h/d\n")
        ran = cutout("status", "0")
        assert (ran.code, len(ran.stderr.splitlines())) == (2, 1)
        assert ran.stderr.startswith("CUTOUT_CALLS_PER_SECOND ")


class TestADatabaseThatIsAway:
    @pytest.mark.parametrize(
        "command", ["status 0", "results 0", "ledger", "retry 0", "keys list", "ingest list.csv"]
    )
    def test_is_one_line(self, cutout: Cutout, tmp_path: Path, command: str) -> None:
        """The line says what does not answer and what to try, without the password."""
        (tmp_path / "list.csv").write_text("external_id,source\na,https://shop.example/a.jpg\n")
        ran = cutout(*command.split())
        assert (ran.code, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
        assert ran.stderr.startswith("the database does not answer: ")
        assert ran.stderr.endswith("try `cutout doctor`\n")


def test_the_module_is_the_command(cutout: Cutout) -> None:
    """`python -m cli` in a fresh interpreter ends as the forked commands of these tests do."""
    ran = cutout.ended(cutout.start("status", "0"))
    assert ran == cutout("status", "0")
