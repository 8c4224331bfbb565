"""Renderer loop: threads that claim pictures, producers in turn, and a heartbeat that renews their leases."""

import logging
import socket
import threading
import time
import uuid
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cutout.models.database import is_away, kind_of
from cutout.queue import outputs
from cutout.queue.outputs.claim import NIL_UUID
from cutout.settings import Settings
from cutout.storage import Bucket
from cutout.telemetry.loops import WatchedLoop, watched
from worker.pipeline.sources import HostTurns
from worker.renderer.children import RenderChild
from worker.renderer.claims import HeldOutputs
from worker.renderer.render_picture import PictureRenderer
from worker.renderer.sources import PictureSources

log = logging.getLogger(__name__)

LOOP = "heartbeat"
BEAT_WITHIN_S = 60.0
# Each output of a picture may take its child process minutes.
PICTURE_WITHIN_S = 3600.0
POLL_EVERY_S = 0.5
RECONNECT_AFTER_S = 2.0
LEASE = timedelta(seconds=60)
BEAT_EVERY_S = 10.0
# A picture that is being made when the process must stop is left to its lease after this time.
STOP_WITHIN_S = 20.0


class Renderer:
    """One process; each thread makes one picture at a time in a child process of its own."""

    def __init__(self, settings: Settings, engine: Engine, bucket: Bucket, *, processes: int) -> None:
        """`engine` must provide a connection for each of `processes`, and one more."""
        self._settings = settings
        self._engine = engine
        self._bucket = bucket
        self._processes = processes
        self._id = uuid.uuid4()
        self._stopping = threading.Event()
        self._held = HeldOutputs()
        self._large = threading.Lock()
        self._hosts = HostTurns(settings.source_fetches_per_host)
        self._last_owner: uuid.UUID | None = None

    def stop(self) -> None:
        """Make run() return once the outputs that are being made are finished."""
        self._stopping.set()

    def run(self) -> bool:
        """Make outputs until stopped; return whether all threads have ended by then."""
        threads = [
            threading.Thread(target=self._serve, name=f"renderer {n}", daemon=True)
            for n in range(self._processes)
        ]
        for thread in threads:
            thread.start()
        with watched(WatchedLoop(LOOP, BEAT_WITHIN_S)) as loop:
            while not self._stopping.is_set():
                loop.turn()
                self._beat()
                self._stopping.wait(BEAT_EVERY_S)
        stop_at = time.monotonic() + STOP_WITHIN_S
        for thread in threads:
            thread.join(max(stop_at - time.monotonic(), 0.0))
        self._leave()
        return not any(thread.is_alive() for thread in threads)

    def serve_once(self) -> bool:
        """Make the outputs of the next picture on the caller's thread; false if none is due."""
        renderer = self._picture_renderer()
        try:
            return self._next(renderer)
        finally:
            renderer.close()

    def _serve(self) -> None:
        renderer = self._picture_renderer()
        with watched(WatchedLoop(threading.current_thread().name, PICTURE_WITHIN_S)) as loop:
            self._serve_by(renderer, loop)
        renderer.close()

    def _serve_by(self, renderer: PictureRenderer, loop: WatchedLoop) -> None:
        while not self._stopping.is_set():
            loop.turn()
            try:
                found = self._next(renderer)
            except Exception as error:
                if is_away(error):
                    log.warning("Postgres is unreachable (%s), trying again", kind_of(error))
                else:
                    log.exception("unexpected error in a renderer")
                self._stopping.wait(RECONNECT_AFTER_S)
                continue
            if not found:
                self._stopping.wait(POLL_EVERY_S)

    def _next(self, renderer: PictureRenderer) -> bool:
        with self._engine.connect() as connection:
            picture = outputs.claim_picture(connection, self._last_owner, LEASE)
        if picture is None:
            return False
        self._last_owner = picture.producer_id or NIL_UUID
        self._held.add(picture.outputs)
        try:
            renderer.render(picture)
        finally:
            # After an error their lease ends by itself: the try counts.
            self._held.drop(picture.outputs)
        return True

    def _picture_renderer(self) -> PictureRenderer:
        sources = PictureSources(self._settings, self._engine, self._bucket, self._hosts)
        child = RenderChild(self._settings.render_memory_bytes, self._large)
        return PictureRenderer(
            self._engine, self._bucket, sources, child, held=self._held, stopping=self._stopping
        )

    def _beat(self) -> None:
        counts = self._held.take_counts()
        try:
            with self._engine.connect() as connection:
                outputs.renew(connection, self._held.now(), LEASE)
                outputs.beat(
                    connection,
                    self._id,
                    host=socket.gethostname(),
                    processes=self._processes,
                    made=counts[0],
                    busy_s=counts[1],
                )
        except SQLAlchemyError as error:
            self._held.count_again(*counts)
            log.warning("no heartbeat: %s", kind_of(error))
        except Exception:
            # Without heartbeats what is being made is made once more.
            log.exception("unexpected error in the heartbeat")

    def _leave(self) -> None:
        try:
            with self._engine.connect() as connection:
                outputs.leave(connection, self._id)
        except SQLAlchemyError as error:
            log.warning("Postgres does not know that this renderer stops: %s", kind_of(error))
