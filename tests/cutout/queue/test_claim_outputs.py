"""Claims of outputs: producers in turn, none that is suspended, at a cost that no backlog raises."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from cutout.administration.suspend import resume, suspend
from cutout.producers.producers import create_producer
from cutout.queue.outputs import claim
from cutout.queue.outputs.claim import NIL_UUID, others_wait
from tests.support.explained import plan_of, rows_looked_at

ROWS = 20_000
# Rows that a claim may pass, in all nodes of its plan.
MOST_ROWS = 5_000

ADD = """
    INSERT INTO outputs
        (job_id, name, producer_id, priority, recipe, bought_sha256, source_sha256, due_at, state,
            finished_at)
    SELECT gen_random_uuid(), 'amazon', :producer, 5, 'amazon', sha256(('bought ' || n / :each)::bytea), 's',
        now() + :late * interval '1 s', :state, CASE WHEN :state = 'made' THEN now() END
    FROM generate_series(1, :rows) n
"""


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


def add(
    connection: Connection,
    producer: uuid.UUID | None,
    rows: int = 1,
    *,
    each: int = 1,
    late: int = 0,
    state: str = "waiting",
) -> None:
    """Add outputs, `each` of them of one purchase, due in `late` seconds; without jobs."""
    values = {"producer": producer, "rows": rows, "each": each, "late": late, "state": state}
    with connection.begin():
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(ADD), values)


def next_owner(connection: Connection, after: uuid.UUID | None = None) -> uuid.UUID | None:
    """The producer whose output is claimed next; nil for outputs without one, None if there is none."""
    with connection.begin():
        found = claim._next(connection, after)
    return None if found is None else found.producer_id or NIL_UUID


def rows_passed(connection: Connection, statement: Any, **values: object) -> int:
    """Rows of all nodes of a statement's plan, those removed by filters too."""
    with connection.begin() as transaction:
        plan = plan_of(connection, statement, values)
        transaction.rollback()
    return sum(rows_looked_at(plan))


A, B = uuid.UUID(int=0xA), uuid.UUID(int=0xB)


class TestTheNextClaim:
    def test_goes_round_the_producers(self, connection: Connection) -> None:
        for producer in (None, A, B):
            add(connection, producer, 3)
        assert next_owner(connection) == NIL_UUID
        assert next_owner(connection, NIL_UUID) == A
        assert next_owner(connection, A) == B
        assert next_owner(connection, B) == NIL_UUID

    def test_passes_producers_with_nothing_due(self, connection: Connection) -> None:
        add(connection, A, late=60)
        add(connection, B)
        assert next_owner(connection) == next_owner(connection, A) == B

    def test_leaves_a_picture_that_is_under_way(self, connection: Connection) -> None:
        add(connection, A, late=60)
        add(connection, A)
        assert next_owner(connection) is None

    def test_is_none_of_a_suspended_producer_until_it_is_resumed(self, engine: Engine) -> None:
        with Session(engine) as session, session.begin():
            shop = create_producer(session, "shop")[0].id
        with engine.connect() as connection:
            add(connection, shop)
            with Session(engine) as session, session.begin():
                suspend(session, shop)
            assert next_owner(connection) is None
            with Session(engine) as session, session.begin():
                resume(session, shop)
            assert next_owner(connection) == shop


def test_others_wait_only_if_they_have_something_due(connection: Connection) -> None:
    add(connection, A, 2)
    assert not others_wait(connection, A)
    assert others_wait(connection, None)
    add(connection, None, late=60)
    assert not others_wait(connection, A)
    add(connection, None, 3, each=9)
    assert others_wait(connection, A)


class TestTheCostOfAClaim:
    @pytest.mark.parametrize(
        "backlog", [{"each": ROWS + 1}, {"late": 60}, {"each": ROWS + 1, "state": "made"}, {}]
    )
    def test_does_not_grow_with_the_outputs_of_a_producer(
        self, connection: Connection, backlog: dict[str, Any]
    ) -> None:
        """Outputs of one picture, delayed ones, made ones, and ones of many pictures."""
        add(connection, A, ROWS, **backlog)
        add(connection, A, 3, each=ROWS + 1, late=60)
        add(connection, B)
        assert rows_passed(connection, claim.NEXT, first=NIL_UUID, but=None) < MOST_ROWS
        with connection.begin():
            found = claim._next(connection, A)
        assert found is not None
        assert found.producer_id == B
        lease = timedelta(seconds=60)
        assert rows_passed(connection, claim._take(found), lease=lease) < MOST_ROWS
