"""Time limits on machines that are slow or busy."""

import multiprocessing

import pytest

from tests.support import machine


def _spin() -> None:
    while True:
        pass


def test_a_limit_is_never_shorter_than_chosen() -> None:
    """However quick the machine."""
    assert machine.scaled(2.0) >= 2.0


@pytest.mark.long("keeps both cores busy for seconds")
def test_a_limit_grows_with_the_work_of_others() -> None:
    """With several loops a processor beside it, a piece of work takes longer, and limits are longer."""
    context = multiprocessing.get_context("fork")
    loops = [context.Process(target=_spin, daemon=True) for _ in range(4 * multiprocessing.cpu_count())]
    for loop in loops:
        loop.start()
    try:
        assert max(machine._work() for _ in range(10)) > 1.5 * machine.REFERENCE_S
    finally:
        for loop in loops:
            loop.kill()
            loop.join()
