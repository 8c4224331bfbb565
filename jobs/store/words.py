"""What others say is kept to a bounded length."""

LONGEST_MESSAGE = 500


def cut(message: str | None) -> str | None:
    """The message, at most LONGEST_MESSAGE characters of it."""
    return message if message is None else message[:LONGEST_MESSAGE]
