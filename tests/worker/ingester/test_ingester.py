"""Concurrent ingests of several producers: no producer waits for the requests of another."""

import itertools
import socket
import threading
import time
import uuid
import zipfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.ingest.pending import fail_request, find_request, next_request
from cutout.ingest.stop import Stop
from cutout.network import Patience
from cutout.producers.producers import set_quota
from cutout.queue.enqueue import NewJob, enqueue
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.support.connect_proxy import ConnectProxy
from tests.support.machine import scaled
from tests.support.system import System, wait_until
from tests.worker.ingester.ingesting import CSV, Desk
from tests.worker.wire import read_request, serving, silent
from worker.ingester import archive_space
from worker.ingester import reader as ingest_reader
from worker.ingester.fair_slots import FairSlots
from worker.ingester.loop import Ingester
from worker.ingester.reader import Reader

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


def drip(connection: socket.socket) -> None:
    """Send a byte now and then, for as long as the client reads."""
    read_request(connection)
    connection.sendall(HEAD + CSV)
    while True:
        connection.sendall(b"\n")
        time.sleep(0.1)


class TestAnotherProducer:
    def test_is_read_within_seconds_while_manifests_drip(
        self, desk: Desk, start: Callable[..., Callable[[], bool]]
    ) -> None:
        """However many one producer has requested; the other producer's CSV is read at once."""
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
            other_address = desk.ask(b, f"{address}/its-own.csv")
            wait_until(lambda: desk.is_taken(other_address), "another address is fetched", within_s=5.0)

    def _fetching(self, desk: Desk) -> int:
        with desk.engine.connect() as connection:
            return connection.scalar(text("SELECT count(*) FROM ingests WHERE deaths > 0")) or 0

    def test_waits_for_one_request_of_many(self, desk: Desk) -> None:
        """Of producers and of the operator's schedules, the one that has waited longest comes next."""
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

    def test_is_claimed_while_another_has_its_share(self, desk: Desk) -> None:
        """A full producer is skipped, and so is a request that another process holds."""
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

    def test_is_found_without_reading_all_requests_of_another(self, desk: Desk) -> None:
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


