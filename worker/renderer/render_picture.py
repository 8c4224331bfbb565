"""The outputs of one claimed picture: each made, or adopted, stored and recorded before the next begins."""

import logging
import threading
import time
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Engine

from cutout.models.database import is_away
from cutout.outputs.child_protocol import SCORE
from cutout.outputs.output_error import OutputError
from cutout.queue import outputs
from cutout.queue.outputs import ClaimedOutput, ClaimedPicture
from cutout.storage import Bucket, ObjectTooLargeError, StorageError
from cutout.telemetry import logs
from worker.pipeline.sources import EGRESS_AWAY
from worker.renderer.children import ChildDiedError, PictureFiles, RenderChild
from worker.renderer.claims import HeldOutputs
from worker.renderer.sources import BoughtMissingError, EgressAwayError, NotNowError, PictureSources
from worker.renderer.store import copy_before, put
from worker.signed_objects import SignedObjectClient

log = logging.getLogger(__name__)

STORAGE_UNAVAILABLE = "OUTPUT_STORAGE_UNAVAILABLE"
BOUGHT_MISSING_REMEDY = (
    "enqueue the picture again, for a credit; or restore the object, then run `cutout render JOB --again`"
)
# After this time the other outputs of a picture wait for their next turn, if another producer waits. Their
# picture is opened again then, which takes up to a minute.
TURN_S = 120.0
NO_DELAY = timedelta(0)
# An hour of claims, each released for 10 s: after that a source that the egress proxy does not reach, as it
# reaches nobody else, counts as unavailable.
MOST_CLAIMS = 360


