"""Jobs in flight in one process: each job once under each fence."""

import uuid

import pytest

from worker.pipeline.in_flight import InFlightJobs

JOB = uuid.uuid4()


class TestAJobInHand:
    def test_is_not_taken_a_second_time(self) -> None:
        """A repeated message finds its job taken, and does not free it for a third one."""
        carried = InFlightJobs()
        with carried.hold(JOB, 1) as first, carried.hold(JOB, 1) as second:
            assert (first, second) == (True, False)
            with carried.hold(JOB, 1) as third:
                assert not third

    def test_does_not_hide_the_valid_message(self) -> None:
        """While a late message under an old fence is refused, the job is free under its new fence."""
        carried = InFlightJobs()
        with carried.hold(JOB, 1), carried.hold(JOB, 2) as valid:
            assert valid

    def test_is_free_again_when_its_thread_is_done(self) -> None:
        """The job can be taken again, however its thread ended."""
        carried = InFlightJobs()
        with pytest.raises(ValueError, match="an error"), carried.hold(JOB, 1):
            raise ValueError("an error")
        with carried.hold(JOB, 1) as free:
            assert free