class TestSlots:
    def test_leave_some_for_others(self) -> None:
        """No owner takes more than half of the free slots, so several producers find one."""
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
        """Within seconds, whatever the server does; no death is counted."""
        with serving(behave) as address:
            batch_id = desk.ask(None, f"{address}/m.csv")
            stop = start(least_rate=0.0)
            wait_until(
                lambda: bool(desk.read("deaths", batch_id)),
                "taken",
            )
            began = time.monotonic()
            assert stop()
            assert time.monotonic() - began < scaled(5.0)
        assert desk.read("deaths = 0 AND finished_at IS NULL", batch_id)

    def test_by_signal_ends_the_process_cleanly(
        self, environment: dict[str, str], desk: Desk, tmp_path: Path
    ) -> None:
        """SIGTERM during a slow download: the process ends within seconds and its request is released."""
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
        assert desk.read("deaths = 0 AND finished_at IS NULL", batch_id)

    def test_by_cancelling_ends_a_download(
        self, desk: Desk, start: Callable[..., Callable[[], bool]], bucket: Bucket
    ) -> None:
        """Its slot is free for the next request within seconds, and nothing of the download is kept."""
        gone = threading.Event()

        def watched(connection: socket.socket) -> None:
            with suppress(OSError):
                drip(connection)
            gone.set()

        with serving(watched) as address:
            batch_id = desk.ask(None, f"{address}/m.csv")
            start(least_rate=0.0)
            wait_until(
                lambda: bool(desk.read("deaths", batch_id)),
                "taken",
            )
            desk.cancel(batch_id)
            assert gone.wait(scaled(5.0))
        assert bucket.keys(f"manifests/{batch_id}") == []

    def test_by_cancelling_ends_a_reading_between_two_rows(
        self, desk: Desk, start: Callable[..., Callable[[], bool]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not only between two chunks: a chunk of pictures may take minutes."""
        at_it, ended = threading.Event(), threading.Event()

        def slow(*_: object) -> None:
            at_it.set()
            time.sleep(0.05)

        monkeypatch.setattr("cutout.ingest.sources.archive._MemberContent._unpack", slow)
        free_slot = Ingester._free_slot

        def watched(*args: object) -> None:
            free_slot(*args)  # type: ignore[arg-type]
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
    def test_that_is_too_slow_is_delayed(
        self, desk: Desk, start: Callable[..., Callable[[], bool]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is tried again later, like a download that ends early."""
        monkeypatch.setattr(ingest_reader, "Patience", lambda rate, stopped: Patience(rate, stopped, 0.3))
        with serving(drip) as address:
            batch_id = desk.ask(None, f"{address}/m.csv")
            start(least_rate=16_384.0)
            wait_until(
                lambda: desk.read("tries = 1 AND deaths = 0", batch_id) is True,
                "it is delayed",
                within_s=5.0,
            )

    @pytest.mark.parametrize(("way", "tries"), [(403, 1), (502, 1), (407, 0)])
    def test_that_the_egress_proxy_does_not_connect_uses_a_try_unless_the_proxy_is_at_fault(
        self,
        desk: Desk,
        ingester_settings: Settings,
        own_engine: Engine,
        bucket: Bucket,
        *,
        way: int,
        tries: int,
    ) -> None:
        """The twelve tries take hours, and a server that is never reached fails its manifest."""
        batch_id = desk.ask(None, "https://93.184.216.34/m.csv")
        with ConnectProxy({}) as proxy, own_engine.connect() as connection:
            proxy.way = way
            behind = ingester_settings.model_copy(update={"egress_proxy": SecretStr(proxy.url)})
            request = find_request(connection, batch_id)
            assert request is not None
            Reader(behind, own_engine, bucket).fetch(connection, request, Stop())
        assert desk.read("tries", batch_id) == tries
        assert desk.read("code", batch_id) == (None if tries else "EGRESS_AWAY")
        assert desk.read("finished_at IS NULL AND due_at > now()", batch_id) is True


class TestDelayedIngests:
    def test_are_delayed_longer_the_more_their_producer_has(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Together they take no more of an ingester than one does."""
        # Each check takes a second.
        ticks = SimpleNamespace(monotonic=itertools.count().__next__)
        monkeypatch.setattr(ingest_reader, "time", ticks)
        delays = []
        for name, count in (("a", 1), ("b", 100)):
            producer = desk.producer(name)
            with Session(desk.engine) as session, session.begin():
                set_quota(session, producer, 1)
                enqueue(session, NewJob("https://shop.example/a.jpg"), producer_id=producer)
            asked = [desk.ask(producer, "an upload", key="none") for _ in range(count)]
            assert Ingester(ingester_settings, desk.engine, bucket).serve()
            delayed = [desk.read("code IS NOT NULL", one) for one in asked]
            delays.append(desk.read("extract(epoch FROM due_at - now())", asked[delayed.index(True)]))
        assert 0 < delays[0] <= 20
        assert 1000 < delays[1] <= 2000


class TestAnArchive:
    def test_waits_for_space_that_others_take_and_loses_no_try(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However long others have archives: with counted tries it would fail because of them."""
        monkeypatch.setattr(archive_space, "free_bytes", lambda: 0)
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("a.jpg", b"x")
        batch_id = desk.upload(desk.producer("a"), packed.getvalue())
        reader = Reader(ingester_settings, desk.engine, bucket)
        reader._space._copies[uuid.uuid4()] = desk.producer("b"), 1000
        assert Ingester(ingester_settings, desk.engine, bucket, reader=reader).serve()
        assert desk.read("code", batch_id) == "ARCHIVE_ROOM_TAKEN"
        assert desk.read("tries = 0 AND due_at > now()", batch_id) is True


class TestRejects:
    def test_beyond_a_number_are_counted(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file has the number of further rejects."""
        monkeypatch.setattr(ingest_reader, "MOST_REJECTS_LISTED", 3)
        batch_id = desk.upload(None, CSV + b"".join(b"%d,none\n" % n for n in range(10)))
        assert Ingester(ingester_settings, desk.engine, bucket).serve()
        assert desk.read("rejects", batch_id) == 10
        lines = bucket.read(f"rejects/{batch_id}.csv", max_bytes=10_000).decode().splitlines()
        assert len(lines) == 5
        assert lines[-1] == ",,,7 more were rejected; the first 3 are listed"

    def test_of_nearly_all_rows_end_it_with_the_first_reason(
        self, desk: Desk, ingester_settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Reading stops; jobs that were enqueued continue."""
        monkeypatch.setattr(ingest_reader, "TOO_MANY_REJECTS_FROM", 1000)
        batch_id = desk.upload(None, CSV + b"1,none\n" * 20_000)
        assert Ingester(ingester_settings, desk.engine, bucket).serve()
        assert "TOO_MANY_REJECTS|9,998 of the first 10,000 pictures were rejected" in desk.error(batch_id)
        assert "the first was in line 4, source: is no address" in desk.error(batch_id)
