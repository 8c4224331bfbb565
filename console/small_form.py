"""Forms of a few short texts."""

from fastapi import Request

MOST_FIELDS = 12
LONGEST_FIELD = 4096


async def small_form(request: Request) -> dict[str, str]:
    """The texts of a form by name."""
    async with request.form(max_files=0, max_fields=MOST_FIELDS, max_part_size=LONGEST_FIELD) as form:
        return {name: value for name, value in form.items() if isinstance(value, str)}
