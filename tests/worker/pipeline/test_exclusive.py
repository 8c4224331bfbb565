import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from cutout.enums import State
from tests.support.bench import Bench
from tests.support.machine import scaled
from tests.support.system import wait_until
from worker.pipeline.exclusive import Room


class TestRoom:
    def test_is_for_many_at_a_time(self) -> None:
        """Many jobs enter while none is alone."""
        room, stopping = Room(), threading.Event()
        with room.shared(stopping), room.shared(stopping):
            assert room._inside == 2

    def test_lets_one_be_alone_once_the_others_have_left(self) -> None:
        """No job enters until the one alone is done."""
        room, stopping = Room(), threading.Event()
        leave, came_in = threading.Event(), threading.Event()

        def stay() -> None:
            with room.shared(stopping):
                leave.wait(scaled(10))

        def come() -> None:
            with room.shared(stopping):
                came_in.set()

        with ThreadPoolExecutor(2) as threads, room.shared(stopping):
            threads.submit(stay)
            wait_until(lambda: room._inside == 2, "the other is inside")
            threading.Timer(0.2, leave.set).start()
            with room.alone(stopping, within_s=scaled(5)) as is_alone:
                assert is_alone
                assert leave.is_set()
                threads.submit(come)
                assert not came_in.wait(0.3)
            assert came_in.wait(scaled(5))

    def test_does_not_let_two_wait_to_be_alone(self) -> None:
        """Each of them would wait for the other."""
        room, stopping = Room(), threading.Event()
        with room.shared(stopping), room.alone(stopping, within_s=1) as first:
            with room.alone(stopping, within_s=1) as second:
                assert (first, second) == (True, False)
            assert room._closed

    def test_gives_up_in_time(self) -> None:
        """Others enter again then."""
        room, stopping = Room(), threading.Event()
        with room.shared(stopping), room.shared(stopping):
            with room.alone(stopping, within_s=0.1) as is_alone:
                assert not is_alone
            assert not room._closed


def test_a_job_that_two_workers_died_with_is_processed_alone(
    make_bench: Callable[..., Bench], photo: bytes
) -> None:
    """It waits for the jobs in flight; then it runs as any other."""
    bench = make_bench(call_deadline_seconds=1)
    job_id = bench.enqueue(photo)
    bench.change(job_id, "deaths = 2")
    context = bench.context
    with ThreadPoolExecutor(1) as threads:
        with context.room.shared(context.stopping):
            working = threads.submit(bench.work)
            wait_until(lambda: context.room._closed, "it waits to be alone")
            assert bench.job(job_id).state == State.RUNNING
            assert bench.attempts(job_id) == []
        working.result(scaled(20))
    job = bench.job(job_id)
    assert (job.state, job.deaths) == (State.SUCCEEDED, 0)
