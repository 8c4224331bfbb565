import os
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from cutout.images.decoder_pool import TOO_COSTLY, Preparer
from cutout.images.image import prepare, refit
from cutout.images.unfit_image import UnfitImage
from tests.support.pictures import encoded, plain
from tests.support.system import wait_until

PLENTY = 2_000_000_000
LITTLE = 200_000_000


@pytest.fixture
def preparer() -> Iterator[Preparer]:
    made = Preparer(PLENTY)
    yield made
    made.close()


@pytest.fixture(scope="module")
def large() -> bytes:
    """Two seconds of work: 40 megapixels that must be decoded completely."""
    return encoded(plain(8000, 5000), "TIFF", compression="tiff_lzw")


def ended(child: int) -> bool:
    """Whether a process has ended, reaped by its parent or not."""
    try:
        return (Path("/proc") / str(child) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def children() -> set[int]:
    """The child processes that prepare pictures for this one."""
    found = set()
    for each in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"decoder_child" in (each / "cmdline").read_bytes():
                found.add(int(each.name))
        except (OSError, ProcessLookupError):
            continue  # it has just ended
    return found


class TestAPictureThatIsSentUnchanged:
    def test_starts_no_process(self, preparer: Preparer, photo: bytes) -> None:
        """It costs no more than reading its headers."""
        assert preparer.prepare(photo).data is photo
        assert children() == set()

    def test_of_a_job_that_ended_workers_is_read_by_a_process(self, preparer: Preparer, photo: bytes) -> None:
        """Even its headers; the result is equal."""
        assert preparer.prepare(photo, in_child=True) == prepare(photo)
        assert len(children()) == 1


class TestAPictureThatIsFitted:
    def test_becomes_what_it_would_here(self, preparer: Preparer) -> None:
        """Byte for byte; and the process is used again."""
        source = encoded(plain(2500, 400), "WEBP")
        assert preparer.prepare(source) == prepare(source)
        assert preparer.refit(source) == refit(source)
        assert len(children()) == 1

    def test_and_is_refused_says_why(self, preparer: Preparer) -> None:
        """The error is equal to that of a preparation in this process."""
        source = encoded(plain(4000, 40), "PNG")
        with pytest.raises(UnfitImage) as here:
            prepare(source)
        with pytest.raises(UnfitImage) as there:
            preparer.prepare(source)
        assert (there.value.code, there.value.message) == (here.value.code, here.value.message)

    def test_and_needs_too_much_memory_fails_alone(self) -> None:
        """Only its own job fails; the next picture is prepared."""
        preparer = Preparer(LITTLE)
        source = encoded(Image.new("RGBA", (7000, 7000), (1, 2, 3, 128)), "PNG", compress_level=1)
        with pytest.raises(UnfitImage) as refused:
            preparer.prepare(source)
        assert refused.value.code in (TOO_COSTLY, "IMAGE_TOO_MANY_PIXELS")
        small = encoded(plain(2500, 400), "PNG")
        assert preparer.prepare(small) == prepare(small)
        preparer.close()

    def test_and_ends_its_process_twice_fails_by_its_own_code(self, preparer: Preparer, large: bytes) -> None:
        """There is one retry in a new process; this process survives, and the next picture is prepared."""
        errors: list[UnfitImage] = []

        def ask() -> None:
            try:
                preparer.prepare(large)
            except UnfitImage as error:
                errors.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        ended: set[int] = set()
        for _ in range(2):
            wait_until(lambda: bool(children() - ended), "a process that prepares")
            (child,) = children() - ended
            os.kill(child, 11)
            ended.add(child)
        asking.join(20)
        assert [error.code for error in errors] == [TOO_COSTLY]
        assert "signal 11" in errors[0].message
        small = encoded(plain(2500, 400), "PNG")
        assert preparer.prepare(small) == prepare(small)

    def test_does_not_fail_for_processes_that_ended_before_it(self, preparer: Preparer) -> None:
        """The kernel ends child processes first when memory is short, perhaps all idle ones at once."""
        source = encoded(plain(2500, 400), "WEBP")
        with ThreadPoolExecutor(2) as pool:
            together = threading.Barrier(2)
            list(pool.map(lambda _: (together.wait(), preparer.prepare(source)), range(2)))
        idle = children()
        for child in idle:
            os.kill(child, 9)
        wait_until(lambda: all(ended(child) for child in idle), "their end")
        assert preparer.prepare(source) == prepare(source)
        assert not children() & idle

    def test_and_takes_too_long_is_ended(self, large: bytes) -> None:
        """A decoder that never returns does not block its thread."""
        preparer = Preparer(PLENTY, within_s=0.05)
        with pytest.raises(UnfitImage, match="took more than") as refused:
            preparer.prepare(large)
        assert refused.value.code == TOO_COSTLY
        assert children() == set()


def test_closing_ends_the_processes(photo: bytes) -> None:
    """No child outlives the worker."""
    preparer = Preparer(PLENTY)
    preparer.prepare(photo, in_child=True)
    assert len(children()) == 1
    preparer.close()
    assert children() == set()


class TestManyCostlyPicturesOfOneOwner:
    def test_delay_anothers_by_one_of_them(self, preparer: Preparer, large: bytes) -> None:
        """The other owner's picture is prepared next, though it came last."""
        owner, other = uuid.uuid4(), uuid.uuid4()
        ended: list[uuid.UUID] = []
        small = encoded(plain(2500, 400), "PNG")

        def prepared(of: uuid.UUID, source: bytes) -> None:
            preparer.prepare(source, owner=of)
            ended.append(of)

        with ThreadPoolExecutor(6) as pool:
            waiting = [pool.submit(prepared, owner, large) for _ in range(4)]
            wait_until(lambda: preparer.slots.waiting(owner) == 2, "two at work and two that wait")
            waiting.append(pool.submit(prepared, other, small))
            for each in waiting:
                each.result()
        assert other in ended[:3]
