"""Every job can still move, or is final, or has a reason; charges equal the ledger; no budget is passed."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Engine

from jobs.database import connect
from local import LocalServices
from tests.conftest import url_of
from tests.interleavings.machine import Interleavings
from tests.support.databases import Databases

SOME = settings(
    deadline=None,
    max_examples=40,
    stateful_step_count=20,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


@pytest.fixture
def machine(databases: Databases, services: LocalServices) -> type[Interleavings]:
    """The machine, each of its runs on a database of its own."""

    def new_engine() -> Engine:
        return connect(url_of(services, databases.take()))

    def give_back(engine: Engine) -> None:
        name = engine.url.database
        engine.dispose()
        assert name is not None
        databases.give_back(name)

    names = {"new_engine": new_engine, "give_back": give_back, "reached": Counter()}
    return type("OnPostgres", (Interleavings,), names)


def test_some_interleavings_keep_the_promises(machine: type[Interleavings]) -> None:
    """Some of them, always the same."""
    run_state_machine_as_test(machine, settings=SOME)
    print(machine.reached)
    # An order of steps in which nobody calls shows nothing.
    assert machine.reached["charged"] > SOME.max_examples


@pytest.mark.long("a hundred interleavings; the test before it has six")
def test_many_interleavings_keep_the_promises(machine: type[Interleavings]) -> None:
    """Other ones in each run; what breaks is shrunk to its least steps."""
    many = settings(SOME, max_examples=100, stateful_step_count=40, derandomize=False, phases=list(Phase))
    run_state_machine_as_test(machine, settings=many)
