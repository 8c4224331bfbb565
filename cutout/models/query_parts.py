"""Rows that an UPDATE or DELETE chooses and locks by a query of its own."""

from typing import Any

from sqlalchemy import (
    CTE,
    Column,
    ColumnElement,
    Integer,
    Select,
    any_,
    bindparam,
    func,
    literal,
    select,
    true,
)


def is_among(column: ColumnElement[Any], chosen: Select[Any]) -> ColumnElement[bool]:
    """The column is one of what `chosen` gives, which runs once.

    `IN (SELECT … LIMIT n FOR UPDATE SKIP LOCKED)` is a join: where the planner puts the query inside a nested
    loop it runs again for each row, passes over what this statement has changed, and gives more than n rows.
    """
    return column == any_(func.array(chosen.correlate(None).scalar_subquery()))


def loose_index_scan(column: Column[Any], which: ColumnElement[bool]) -> CTE:
    """The next values of a column among the rows that `which` chooses, by an index that begins with it.

    Those behind the parameter `after`, as many as the parameter `most` says, each numbered as `n`.
    """
    first = (
        select(column, literal(1, Integer).label("n"))
        .where(which, column > bindparam("after", type_=column.type))
        .order_by(column)
        .limit(1)
    )
    walk = select(first.subquery()).cte("walk", recursive=True)
    its = walk.c[column.name]
    following = select(column).where(which, column > its).order_by(column).limit(1).lateral()
    return walk.union_all(
        select(following.c[column.name], walk.c.n + 1)
        .join_from(walk, following, true())
        .where(walk.c.n < bindparam("most", type_=Integer))
    )