class PictureRenderer:
    """A maker of outputs. One per thread."""

    def __init__(
        self,
        engine: Engine,
        bucket: Bucket,
        sources: PictureSources,
        child: RenderChild,
        *,
        held: HeldOutputs,
        stopping: threading.Event,
    ) -> None:
        self._engine = engine
        self._bucket = bucket
        self._objects = SignedObjectClient(bucket)
        self._sources = sources
        self._child = child
        self._held = held
        self._stopping = stopping

    def render(self, picture: ClaimedPicture) -> None:
        """Make all outputs of the picture. What cannot be made now is released, what fails is tried later."""
        left = [output for output in picture.outputs if not self._adopt(picture, output)]
        left = self._without_dead(left)
        if not left:
            return
        try:
            files = self._files(picture, left[0])
        except BoughtMissingError as error:
            for output in left:
                self._fail(output, "OUTPUT_BOUGHT_MISSING", f"{error}; {BOUGHT_MISSING_REMEDY}")
            return
        except NotNowError as error:
            self._release(left, str(error), code=STORAGE_UNAVAILABLE)
            return
        self._render(picture, files, left)

    def _files(self, picture: ClaimedPicture, output: ClaimedOutput) -> PictureFiles:
        """The files of the picture but its source. Raises BoughtMissingError, NotNowError."""
        return PictureFiles(
            self._sources.bought(picture),
            full=self._sources.full_size(picture, output),
            image_sha256=picture.image_sha256,
            is_untouched=picture.was_sent_as_it_is,
            properties=self._sources.properties(),
        )

    def close(self) -> None:
        """Close this thread's connections and its child."""
        self._child.close()
        self._sources.close()
        self._objects.close()

    def _render(self, picture: ClaimedPicture, files: PictureFiles, left: list[ClaimedOutput]) -> None:
        try:
            self._render_opened(picture, files, left)
        finally:
            # Also after an error: another thread may wait to make a large picture.
            self._child.close_picture()

    def _render_opened(self, picture: ClaimedPicture, files: PictureFiles, left: list[ClaimedOutput]) -> None:
        try:
            if self._need_source(picture, files, left):
                files, left = self._with_source(picture, files, left)
            if left:
                self._child.open(files)
        except (OutputError, ChildDiedError) as error:
            self._refuse(left, error)
            return
        turn_ends = time.monotonic() + TURN_S
        for number, output in enumerate(left):
            if self._stopping.is_set():
                self._release(left[number:], "the renderer stops")
                return
            if number and time.monotonic() > turn_ends and self._others_wait(picture):
                self._release(left[number:], "another producer's turn", delay=NO_DELAY)
                return
            self._make(picture, output)

    def _need_source(self, picture: ClaimedPicture, files: PictureFiles, left: list[ClaimedOutput]) -> bool:
        """Whether one of the outputs needs the source; a score always does."""
        recipes = [output.recipe for output in left if output.recipe != SCORE]
        if len(recipes) < len(left):
            return True
        if picture.was_sent_as_it_is:
            return False
        self._child.open(files)
        return self._child.needs_source(recipes)

    def _others_wait(self, picture: ClaimedPicture) -> bool:
        with self._engine.connect() as connection:
            return outputs.others_wait(connection, picture.producer_id)

    def _with_source(
        self, picture: ClaimedPicture, files: PictureFiles, left: list[ClaimedOutput]
    ) -> tuple[PictureFiles, list[ClaimedOutput]]:
        """Add the source; returns the outputs to make now.

        While it is unavailable outputs are delayed, except at their last try: that makes them without it.
        """
        try:
            source = self._sources.source(picture)
        except EgressAwayError as error:
            ends = [output for output in left if error.maybe_server and output.fence > MOST_CLAIMS]
            waiting = [output for output in left if output not in ends]
            if waiting:
                self._release(waiting, str(error), code=EGRESS_AWAY)
            return self._without_source(files, ends, str(error))
        except NotNowError as error:
            return self._without_source(files, left, str(error))
        return replace(files, source=source.data, problem=source.problem), left

    def _without_source(
        self, files: PictureFiles, left: list[ClaimedOutput], problem: str
    ) -> tuple[PictureFiles, list[ClaimedOutput]]:
        last = [output for output in left if output.tries >= outputs.MOST_TRIES]
        for output in left:
            if output not in last:
                self._delay(output, "OUTPUT_SOURCE_UNAVAILABLE", problem)
        return replace(files, problem=problem), last

    def _make(self, picture: ClaimedPicture, output: ClaimedOutput) -> None:
        with logs.about(job_id=str(output.job_id)):
            began = time.monotonic()
            try:
                fields, data = self._child.make(output.recipe)
                if not self._still_holds(output):
                    return
                made = put(self._objects, picture, output, fields, data)
            except (OutputError, ChildDiedError) as error:
                self._refuse([output], error)
                return
            except ObjectTooLargeError as error:
                self._fail(output, "OUTPUT_TOO_LARGE", f"{error}; ask for a smaller canvas or a shorter name")
                return
            except StorageError as error:
                self._release([output], str(error), code=STORAGE_UNAVAILABLE)
                return
            except Exception as error:
                if is_away(error):
                    raise
                # A bug of ours may cost this output, not the others of the picture.
                log.exception("unexpected error in the output %s", output.name)
                message = f"{type(error).__name__} in the renderer; see its log"
                self._delay(output, "INTERNAL_ERROR", message)
                return
            with self._engine.connect() as connection:
                recorded = outputs.finish(connection, output, made)
            self._held.made(output, time.monotonic() - began)
            if not recorded:
                self._discard(output, made)

    def _still_holds(self, output: ClaimedOutput) -> bool:
        """Whether the claim is still valid: its object may be another renderer's by now."""
        with self._engine.connect() as connection:
            is_valid = outputs.is_valid(connection, output)
        if not is_valid:
            log.warning("the output %s was taken from this renderer; what it made is void", output.name)
            self._held.drop([output])
        return is_valid

    def _discard(self, output: ClaimedOutput, made: outputs.MadeOutput) -> None:
        """Remove an object that nothing names, or let outputs be made again whose object was overwritten."""
        log.warning("the output %s was taken from this renderer; what it made is void", output.name)
        if made.key is None or made.sha256 is None or made.key == output.bought_key:
            # What was bought is not this renderer's to remove: other jobs may reuse it.
            return
        self._remove_withdrawn(output, made.key)
        with self._engine.connect() as connection:
            remade = outputs.remake(connection, made.key, made.sha256)
        if remade:
            log.warning("%s was overwritten: %d outputs are made again", made.key, remade)

    def _remove_withdrawn(self, output: ClaimedOutput, key: str) -> None:
        """Remove an object that was stored for an output whose job was deleted meanwhile."""
        with self._engine.connect() as connection:
            is_withdrawn = outputs.is_withdrawn(connection, output, key)
        if is_withdrawn:
            self._bucket.delete(key)

    def _adopt(self, picture: ClaimedPicture, output: ClaimedOutput) -> bool:
        """Let the output have what was made before for another one; false if there is nothing."""
        with self._engine.connect() as connection:
            before = outputs.find_made(connection, picture, output, output.recipe)
        if before is None:
            return False
        try:
            if before.key is not None and not self._is_held(before):
                return False
            key = copy_before(self._bucket, picture, output, before)
        except StorageError as error:
            log.info("an output made before is not used: %s", error)
            return False
        with self._engine.connect() as connection:
            adopted = outputs.adopt(connection, output, before, key)
        if adopted:
            self._held.made(output, 0.0)
        elif output.file is not None and key is not None:
            self._remove_withdrawn(output, key)
        return adopted

    def _is_held(self, before: outputs.MadeBefore) -> bool:
        if before.key is None or before.sha256 is None or before.size_bytes is None:
            return False
        return self._bucket.holds(before.key, sha256=before.sha256, size_bytes=before.size_bytes)

    def _without_dead(self, left: list[ClaimedOutput]) -> list[ClaimedOutput]:
        """Fail outputs with which renderers have died, and return the others."""
        alive = []
        for output in left:
            if output.tries <= outputs.MOST_TRIES:
                alive.append(output)
            else:
                died = f"{output.tries - 1} renderers ended while they made it; look at the picture"
                self._fail(output, "OUTPUT_KILLS_RENDERER", died)
        return alive

    def _refuse(self, left: list[ClaimedOutput], error: OutputError | ChildDiedError) -> None:
        for output in left:
            if isinstance(error, OutputError):
                self._fail(output, error.code, error.message)
            else:
                remedy = "raise CUTOUT_RENDER_MEMORY_BYTES, or look at the picture"
                self._delay(output, "OUTPUT_TOO_COSTLY", f"{error}; {remedy}")

    def _fail(self, output: ClaimedOutput, code: str, message: str) -> None:
        log.warning("the output %s of job %s failed: %s: %s", output.name, output.job_id, code, message)
        with self._engine.connect() as connection:
            outputs.fail(connection, output, code, message)
        self._held.drop([output])

    def _delay(self, output: ClaimedOutput, code: str, message: str) -> None:
        log.info("the output %s of job %s is tried again: %s", output.name, output.job_id, message)
        with self._engine.connect() as connection:
            outputs.delay(connection, output, code, message)
        self._held.drop([output])

    def _release(
        self,
        left: list[ClaimedOutput],
        reason: str,
        *,
        code: str | None = None,
        delay: timedelta = outputs.RELEASED_FOR,
    ) -> None:
        log.info("%d outputs are given back: %s", len(left), reason)
        with self._engine.connect() as connection:
            outputs.release(connection, left, delay, None if code is None else (code, reason))
        self._held.drop(left)
