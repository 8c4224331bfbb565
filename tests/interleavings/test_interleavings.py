"""Random interleavings: every job moves, ends or has a reason; charges equal the ledger; budgets hold."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Engine, event

from cutout.models.database import connect
from local import LocalServices
from tests.conftest import url_of
from tests.interleavings.machine import Interleavings
from tests.support.databases import Databases

SOME = settings(
    deadline=None,
    max_examples=4,
    stateful_step_count=15,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


@pytest.fixture
def machine(databases: Databases, services: LocalServices) -> Iterator[type[Interleavings]]:
    """The machine with a database for each run, and one engine, which compiles a statement once."""
    names = [databases.take()]
    engine = connect(url_of(services, names[0]))

    @event.listens_for(engine, "do_connect")
    def to_the_newest(_dialect: object, _record: object, _args: object, options: dict[str, Any]) -> None:
        options["dbname"] = names[-1]

    def new_engine() -> Engine:
        names.append(databases.take())
        return engine

    def give_back(engine: Engine) -> None:
        engine.dispose()
        databases.give_back(names.pop())

    its = {"new_engine": new_engine, "give_back": give_back, "reached": Counter()}
    yield type("OnPostgres", (Interleavings,), its)
    engine.dispose()
    databases.give_back(names.pop())


def test_some_interleavings_keep_the_promises(machine: type[Interleavings]) -> None:
    """A few interleavings, which are the same in each run."""
    run_state_machine_as_test(machine, settings=SOME)
    # An order of steps in which nobody calls shows nothing.
    assert machine.reached["charged"] > SOME.max_examples


# Alone it takes 90 s; late in a run of all tests, beside two others, three times as long and more.
@pytest.mark.timeout(1200)
@pytest.mark.long("a hundred interleavings; the test before it has four")
def test_many_interleavings_keep_the_promises(machine: type[Interleavings]) -> None:
    """Many interleavings, which differ in each run; a failure is reduced to its fewest steps."""
    many = settings(SOME, max_examples=100, stateful_step_count=30, derandomize=False, phases=list(Phase))
    run_state_machine_as_test(machine, settings=many)
