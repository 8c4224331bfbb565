"""Actors: who asks for an action, and with what reason."""

import uuid
from dataclasses import dataclass
from typing import Any

from cutout.enums import Role
from cutout.models.actions import LONGEST_ACTOR, LONGEST_REASON
from cutout.text import name_fault, visible


class ReasonError(ValueError):
    """A reason that cannot be kept; the text says why."""


@dataclass(frozen=True, slots=True)
class Actor:
    """An operator or a producer with the key that was used, or the user of a machine who ran a command.

    `name` is the key's, or the user's; `scopes` are of an operator's key.
    """

    role: Role
    name: str
    key_id: uuid.UUID | None = None
    producer_id: uuid.UUID | None = None
    scopes: tuple[str, ...] = ()

    @property
    def shown_name(self) -> str:
        """The name as it is stored: without control characters, at most LONGEST_ACTOR characters."""
        return visible(self.name)[:LONGEST_ACTOR]

    def columns(self) -> dict[str, Any]:
        """The columns of an action or a quote that name the actor."""
        return {"actor_role": self.role, "actor": self.shown_name, "actor_key_id": self.key_id}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of an action: its actor and, if one was given, the reason. Raises ReasonError."""

    by: Actor
    reason: str | None = None

    def __post_init__(self) -> None:
        reason = (self.reason or "").strip()
        if len(reason) > LONGEST_REASON:
            raise ReasonError(
                f"the reason has {len(reason):,} characters; write at most {LONGEST_REASON}, in one line"
            )
        if fault := name_fault(reason):
            raise ReasonError(f"the reason {fault}")
        # The field of a frozen class.
        object.__setattr__(self, "reason", reason or None)

    def columns(self) -> dict[str, Any]:
        """The columns of the action's row that the request gives."""
        return self.by.columns() | {"reason": self.reason}
