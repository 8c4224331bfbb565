import time

import pytest

from cutout.telemetry.single_flight import SingleFlight

TAKES_S = 0.2
LONG_REST = 1000.0


class Flaky:
    """A call that takes TAKES_S and fails once."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        time.sleep(TAKES_S)
        if self.calls == 1:
            raise ValueError("away")
        return self.calls


def test_an_error_is_given_out_no_longer_than_its_call_took() -> None:
    """A result that took as long rests the server; a fault may be over, and is asked for again."""
    call = Flaky()
    shared = SingleFlight("flaky", call, fresh_s=0.05, rest=LONG_REST)
    with pytest.raises(ValueError, match="away"):
        shared.get(10.0)
    with pytest.raises(ValueError, match="away"):
        shared.get(10.0)
    assert call.calls == 1
    time.sleep(2 * TAKES_S)
    assert [shared.get(10.0), shared.get(10.0)] == [2, 2]
    time.sleep(2 * TAKES_S)
    assert shared.get(10.0) == 2
