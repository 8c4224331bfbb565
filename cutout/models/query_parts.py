"""Parts of queries: rows chosen by a subquery that runs once, and a loose index scan."""

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
    """Whether the column is among the values of `chosen`, which runs once.

    `IN (SELECT … LIMIT n FOR UPDATE SKIP LOCKED)` is a join: if the planner puts the query inside a nested
    loop it runs again for each row, skips rows that this statement has changed, and gives more than n rows.
    """
    return column == any_(func.array(chosen.correlate(None).scalar_subquery()))


def loose_index_scan(column: Column[Any], condition: ColumnElement[bool]) -> CTE:
    """The next distinct values of a column among the rows that match, by an index that begins with it.

    Parameters: values after `after`, at most `most` of them, numbered as `n` from 1.
    """
    first = (
        select(column, literal(1, Integer).label("n"))
        .where(condition, column > bindparam("after", type_=column.type))
        .order_by(column)
        .limit(1)
    )
    scan = select(first.subquery()).cte("scan", recursive=True)
    last = scan.c[column.name]
    following = select(column).where(condition, column > last).order_by(column).limit(1).lateral()
    return scan.union_all(
        select(following.c[column.name], scan.c.n + 1)
        .join_from(scan, following, true())
        .where(scan.c.n < bindparam("most", type_=Integer))
    )
