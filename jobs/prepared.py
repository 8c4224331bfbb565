"""Statements that run several times a second, made into text once.

SQLAlchemy keeps what it compiled under a key as large as the statement, and goes through all of it at each
execution to find it. For the largest statements of a dispatcher's tick that is a third of their cost here.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import CursorResult
from sqlalchemy.orm import Session
from sqlalchemy.sql.selectable import SelectBase

from jobs.database import Database


class Prepared:
    """A statement whose values Postgres' driver takes and gives as they are: no enumerations."""

    def __init__(self, statement: SelectBase) -> None:
        self.statement = statement
        self._text = ""
        self._given: Mapping[str, Any] = {}

    def on(self, database: Database, parameters: Mapping[str, Any]) -> CursorResult[Any]:
        """Execute it."""
        connection = database.connection() if isinstance(database, Session) else database
        if not self._text:
            compiled = self.statement.compile(dialect=connection.dialect)
            self._given, self._text = dict(compiled.params), str(compiled)
        return connection.exec_driver_sql(self._text, {**self._given, **parameters})
