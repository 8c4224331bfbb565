"""`cutout calibrate`: it spends credits, so it asks; then it stores what it found."""

from pathlib import Path

import pytest

from cutout.models import CALIBRATIONS
from tests.cli.command import Cutout
from tests.cli.test_running_system import batch_in
from tests.support.pictures import encoded, plain
from tests.support.sandbox import Sandbox
from tests.support.system import System


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Eight pictures that the endpoint takes, and a text beside them."""
    directory = tmp_path / "pictures"
    directory.mkdir()
    for number in range(8):
        (directory / f"{number}.png").write_bytes(encoded(plain(60 + number, 40), "PNG"))
    (directory / "README.md").write_text("These are pictures.\n")
    return directory


@pytest.mark.usefixtures("bucket")
class TestBeforeSpending:
    def test_says_the_price_and_ends_without_an_answer(self, cutout: Cutout, pictures: Path) -> None:
        """Nobody answers where it is piped: nothing is spent."""
        ran = cutout("calibrate", str(pictures))
        assert ran.code != 0
        assert "this spends up to 32 credits, about $0.10, at http" in ran.stdout

    def test_needs_eight_pictures(self, cutout: Cutout, pictures: Path) -> None:
        (pictures / "0.png").unlink()
        ran = cutout("calibrate", str(pictures), "--yes")
        assert (ran.code, ran.stderr) == (
            2,
            f"{pictures} has 7 pictures that the endpoint takes; give 8\n",
        )


class TestARunningSystem:
    def test_buys_32_and_stores_that_the_forms_are_alike(
        self, system: System, sandbox: Sandbox, pictures: Path, tmp_path: Path
    ) -> None:
        """The sandbox makes its forms of its RGBA: the differences are 0; a second time it buys anew."""
        sandbox.reset()
        cutout = Cutout(system.environment, tmp_path)
        ran = cutout("calibrate", str(pictures), "--yes")
        assert ran.code == 0, ran.stderr
        assert "0.00/0" in ran.stdout
        assert sandbox.charges() == 32
        with system.engine.connect() as connection:
            (found,) = connection.execute(CALIBRATIONS.select()).all()
        assert found.endpoint.startswith(sandbox.url)
        assert len(found.found["pictures"]) == 8

    @pytest.mark.long("32 calls of a running system")
    def test_compares_an_earlier_run_s_purchases_for_nothing(
        self, system: System, sandbox: Sandbox, pictures: Path, tmp_path: Path
    ) -> None:
        """Such as those of a run that was interrupted; other pictures are refused with the remedy."""
        sandbox.reset()
        cutout = Cutout(system.environment, tmp_path)
        ran = cutout("calibrate", str(pictures), "--yes")
        batch_id = batch_in(ran.stdout)
        with system.engine.begin() as connection:
            connection.execute(CALIBRATIONS.delete())
        again = cutout("calibrate", str(pictures), "--batch", batch_id)
        assert (again.code, again.stdout.splitlines()[-1]) == (0, ran.stdout.splitlines()[-1])
        with system.engine.connect() as connection:
            assert len(connection.execute(CALIBRATIONS.select()).all()) == 1
        assert sandbox.charges() == 32
        other = cutout("calibrate", "--batch", batch_id)
        assert (other.code, "give the directory that it was made of" in other.stderr) == (2, True)
