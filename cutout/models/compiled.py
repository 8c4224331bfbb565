"""Statements that are run for each job, or several times a second, made into text once.

For each execution SQLAlchemy finds a statement by a key of all its parts and describes its result: that takes
more CPU than the round trip. Here the text goes to the driver as it is.
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
    """One statement. All values that change are its parameters; what it returns, psycopg converts alone."""

    def __init__(self, statement: UpdateBase | SelectBase) -> None:
        self.statement = statement
        self._text = b""
        self._defaults: dict[str, Any] = {}
        self._processors: tuple[tuple[str, Callable[[Any], Any]], ...] = ()

    def rows(self, database: Database, parameters: Mapping[str, Any]) -> list[Any]:
        """The rows that it returns, their columns by name. Raises DBAPIError, as SQLAlchemy does."""
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
            # As after its own statements: a broken connection leaves the pool, and the error is a DBAPIError.
            connection._handle_dbapi_exception(error, text.decode(), values, cursor, None)  # type: ignore[arg-type]  # noqa: SLF001
        finally:
            cursor.close()

    def first(self, database: Database, parameters: Mapping[str, Any]) -> Any:
        """The first row; None if there is none."""
        return next(iter(self.rows(database, parameters)), None)

    def scalar(self, database: Database, parameters: Mapping[str, Any]) -> Any:
        """The first column of the first row; None if there is none."""
        row = self.first(database, parameters)
        return None if row is None else row[0]

    def compile(self, dialect: Dialect) -> bytes:
        """Its text. Raises TypeError for a statement that SQLAlchemy completes at each execution."""
        compiled = self.statement.compile(dialect=dialect)
        _refuse_what_is_left_to_sqlalchemy(compiled, self.statement)
        names = compiled.bind_names
        text = str(compiled)
        for bind, name in names.items():
            if bind.required:
                continue
            if bind.unique and isinstance(bind.effective_value, int):
                # A number that the planner knows: with `LIMIT $1` it reckons with a tenth of the table. One
                # with a name of its own may be given anew.
                text = text.replace(f"%({name})s", str(bind.effective_value))
            else:
                self._defaults[name] = bind.effective_value
        processors = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect)
            for bind, name in names.items()
            if bind.required or name in self._defaults
        }
        self._processors = tuple((name, process) for name, process in processors.items() if process)
        # Last: another thread that finds it must find the rest as well.
        self._text = text.encode()
        return self._text


def _refuse_what_is_left_to_sqlalchemy(compiled: SQLCompiler, statement: UpdateBase | SelectBase) -> None:
    """Raises TypeError for a statement whose text or values SQLAlchemy completes at each execution."""
    left = {
        "lists of parameters": compiled.post_compile_params | compiled.literal_execute_params,
        "defaults of columns": [*compiled.insert_prefetch, *compiled.update_prefetch],
        "conversions of": [
            str(column)
            for column in statement.exported_columns
            if _is_converted(column.type, compiled.dialect)
        ],
    }
    for what, found in left.items():
        if found:
            raise TypeError(f"it has {what} {found}; run it by SQLAlchemy, without Compiled")


def _is_converted(returned: TypeEngine[Any], dialect: Dialect) -> bool:
    # Of these it depends on what comes: only a double is a float by itself.
    if isinstance(returned, ARRAY):
        return _is_converted(returned.item_type, dialect)
    if isinstance(returned, Float | Numeric):
        return not isinstance(returned, Double)
    return returned.dialect_impl(dialect).result_processor(dialect, None) is not None
