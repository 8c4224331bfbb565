"""An installation with many jobs, made in the database by itself, and sessions of those who look at it."""

import uuid
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.producers.api_keys import make_key, make_operator_key
from cutout.producers.producers import create_producer
from cutout.producers.sessions import make_session

STATEMENTS = Path(__file__).with_suffix(".sql")
OPERATOR, PRODUCER = "operator", "producer"
# The API takes at most 50 streams of an operator's key or of a producer.
SESSIONS_A_KEY = 50
KEYS = {OPERATOR: 3, PRODUCER: 1}


@dataclass(frozen=True)
class Filled:
    """Ids that the screens are asked with, sessions by kind of viewer, and a key for the API."""

    key: str
    sessions: dict[str, list[str]]
    catalog: uuid.UUID
    ended: uuid.UUID
    jobs: dict[str, uuid.UUID]
    schedule: uuid.UUID
    waiting: list[uuid.UUID]


def fill(engine: Engine, rows: int) -> Filled:
    """So many jobs with their batches, calls, deliveries and schedules."""
    with Session(engine) as session, session.begin():
        shop, key = create_producer(session, "shop")
        other, _ = create_producer(session, "other")
        sessions = {OPERATOR: _sessions(session, None), PRODUCER: _sessions(session, shop.id)}
        given = {":shop": f"uuid '{shop.id}'", ":other": f"uuid '{other.id}'", ":rows": str(rows)}
        statements = STATEMENTS.read_text()
        for name, value in given.items():
            statements = statements.replace(name, value)
        for statement in statements.split(";\n"):
            session.connection().exec_driver_sql(statement.replace("%", "%%"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))

        def one(query: str) -> uuid.UUID:
            return connection.execute(text(query)).scalar_one()  # type: ignore[no-any-return]

        catalog = one("SELECT id FROM batches WHERE name = 'catalog'")
        states = ("succeeded", "failed", "held")
        return Filled(
            key,
            sessions,
            catalog,
            one("SELECT id FROM batches WHERE name = 'batch 2002'"),
            {
                state: one(f"SELECT id FROM jobs WHERE batch_id = '{catalog}' AND state = '{state}' LIMIT 1")  # noqa: S608 - words of this file
                for state in states
            },
            one("SELECT id FROM schedules LIMIT 1"),
            list(
                connection.scalars(
                    text(
                        "SELECT id FROM jobs WHERE queue_state = 'ready' AND batch_id = :batch"
                        " AND step = 'call' ORDER BY id LIMIT 100000"
                    ),
                    {"batch": catalog},
                )
            ),
        )


def _sessions(session: Session, producer_id: uuid.UUID | None) -> list[str]:
    """Tokens of sessions of some keys of the producer or, without one, of operators."""
    keys = [
        make_key(session, producer_id, f"viewer {n}")[0]
        if producer_id
        else make_operator_key(session, f"viewer {n}")[0]
        for n in range(KEYS[PRODUCER if producer_id else OPERATOR])
    ]
    return [make_session(session.connection(), key.id) for key in keys for _ in range(SESSIONS_A_KEY)]
