"""What columns of several tables have in common."""

from sqlalchemy import CheckConstraint, text

NEW_ID = text("uuidv7()")
NOW = text("now()")
# Of an index: the producer, or the nil UUID for what belongs to none. As Postgres writes it.
OWNER = "COALESCE(producer_id, '00000000-0000-0000-0000-000000000000'::uuid)"


def address(column: str) -> CheckConstraint:
    """A constraint: what the column holds is an address of the web."""
    # An address without a host would keep what it belongs to from ever being told, and so from ending.
    return CheckConstraint(f"{column} ~ '^https?://[^/?#]+'", name=f"{column}_has_a_host")
