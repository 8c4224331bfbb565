"""Schemas as Postgres itself describes them, whoever made them."""

from sqlalchemy import Engine, text

COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
"""
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
"""
INDEXES = """
    SELECT pg_class.relname, pg_get_indexdef(indexrelid), indisvalid
    FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
    WHERE relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
"""


def schema(engine: Engine) -> dict[str, set[tuple[object, ...]]]:
    """Columns, constraints and indexes, by the query that reads them."""
    with engine.connect() as connection:
        return {
            query: {tuple(row) for row in connection.execute(text(query))}
            for query in (COLUMNS, CONSTRAINTS, INDEXES)
        }
