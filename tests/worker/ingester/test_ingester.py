"""Several producers' ingests at the same time: nobody waits for what another one sent."""

import itertools
import os
import signal
import socket
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.ingest.pending import fail_request, next_request
from cutout.models.database import connect
from cutout.network import Patience
from cutout.producers.producers import set_quota
from cutout.queue.enqueue import NewJob, enqueue
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.support.machine import scaled
from tests.support.ports import free_port
from tests.support.system import System, wait_until
from tests.worker.ingester.ingesting import CSV, Desk
from tests.worker.wire import read_request, serving, silent
from worker.ingester import archive_space
from worker.ingester import reader as ingest_reader
from worker.ingester.fair_slots import FairSlots
from worker.ingester.loop import CONNECTIONS, MOST_DEATHS, Ingester
from worker.ingester.reader import Reader

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


def drip(connection: socket.socket) -> None:
    """A byte every now and then, for as long as anybody takes them."""
    read_request(connection)
    connection.sendall(HEAD + CSV)
    while True:
        connection.sendall(b"\n")
        time.sleep(0.1)


@pytest.fixture
def desk(engine: Engine, bucket: Bucket) -> Desk:
    """One for the test's database."""
    return Desk(engine, bucket)


@pytest.fixture
def ingester_settings(settings: Settings) -> Settings:
    """Manifests may lie on this machine."""
    return settings.model_copy(update={"source_private_hosts": ("127.0.0.1",)})


@pytest.fixture
def engine_of_its_own(settings: Settings) -> Iterator[Engine]:
    """With as many connections as an ingester has."""
    its_own = connect(settings.database_url.get_secret_value(), connections=CONNECTIONS)
    yield its_own
    its_own.dispose()


@pytest.fixture
def start(
    ingester_settings: Settings, engine_of_its_own: Engine, bucket: Bucket
) -> Iterator[Callable[..., Callable[[], bool]]]:
    """Runs an ingester; gives what stops it and says whether all had ended."""
    stops = []

    def run(**changed: float) -> Callable[[], bool]:
        reader = Reader(ingester_settings, engine_of_its_own, bucket, **changed)
        at_work = Ingester(ingester_settings, engine_of_its_own, bucket, reader=reader)
        ended: list[bool] = []
        thread = threading.Thread(target=lambda: ended.append(at_work.run()))
        thread.start()

        def stop() -> bool:
            at_work.stop()
            thread.join()
            return ended[0]

        stops.append(stop)
        return stop

    yield run
    for stop in stops:
        stop()


