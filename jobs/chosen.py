"""Rows that an UPDATE or DELETE chooses and locks by a query of its own."""

from typing import Any

from sqlalchemy import ColumnElement, Select, any_, func


def is_among(column: ColumnElement[Any], chosen: Select[Any]) -> ColumnElement[bool]:
    """The column is one of what `chosen` gives, which runs once.

    `IN (SELECT … LIMIT n FOR UPDATE SKIP LOCKED)` is a join: where the planner puts the query inside a nested
    loop it runs again for each row, passes over what this statement has changed, and gives more than n rows.
    """
    return column == any_(func.array(chosen.correlate(None).scalar_subquery()))
