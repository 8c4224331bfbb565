"""Numbers and durations as people read them."""


def in_words(seconds: float) -> str:
    """A span as a person says it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def counted(count: int, word: str) -> str:
    """`1 credit`, `2 credits`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
