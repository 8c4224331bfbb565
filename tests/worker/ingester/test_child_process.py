"""Requests whose reader died: read by a child process, and refused at the third death."""

import os
import signal
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from cutout.producers.producers import set_quota
from cutout.queue.enqueue import NewJob, enqueue
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.support.ports import free_port
from tests.support.system import System, wait_until
from tests.worker.ingester.ingesting import Desk
from tests.worker.wire import serving, silent
from worker.ingester.loop import MOST_DEATHS, Ingester


@pytest.fixture
def _inherited(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that a child process inherits from its ingester."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


class TestAFileThatEndsItsReader:
    def test_is_refused_at_its_third_death(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket
    ) -> None:
        """No further process reads it; its producer gets an error with a code."""
        batch_id = desk.upload(None)
        desk.set_deaths(batch_id, MOST_DEATHS)
        assert Ingester(ingester_settings, desk.engine, bucket).serve()
        assert desk.error(batch_id).startswith("SOURCE_KILLS_INGESTER|the process that read it ended")

    @pytest.mark.usefixtures("_inherited")
    def test_is_read_by_a_child_process_after_the_first(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket
    ) -> None:
        """There a request that only ran beside the file is read to its end."""
        batch_id = desk.upload(None)
        desk.set_deaths(batch_id, 1)
        assert Ingester(ingester_settings, desk.engine, bucket).serve()
        assert desk.is_read(batch_id)

    @pytest.mark.usefixtures("_inherited")
    def test_keeps_its_deaths_while_it_is_delayed(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket
    ) -> None:
        """Otherwise it could end the ingester between two delays, as often as its producer has no quota."""
        producer = desk.producer("a")
        with Session(desk.engine) as session, session.begin():
            set_quota(session, producer, 1)
            enqueue(session, NewJob("https://shop.example/a.jpg"), producer_id=producer)
        batch_id = desk.upload(producer)
        desk.set_deaths(batch_id, 1)
        assert Ingester(ingester_settings, desk.engine, bucket).serve()
        assert desk.read("code", batch_id) == "QUOTA_REACHED"
        assert desk.read("deaths", batch_id) == 1

    @pytest.mark.usefixtures("_inherited")
    def test_is_not_at_fault_where_postgres_is_unreachable(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The child process ends, and no death is counted."""
        monkeypatch.setenv("CUTOUT_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port()}/none")
        batch_id = desk.upload(None)
        desk.set_deaths(batch_id, 1)
        assert Ingester(ingester_settings, desk.engine, bucket).serve()
        assert desk.read("deaths", batch_id) == 1

    def test_loses_its_deaths_once_it_advances(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket
    ) -> None:
        """A stored chunk resets the count."""
        batch_id = desk.upload(None)
        assert Ingester(ingester_settings, desk.engine, bucket).serve()
        assert desk.read("deaths", batch_id) == 0

    @pytest.mark.long("starts and kills five processes; the others of this class set the deaths")
    def test_ends_three_processes_and_no_more(
        self, environment: dict[str, str], desk: Desk, tmp_path: Path
    ) -> None:
        """By the kernel's signal; the second and third death are those of a child process only."""
        with serving(silent) as address:
            environment["CUTOUT_SOURCE_PRIVATE_HOSTS"] = address.removeprefix("http://")
            deadly = desk.ask(desk.producer("a"), f"{address}/m.csv")
            system = System(environment, tmp_path, api=False)
            try:
                system.start("first", "ingester")
                wait_until(lambda: desk.read("deaths", deadly) == 1, "it is taken up")
                system.kill("first")
                good = desk.upload(desk.producer("b"))
                system.start("second", "ingester")
                for death in (2, 3):
                    wait_until(lambda death=death: desk.read("deaths", deadly) == death, "again")  # type: ignore[misc]
                    child = wait_for_child(system.processes["second"].pid)
                    if death == 2:
                        wait_until(lambda: desk.is_read(good), "another is read meanwhile")
                    os.kill(child, signal.SIGKILL)
                wait_until(lambda: desk.error(deadly).startswith("SOURCE_KILLS_INGESTER"), "it is refused")
                assert system.processes["second"].poll() is None
            finally:
                system.__exit__(None, None, None)


def wait_for_child(pid: int) -> int:
    """The process that the ingester started, once it exists."""
    found: list[int] = []

    def find() -> bool:
        found[:] = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
        return bool(found)

    wait_until(find, "a child")
    return found[0]
