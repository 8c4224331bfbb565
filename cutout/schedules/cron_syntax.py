"""Cron expressions as people write them, in the spelling that is read further."""

import re

from cutout.schedules.schedule_errors import InvalidScheduleError

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FIELDS, WITH_SECONDS, WITH_YEAR = 5, 6, 7
MONTHS = (
    "JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE", "JULY", "AUGUST", "SEPTEMBER", "OCTOBER",
    "NOVEMBER", "DECEMBER",
)  # fmt: skip
DAYS = ("SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY")
BOUNDS = {"second": (0, 59), "minute": (0, 59), "hour": (0, 23), "day-of-month": (1, 31), "month": (1, 12)}
BOUNDS["day-of-week"] = (0, 6)
NAMES = {
    "month": {name: number for number, name in enumerate(MONTHS, start=1)},
    "day-of-week": {name: number for number, name in enumerate(DAYS)},
}
EXAMPLES = {
    "second": "0 to 59",
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, or L for the last",
    "month": "1 to 12 or JAN to DEC",
    "day-of-week": "0 to 6 or SUN to SAT, with 7 for Sunday as well",
}
SHORTEST_NAME = 3
SUNDAY_AGAIN = 7
RANGE = re.compile(r"([A-Za-z]+|[0-9]+)-([A-Za-z]+|[0-9]+)(?:/([0-9]{1,3}))?")
COUNTED = re.compile(r"[0-9]")


def fields_of(expression: str) -> list[str]:
    """The fields, seconds first: macros, names in full, ranges that go round (FRI-MON, 22-6) and `?` are
    spelled out.

    Raises InvalidScheduleError for what may mean two things, or nothing here.
    """
    text = expression.strip()
    if text.startswith("@"):
        text = _of_macro(text)
    fields = text.split()
    if len(fields) == WITH_YEAR and fields[-1] in {"*", "?"} and "?" in fields[3:6]:
        # Quartz has a year behind it all.
        fields.pop()
    if len(fields) == FIELDS:
        fields = ["0", *fields]
    if len(fields) != WITH_SECONDS:
        raise _invalid(
            f"the cron expression {expression!r} does not have five fields, or six with seconds first; write"
            " one like '15 1 * * *'"
        )
    fields = _without_question_marks(expression, fields)
    return [_spelled(name, field) for name, field in zip(BOUNDS, fields, strict=True)]


def what_is_wrong(expression: str, fields: list[str], field: str) -> str:
    """The message for a field that cannot be read."""
    names = list(BOUNDS)
    value = f" ({fields[names.index(field)]!r})" if field in names else ""
    range_ = f": write {EXAMPLES[field]}" if field in EXAMPLES else "; fix it"
    return f"the cron expression {expression!r} never fires: there is no such {field}{value}{range_}"


def _of_macro(text: str) -> str:
    found = MACROS.get(text.lower())
    if found is None:
        raise _invalid(
            f"the cron expression {text!r} is none of {', '.join(MACROS)}; write one of them, or five fields"
            " like '15 1 * * *'"
        )
    return found


def _without_question_marks(expression: str, fields: list[str]) -> list[str]:
    """Quartz's `?` for `no matter which` is `*`; but Quartz counts Sunday as 1 where cron has 0."""
    day_of_month, day_of_week = fields[3], fields[5]
    if not any("?" in field for field in fields):
        return fields
    if any("?" in field for field in [*fields[:3], fields[4]]) or {day_of_month, day_of_week} == {"?"}:
        raise _invalid(
            f"the cron expression {expression!r} has a ? that says nothing; write * for each, and ? for one"
            " of day-of-month and day-of-week alone"
        )
    if COUNTED.match(day_of_week):
        raise _invalid(
            f"the cron expression {expression!r} has ? as Quartz writes it, which counts Sunday as 1 and not"
            f" as 0: write the day of the week {day_of_week!r} by name, such as MON-FRI, or * for ?"
        )
    fields = list(fields)
    fields[3], fields[5] = ("*" if field == "?" else field for field in (day_of_month, day_of_week))
    return fields


def _spelled(name: str, field: str) -> str:
    return ",".join(_part(name, part) for part in field.split(","))


def _part(name: str, part: str) -> str:
    found = RANGE.fullmatch(part)
    if not found:
        number = _named(name, part)
        return part if number is None else str(number)
    first, last = (_number(name, word) for word in found.group(1, 2))
    if first is None or last is None:
        return part
    step = int(found[3] or 1)
    lowest, highest = BOUNDS[name]
    if name == "day-of-week":
        first, last = _of_one_week(first, last)
    if first <= last or not step or not (lowest <= first <= highest and lowest <= last <= highest):
        return f"{first}-{last}{f'/{step}' if found[3] else ''}"
    around = [*range(first, highest + 1), *range(lowest, last + 1)]
    return ",".join(map(str, around[::step]))


def _of_one_week(first: int, last: int) -> tuple[int, int]:
    """Sunday is 0 and 7: 7-2 begins on it, 5-7 ends on it, and 0-7 is all of the week."""
    if first == SUNDAY_AGAIN:
        return 0, last % SUNDAY_AGAIN
    return first, 0 if first and last == SUNDAY_AGAIN else last


def _number(name: str, word: str) -> int | None:
    return int(word) if word.isdecimal() else _named(name, word)


def _named(name: str, word: str) -> int | None:
    """The number of a month or day that is named by three letters or more of it; None if it is not."""
    folded = word.upper().rstrip(".")
    if len(folded) < SHORTEST_NAME:
        return None
    return next((n for full, n in NAMES.get(name, {}).items() if full.startswith(folded)), None)


def _invalid(text: str) -> InvalidScheduleError:
    return InvalidScheduleError("cron", text)
