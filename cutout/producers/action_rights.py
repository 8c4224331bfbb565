"""Rights that an operator's key needs for each kind of action."""

from cutout.enums import ActionKind, OperatorScope, Role, operator_may
from cutout.producers.actors import Actor

OPERATE, SPEND = OperatorScope.OPERATE, OperatorScope.SPEND
# Kinds of actions of operators with the right that each needs. Other kinds are of producers, or of commands.
RIGHTS = {
    # What an operator adds by a page waits for approval.
    ActionKind.ADD_BATCH: OPERATE,
    ActionKind.PAUSE: OPERATE,
    ActionKind.RESUME: OPERATE,
    ActionKind.PAUSE_ALL: OPERATE,
    ActionKind.RESUME_ALL: OPERATE,
    ActionKind.CANCEL: OPERATE,
    ActionKind.CANCEL_JOB: OPERATE,
    ActionKind.CHANGE_BATCH: OPERATE,
    ActionKind.ACCEPT_JOB: OPERATE,
    ActionKind.ADD_OUTPUTS: OPERATE,
    ActionKind.RETRY_OUTPUTS: OPERATE,
    ActionKind.RETRY_JOB_OUTPUTS: OPERATE,
    ActionKind.REPLAY_DELIVERY: OPERATE,
    ActionKind.PAUSE_SCHEDULE: OPERATE,
    ActionKind.SKIP_RUN: OPERATE,
    ActionKind.APPROVE: SPEND,
    ActionKind.BUDGET: SPEND,
    # Deleted cutouts are bought again when they are asked for again.
    ActionKind.DELETE: SPEND,
    ActionKind.DELETE_JOB: SPEND,
    ActionKind.FORGET_MISSING: SPEND,
    ActionKind.ADD_SCHEDULE: SPEND,
    ActionKind.CHANGE_SCHEDULE: SPEND,
    ActionKind.RESUME_SCHEDULE: SPEND,
    ActionKind.RUN_SCHEDULE: SPEND,
    ActionKind.RESTORE_RUN: SPEND,
    ActionKind.REMOVE_SCHEDULE: SPEND,
}
# They cost nothing if every result is paid for already.
RETRIES = frozenset({ActionKind.RETRY, ActionKind.RETRY_JOB, ActionKind.RELEASE_JOB})


class RightMissingError(PermissionError):
    """The operator's key may not do this; the text names the right that is missing."""


def right_for(kind: ActionKind, credits_: int | None = None) -> OperatorScope | None:
    """The right that an action needs which may cost `credits_`, None: it is not known how many.

    None for an action that no operator's key may do.
    """
    if kind in RETRIES:
        return OPERATE if credits_ == 0 else SPEND
    return RIGHTS.get(kind)


def may(actor: Actor, kind: ActionKind, credits_: int | None = None) -> bool:
    """Whether the actor's key has the right. Those of producers are looked at by the API, by their scopes."""
    if actor.role is not Role.OPERATOR:
        return True
    needed = right_for(kind, credits_)
    return needed is not None and operator_may(actor.scopes, needed)


def require_right(actor: Actor, kind: ActionKind, credits_: int | None = None) -> None:
    """Raise RightMissingError unless the actor may do it."""
    if may(actor, kind, credits_):
        return
    needed = right_for(kind, credits_)
    if needed is None:
        raise RightMissingError(f"no operator's key may do this ({kind}); a command can, or the producer")
    has = ", ".join(actor.scopes)
    raise RightMissingError(
        f"this ({kind}) needs the right `{needed}`, and this key has {has}; use a key that has it"
    )
