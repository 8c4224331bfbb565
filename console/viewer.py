"""The viewer of a page: a producer or an operator, with the rights of the key that signed in.

`find_viewer` is the one place where a session becomes a viewer.
"""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from console.faults import forbidden
from cutout.actions import Actor, Asked
from cutout.enums import OperatorScope, Role, Scope
from cutout.producers.sessions import session_owner

NOBODY = uuid.UUID(int=0)


class Kind(StrEnum):
    """Kind of a key's owner."""

    PRODUCER = "producer"
    OPERATOR = "operator"


class Right(StrEnum):
    """Permission of a viewer. The server checks it at each request; a hidden button is only a courtesy."""

    VIEW = "view"
    OPERATE = "operate"
    """Pause, cancel, and retry what costs nothing."""
    SPEND = "spend"
    """All that may cost a credit: budgets, approvals, schedules, retries that call again."""


# Rights by scope: those of producers' keys, and those of operators', each with those before it.
OF_SCOPES: Mapping[str, tuple[Right, ...]] = {
    Scope.READ: (Right.VIEW,),
    Scope.ENQUEUE: (Right.OPERATE,),
    Scope.ADMIN: tuple(Right),
    OperatorScope.VIEW: (Right.VIEW,),
    OperatorScope.OPERATE: (Right.VIEW, Right.OPERATE),
    OperatorScope.SPEND: tuple(Right),
}


def rights_of(scopes: Collection[str]) -> frozenset[Right]:
    """The rights of a key with these scopes."""
    return frozenset(right for scope in scopes for right in OF_SCOPES.get(scope, ()))


def may_look(scopes: Collection[str]) -> bool:
    """Whether a key with these scopes may see anything here."""
    return Right.VIEW in rights_of(scopes)


@dataclass(frozen=True, slots=True)
class Viewer:
    """A person who looks. `producer_id` bounds each question; None is an operator, who sees everything."""

    kind: Kind
    producer_id: uuid.UUID | None
    name: str
    key_id: uuid.UUID
    rights: frozenset[Right]

    @property
    def is_operator(self) -> bool:
        return self.kind is Kind.OPERATOR

    def unnamed(self) -> "Viewer":
        """The kind of viewer: all with the same work to see and the same rights."""
        return Viewer(self.kind, self.producer_id, "", NOBODY, self.rights)

    def may(self, right: Right) -> bool:
        """Whether the viewer has the right."""
        return right in self.rights

    def require(self, right: Right) -> None:
        """Raise PageError, 403, unless the viewer has the right."""
        if right not in self.rights:
            raise forbidden(right)

    def asked(self, reason: str | None = None) -> Asked:
        """The request of an action by this viewer, for its row. Raises ReasonError."""
        if not self.is_operator:
            return Asked(Actor(Role.PRODUCER, self.name, self.key_id, self.producer_id), reason)
        scopes = tuple(OperatorScope(right) for right in Right if right in self.rights)
        return Asked(Actor(Role.OPERATOR, self.name, self.key_id, scopes=scopes), reason)


def find_viewer(connection: Connection, token_sha256: bytes) -> Viewer | None:
    """The viewer of the session, if it and its key are valid now and the key may look."""
    owner = session_owner(connection, token_sha256)
    if owner is None or owner.suspended:
        return None
    rights = rights_of(owner.scopes)
    if Right.VIEW not in rights:
        return None
    kind = Kind.OPERATOR if owner.producer_id is None else Kind.PRODUCER
    return Viewer(kind, owner.producer_id, owner.key_name, owner.key_id, rights)
