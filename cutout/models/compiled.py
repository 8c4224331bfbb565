"""Statements that run for each job, or several times a second, compiled into text once.

For each execution SQLAlchemy looks a statement up by a key of all its parts and describes its result, which
takes more CPU than the round trip. Here the text goes to the driver directly.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import psycopg
from psycopg.rows import RowFactory, namedtuple_row
from sqlalchemy import ARRAY, Dialect
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.types import Double, Float, Numeric, TypeEngine

from cutout.models.database import Database

BY_NAME = cast("RowFactory[Any]", namedtuple_row)


class Compiled:
    """One statement. All values that change are parameters, and psycopg alone converts the results."""

    def __init__(self, statement: UpdateBase | SelectBase) -> None:
        self.statement = statement
        self._text = b""
        self._defaults: dict[str, Any] = {}
        self._processors: tuple[tuple[str, Callable[[Any], Any]], ...] = ()

    def rows(self, database: Database, parameters: Mapping[str, Any]) -> list[Any]:
        """Execute it; returns the rows, with columns by name. Raises DBAPIError, as SQLAlchemy does."""
        connection = database.connection() if isinstance(database, Session) else database
        driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
        if not driver.autocommit and not connection.in_transaction():
            connection.begin()
        text = self._text or self.compile(connection.dialect)
        values = self._defaults | dict(parameters)
        for name, process in self._processors:
            values[name] = process(values[name])
        cursor = driver.cursor(row_factory=BY_NAME)
        try:
            cursor.execute(text, values)
            return cursor.fetchall()
        except psycopg.Error as error:
            # As for SQLAlchemy's statements: a broken connection leaves the pool, a DBAPIError is raised.
            connection._handle_dbapi_exception(error, text.decode(), values, cursor, None)  # type: ignore[arg-type]  # noqa: SLF001
        finally:
            cursor.close()

    def first(self, database: Database, parameters: Mapping[str, Any]) -> Any:
        """Execute it; returns the first row, or None."""
        return next(iter(self.rows(database, parameters)), None)

    def scalar(self, database: Database, parameters: Mapping[str, Any]) -> Any:
        """Execute it; returns the first column of the first row, or None."""
        row = self.first(database, parameters)
        return None if row is None else row[0]

    def compile(self, dialect: Dialect) -> bytes:
        """Compile it; returns the text. Raises TypeError if SQLAlchemy completes it at each execution."""
        compiled = self.statement.compile(dialect=dialect)
        _refuse_incomplete(compiled, self.statement)
        names = compiled.bind_names
        text = str(compiled)
        for bind, name in names.items():
            if bind.required:
                continue
            if bind.unique and isinstance(bind.effective_value, int):
                # A literal for the planner: with `LIMIT $1` it estimates a tenth of the table. A parameter
                # with a name of its own may have another value at each execution.
                text = text.replace(f"%({name})s", str(bind.effective_value))
            else:
                self._defaults[name] = bind.effective_value
        processors = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect)
            for bind, name in names.items()
            if bind.required or name in self._defaults
        }
        self._processors = tuple((name, process) for name, process in processors.items() if process)
        # Last: a thread that finds the text must find the other fields as well.
        self._text = text.encode()
        return self._text


def _refuse_incomplete(compiled: SQLCompiler, statement: UpdateBase | SelectBase) -> None:
    """Raise TypeError if SQLAlchemy completes the statement's text or values at each execution."""
    left = {
        "lists of parameters": compiled.post_compile_params | compiled.literal_execute_params,
        "defaults of columns": [*compiled.insert_prefetch, *compiled.update_prefetch],
        "conversions of": [
            str(column)
            for column in statement.exported_columns
            if _is_converted(column.type, compiled.dialect)
        ],
    }
    for noun, found in left.items():
        if found:
            raise TypeError(f"it has {noun} {found}; run it by SQLAlchemy, without Compiled")


def _is_converted(returned: TypeEngine[Any], dialect: Dialect) -> bool:
    # The driver returns a float for a double only.
    if isinstance(returned, ARRAY):
        return _is_converted(returned.item_type, dialect)
    if isinstance(returned, Float | Numeric):
        return not isinstance(returned, Double)
    return returned.dialect_impl(dialect).result_processor(dialect, None) is not None
