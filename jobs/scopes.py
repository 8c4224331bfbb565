"""What a key may do."""

from collections.abc import Collection
from enum import StrEnum


class Scope(StrEnum):
    """A right that a key has. All of them end at its own producer's jobs and batches."""

    ENQUEUE = "enqueue"
    """Make and change jobs and batches."""

    READ = "read"
    """Look at jobs and batches and fetch results."""

    ADMIN = "admin"
    """The other two, and what spends money by itself: schedules, budgets, approvals."""


USUAL_SCOPES = (Scope.ENQUEUE, Scope.READ)


def allows(scopes: Collection[str], needed: Scope) -> bool:
    """Whether a key with these scopes may do it; `admin` may do everything."""
    return needed in scopes or Scope.ADMIN in scopes