class TestAnotherProducer:
    def test_is_read_within_seconds_while_manifests_drip(
        self, desk: Desk, start: Callable[..., Callable[[], bool]]
    ) -> None:
        """However many one producer has asked for; the time is that of the CSV of the other."""
        a, b = desk.producer("a"), desk.producer("b")
        with serving(drip) as address:
            for number in range(30):
                desk.ask(a, f"{address}/{number}.csv")
            start(least_rate=0.0)
            wait_until(lambda: self._fetching(desk) > 0, "it drips")
            began = time.monotonic()
            batch_id = desk.upload(b)
            wait_until(lambda: desk.is_read(batch_id), "it is read", within_s=5.0)
            assert time.monotonic() - began < scaled(5.0)
            its_own = desk.ask(b, f"{address}/its-own.csv")
            wait_until(lambda: desk.is_taken(its_own), "another address is fetched", within_s=5.0)

    def _fetching(self, desk: Desk) -> int:
        with desk.engine.connect() as connection:
            return connection.scalar(text("SELECT count(*) FROM ingests WHERE deaths > 0")) or 0

    def test_waits_for_one_request_of_many(self, desk: Desk) -> None:
        """Of producers and of the operator's schedules, whoever waited longest for a turn comes next."""
        a, b = desk.producer("a"), desk.producer("b")
        of = {desk.ask(a, f"https://a.example/{n}"): "a" for n in range(50)}
        of |= {desk.ask(None, f"https://night.example/{n}"): "night" for n in range(3)}
        of |= {desk.ask(b, f"https://b.example/{n}"): "b" for n in range(3)}
        order = []
        for _ in range(12):
            with desk.engine.connect() as one, next_request(one, to_fetch=True) as request:
                assert request
                order.append(of[request.batch_id])
                fail_request(one, request.batch_id, "done")
        assert sorted(order[:3]) == sorted(order[3:6]) == sorted(order[6:9]) == ["a", "b", "night"]
        assert order[9:] == ["a"] * 3

    def test_is_taken_up_while_one_has_its_share(self, desk: Desk) -> None:
        """Whoever is full is passed over, and what another process is at as well."""
        a, b = desk.producer("a"), desk.producer("b")
        for n in range(30):
            desk.ask(a, f"https://a.example/{n}")
        theirs = desk.ask(b, "https://b.example/")
        with ExitStack() as held:
            taken = []
            for full in ((), (), (), {a}):
                one = held.enter_context(desk.engine.connect())
                request = held.enter_context(next_request(one, to_fetch=True, full=full))
                taken.append(request and request.batch_id)
        assert theirs in taken
        assert taken[3] is None
        assert len(set(taken)) == 4

    def test_is_found_without_a_look_at_all_that_one_asked_for(self, desk: Desk) -> None:
        """Twenty thousand requests of one producer cost the others nothing."""
        a, b = desk.producer("a"), desk.producer("b")
        first, theirs = desk.ask(a, "https://a.example/"), desk.ask(b, "https://b.example/")
        with desk.engine.begin() as connection:
            connection.execute(
                text("""
                    WITH made AS (
                        INSERT INTO batches (name, producer_id) SELECT 'n', :a FROM generate_series(1, 20000)
                        RETURNING id
                    )
                    INSERT INTO ingests
                        (batch_id, fingerprint, kind, source, due_at, options, asked_by, to_fetch)
                    SELECT m.id, uuid_send(m.id), 'x', i.source, i.due_at, i.options, i.asked_by, i.to_fetch
                    FROM made m, ingests i WHERE i.batch_id = :first
                """),
                {"a": a, "first": first},
            )
        with desk.engine.connect() as one, next_request(one, to_fetch=True, full={a}) as request:
            began = time.monotonic()
            assert request
            assert request.batch_id == theirs
        with desk.engine.connect() as one, next_request(one, to_fetch=True) as request:
            assert request
        assert time.monotonic() - began < scaled(0.5)


class TestPlaces:
    def test_leave_some_for_others(self) -> None:
        """Nobody takes more than half of what is free, and so several find one."""
        places, taken = FairSlots(4), []
        for _ in range(4):
            who = next(
                one for one in map(uuid.UUID, map("{:032x}".format, range(9))) if one not in places.full()
            )
            places.take(who)
            taken.append(who.int)
        assert taken == [0, 0, 1, 2]
        places.give_back(uuid.UUID(int=0))
        assert places.free == 1


