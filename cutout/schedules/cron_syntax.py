"""Normalization of cron expressions: macros, full names, wrapping ranges and `?`, as cronsim reads them."""

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
ZONE = re.compile(r"(?:CRON_)?TZ=(\S+)\s+", re.IGNORECASE)
# Hyphens and dashes that editors put in place of `-`.
DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
AROUND_MARK = re.compile(r"\s*,\s*|(?<=\S)\s+-\s+(?=\S)")
RANGE = re.compile(r"([A-Za-z]+|[0-9]+)-([A-Za-z]+|[0-9]+)(?:/([0-9]{1,3}))?")
COUNTED = re.compile(r"[0-9]")


def fields_of(expression: str) -> list[str]:
    """The fields, seconds first, with macros, full names, wrapping ranges (FRI-MON, 22-6) and `?` expanded.

    Raises InvalidScheduleError for an ambiguous or unsupported expression.
    """
    text = AROUND_MARK.sub(lambda found: found[0].strip(), expression.strip().translate(DASHES))
    if zone := ZONE.match(text):
        raise _invalid(
            f"the cron expression {expression!r} begins with a time zone; leave it out, and give {zone[1]} as"
            " the time zone of the schedule"
        )
    if text.startswith("@"):
        text = _expand_macro(text)
    fields = text.split()
    if len(fields) == WITH_YEAR and "?" in fields[3:6]:
        # Quartz has the year as the last field.
        year = fields.pop()
        if year not in {"*", "?"}:
            raise _invalid(
                f"the cron expression {expression!r} has the year {year} as its seventh field, which is not"
                f" supported; leave it out: {' '.join(fields)!r}"
            )
    if len(fields) == FIELDS:
        fields = ["0", *fields]
    if len(fields) != WITH_SECONDS:
        raise _invalid(
            f"the cron expression {expression!r} does not have five fields, or six with seconds first; write"
            " one like '15 1 * * *'"
        )
    fields = _without_question_marks(expression, fields)
    return [_expand_field(name, field) for name, field in zip(BOUNDS, fields, strict=True)]


def field_fault(expression: str, fields: list[str], field: str) -> str:
    """The message for an invalid field."""
    names = list(BOUNDS)
    if field == "day-of-month" and _is_in_bounds(field, fields[names.index(field)]):
        return (
            f"the cron expression {expression!r} never fires: no month {fields[names.index('month')]} has a"
            f" day {fields[names.index(field)]}; fix the day or the month"
        )
    value = f" ({fields[names.index(field)]!r})" if field in names else ""
    range_ = f": write {EXAMPLES[field]}" if field in EXAMPLES else "; fix it"
    return f"the cron expression {expression!r} never fires: there is no such {field}{value}{range_}"


def _is_in_bounds(name: str, field: str) -> bool:
    lowest, highest = BOUNDS[name]
    return all(part.isdecimal() and lowest <= int(part) <= highest for part in field.split(","))


def _expand_macro(text: str) -> str:
    found = MACROS.get(text.lower())
    if found is None:
        raise _invalid(
            f"the cron expression {text!r} is none of {', '.join(MACROS)}; write one of them, or five fields"
            " like '15 1 * * *'"
        )
    return found


def _without_question_marks(expression: str, fields: list[str]) -> list[str]:
    """Replace Quartz's `?` by `*`. Quartz counts Sunday as 1 and cron as 0, so numbered days are refused."""
    day_of_month, day_of_week = fields[3], fields[5]
    if not any("?" in field for field in fields):
        return fields
    if any("?" in field for field in [*fields[:3], fields[4]]) or {day_of_month, day_of_week} == {"?"}:
        raise _invalid(
            f"the cron expression {expression!r} has a ? where it is not allowed; write *, or ? for only one"
            " of day-of-month and day-of-week"
        )
    if COUNTED.match(day_of_week):
        raise _invalid(
            f"the cron expression {expression!r} has ? as in Quartz, which counts Sunday as 1 and not as 0:"
            f" write the day of the week {day_of_week!r} by name, such as MON-FRI, or * for ?"
        )
    fields = list(fields)
    fields[3], fields[5] = ("*" if field == "?" else field for field in (day_of_month, day_of_week))
    return fields


def _expand_field(name: str, field: str) -> str:
    return ",".join(_expand_part(name, part) for part in field.split(","))


def _expand_part(name: str, part: str) -> str:
    found = RANGE.fullmatch(part)
    if not found:
        number = _number_of_name(name, part)
        return part if number is None else str(number)
    first, last = (_number(name, word) for word in found.group(1, 2))
    if first is None or last is None:
        return part
    step = int(found[3] or 1)
    lowest, highest = BOUNDS[name]
    if name == "day-of-week":
        first, last = _weekdays(first, last)
    if first <= last or not step or not (lowest <= first <= highest and lowest <= last <= highest):
        return f"{first}-{last}{f'/{step}' if found[3] else ''}"
    around = [*range(first, highest + 1), *range(lowest, last + 1)]
    return ",".join(map(str, around[::step]))


def _weekdays(first: int, last: int) -> tuple[int, int]:
    """Sunday is 0 and 7: 7-2 begins on Sunday, 5-7 ends on it, and 0-7 is the whole week."""
    if first == SUNDAY_AGAIN:
        return 0, last % SUNDAY_AGAIN
    return first, 0 if first and last == SUNDAY_AGAIN else last


def _number(name: str, word: str) -> int | None:
    return int(word) if word.isdecimal() else _number_of_name(name, word)


def _number_of_name(name: str, word: str) -> int | None:
    """The number of a month or day given by three or more letters of its name; None for another word."""
    folded = word.upper().rstrip(".")
    if len(folded) < SHORTEST_NAME:
        return None
    return next((n for full, n in NAMES.get(name, {}).items() if full.startswith(folded)), None)


def _invalid(text: str) -> InvalidScheduleError:
    return InvalidScheduleError("cron", text)
