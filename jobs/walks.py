"""Walks of an index from one value to the next: as many reads as values, however many rows one has."""

from typing import Any

from sqlalchemy import CTE, Column, ColumnElement, Integer, bindparam, literal, select, true


def walk_of(column: Column[Any], which: ColumnElement[bool]) -> CTE:
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