class TestStopping:
    @pytest.mark.parametrize("behave", [drip, silent])
    def test_ends_downloads(
        self,
        desk: Desk,
        start: Callable[..., Callable[[], bool]],
        behave: Callable[[socket.socket], None],
    ) -> None:
        """Within seconds, whatever the server does; it counts as nobody's death."""
        with serving(behave) as address:
            batch_id = desk.ask(None, f"{address}/m.csv")
            stop = start(least_rate=0.0)
            wait_until(
                lambda: bool(desk.look("deaths", batch_id)),
                "taken",
            )
            began = time.monotonic()
            assert stop()
            assert time.monotonic() - began < scaled(5.0)
        assert desk.look("deaths = 0 AND finished_at IS NULL", batch_id)

    def test_by_signal_ends_the_process_in_good_order(
        self, environment: dict[str, str], desk: Desk, tmp_path: Path
    ) -> None:
        """SIGTERM while a manifest drips: it says goodbye within seconds."""
        with serving(drip) as address:
            environment["CUTOUT_SOURCE_PRIVATE_HOSTS"] = address.removeprefix("http://")
            batch_id = desk.ask(None, f"{address}/m.csv")
            system = System(environment, tmp_path, api=False)
            try:
                process = system.start("ingester", "ingester")
                wait_until(lambda: desk.is_taken(batch_id), "taken")
                process.terminate()
                assert process.wait(scaled(5.0)) == 0
            finally:
                system.__exit__(None, None, None)
        assert desk.look("deaths = 0 AND finished_at IS NULL", batch_id)

    def test_by_cancelling_ends_a_download(
        self, desk: Desk, start: Callable[..., Callable[[], bool]], bucket: Bucket
    ) -> None:
        """Its place is free for the next within seconds, and nothing of it is kept."""
        gone = threading.Event()

        def watched(connection: socket.socket) -> None:
            with suppress(OSError):
                drip(connection)
            gone.set()

        with serving(watched) as address:
            batch_id = desk.ask(None, f"{address}/m.csv")
            start(least_rate=0.0)
            wait_until(
                lambda: bool(desk.look("deaths", batch_id)),
                "taken",
            )
            desk.cancel(batch_id)
            assert gone.wait(scaled(5.0))
        assert bucket.keys(f"manifests/{batch_id}") == []

    def test_by_cancelling_ends_a_reading_between_two_rows(
        self, desk: Desk, start: Callable[..., Callable[[], bool]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not only between two chunks: those of pictures may take minutes."""
        at_it, ended = threading.Event(), threading.Event()

        def slow(*_: object) -> None:
            at_it.set()
            time.sleep(0.05)

        monkeypatch.setattr("cutout.ingest.sources.archive._MemberContent._unpack", slow)
        let_go = Ingester._free_slot

        def watched(*args: object) -> None:
            let_go(*args)  # type: ignore[arg-type]
            ended.set()

        monkeypatch.setattr(Ingester, "_free_slot", watched)
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for number in range(2000):
                archive.writestr(f"{number}.jpg", b"x")
        batch_id = desk.upload(None, packed.getvalue())
        start()
        assert at_it.wait(scaled(5.0))
        desk.cancel(batch_id)
        assert ended.wait(scaled(3.0))


class TestADownload:
    def test_that_drips_rests(
        self, desk: Desk, start: Callable[..., Callable[[], bool]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is tried again later, as one that breaks off."""
        monkeypatch.setattr(ingest_reader, "Patience", lambda rate, stopped: Patience(rate, stopped, 0.3))
        with serving(drip) as address:
            batch_id = desk.ask(None, f"{address}/m.csv")
            start(least_rate=16_384.0)
            wait_until(
                lambda: desk.look("tries = 1 AND deaths = 0", batch_id) is True,
                "it rests",
                within_s=5.0,
            )


class TestIngestsWithoutRoom:
    def test_rest_the_longer_the_more_their_producer_has(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Together they take no more of an ingester than one does."""
        # Each look takes a second.
        ticks = SimpleNamespace(monotonic=itertools.count().__next__)
        monkeypatch.setattr(ingest_reader, "time", ticks)
        rests = []
        for name, count in (("a", 1), ("b", 100)):
            producer = desk.producer(name)
            with Session(desk.engine) as session, session.begin():
                set_quota(session, producer, 1)
                enqueue(session, NewJob("https://shop.example/a.jpg"), producer_id=producer)
            asked = [desk.ask(producer, "an upload", key="none") for _ in range(count)]
            assert Ingester(ingester_settings, desk.engine, bucket).serve()
            rested = [desk.look("code IS NOT NULL", one) for one in asked]
            rests.append(desk.look("extract(epoch FROM due_at - now())", asked[rested.index(True)]))
        assert 0 < rests[0] <= 20
        assert 1000 < rests[1] <= 2000


class TestAnArchive:
    def test_waits_for_room_that_others_take_and_loses_no_try(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However long others have archives: after so many tries it would have failed by their doing."""
        monkeypatch.setattr(archive_space, "free_bytes", lambda: 0)
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("a.jpg", b"x")
        batch_id = desk.upload(desk.producer("a"), packed.getvalue())
        reader = Reader(ingester_settings, desk.engine, bucket)
        reader._space._copies[uuid.uuid4()] = desk.producer("b"), 1000
        assert Ingester(ingester_settings, desk.engine, bucket, reader=reader).serve()
        assert desk.look("code", batch_id) == "ARCHIVE_ROOM_TAKEN"
        assert desk.look("tries = 0 AND due_at > now()", batch_id) is True


@pytest.fixture
def _inherited(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that a process which reads one file inherits from its ingester."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


class TestAFileThatEndsItsReader:
    def test_is_refused_at_its_third_death(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket
    ) -> None:
        """Nobody reads it any more; whoever sent it is told with a code."""
        batch_id = desk.upload(None)
        desk.set_deaths(batch_id, MOST_DEATHS)
        assert Ingester(ingester_settings, desk.engine, bucket).serve()
        assert desk.error(batch_id).startswith("SOURCE_KILLS_INGESTER|the process that read it ended")

    @pytest.mark.usefixtures("_inherited")
    def test_is_read_by_a_process_of_its_own_after_the_first(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket
    ) -> None:
        """There one that was a neighbour of the file is read to its end."""
        batch_id = desk.upload(None)
        desk.set_deaths(batch_id, 1)
        assert Ingester(ingester_settings, desk.engine, bucket).serve()
        assert desk.is_read(batch_id)

    @pytest.mark.usefixtures("_inherited")
    def test_keeps_its_deaths_while_it_rests(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket
    ) -> None:
        """Or it could end the ingester itself between two rests, as often as its producer has no room."""
        producer = desk.producer("a")
        with Session(desk.engine) as session, session.begin():
            set_quota(session, producer, 1)
            enqueue(session, NewJob("https://shop.example/a.jpg"), producer_id=producer)
        batch_id = desk.upload(producer)
        desk.set_deaths(batch_id, 1)
        assert Ingester(ingester_settings, desk.engine, bucket).serve()
        assert desk.look("code", batch_id) == "QUOTA_REACHED"
        assert desk.look("deaths", batch_id) == 1

    @pytest.mark.usefixtures("_inherited")
    def test_is_not_at_fault_where_postgres_is_away(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The process of its own ends, and none has died."""
        monkeypatch.setenv("CUTOUT_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port()}/none")
        batch_id = desk.upload(None)
        desk.set_deaths(batch_id, 1)
        assert Ingester(ingester_settings, desk.engine, bucket).serve()
        assert desk.look("deaths", batch_id) == 1

    def test_loses_its_deaths_once_it_comes_further(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket
    ) -> None:
        """A chunk that is stored is no place to die of."""
        batch_id = desk.upload(None)
        assert Ingester(ingester_settings, desk.engine, bucket).serve()
        assert desk.look("deaths", batch_id) == 0

    @pytest.mark.long("starts and kills five processes; the others of this class set the deaths")
    def test_ends_three_processes_and_no_more(
        self, environment: dict[str, str], desk: Desk, tmp_path: Path
    ) -> None:
        """By the kernel's signal; the second and third death are those of a process of its own alone."""
        with serving(silent) as address:
            environment["CUTOUT_SOURCE_PRIVATE_HOSTS"] = address.removeprefix("http://")
            deadly = desk.ask(desk.producer("a"), f"{address}/m.csv")
            system = System(environment, tmp_path, api=False)
            try:
                system.start("first", "ingester")
                wait_until(lambda: desk.look("deaths", deadly) == 1, "it is taken up")
                system.kill("first")
                good = desk.upload(desk.producer("b"))
                system.start("second", "ingester")
                for death in (2, 3):
                    wait_until(lambda death=death: desk.look("deaths", deadly) == death, "again")  # type: ignore[misc]
                    child = wait_for_child(system.processes["second"].pid)
                    if death == 2:
                        wait_until(lambda: desk.is_read(good), "another is read meanwhile")
                    os.kill(child, signal.SIGKILL)
                wait_until(lambda: desk.error(deadly).startswith("SOURCE_KILLS_INGESTER"), "it is refused")
                assert system.processes["second"].poll() is None
            finally:
                system.__exit__(None, None, None)


def wait_for_child(pid: int) -> int:
    """The process that the ingester started, once it is there."""
    found: list[int] = []

    def looked() -> bool:
        found[:] = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
        return bool(found)

    wait_until(looked, "a child")
    return found[0]


class TestRejects:
    def test_beyond_a_number_are_counted(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file says how many more there were."""
        monkeypatch.setattr(ingest_reader, "MOST_REJECTS_LISTED", 3)
        batch_id = desk.upload(None, CSV + b"".join(b"%d,none\n" % n for n in range(10)))
        assert Ingester(ingester_settings, desk.engine, bucket).serve()
        assert desk.look("rejects", batch_id) == 10
        lines = bucket.read(f"rejects/{batch_id}.csv", max_bytes=10_000).decode().splitlines()
        assert len(lines) == 5
        assert lines[-1] == ",,,7 more were rejected; the first 3 are listed"

    def test_of_nearly_all_rows_end_it_with_the_first_reason(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No catalog is so; what was enqueued of it goes on."""
        monkeypatch.setattr(ingest_reader, "TOO_MANY_REJECTS_FROM", 1000)
        batch_id = desk.upload(None, CSV + b"1,none\n" * 20_000)
        assert Ingester(ingester_settings, desk.engine, bucket).serve()
        assert "TOO_MANY_REJECTS|9,998 of the first 10,000 pictures were rejected" in desk.error(batch_id)
        assert "the first was in line 4, source: is no address" in desk.error(batch_id)
