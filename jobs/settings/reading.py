"""Reads the settings from the environment and from a file `.env`."""

from functools import cache
from typing import Any

from pydantic import ValidationError

from jobs.settings.fields import Settings, SettingsError, line_of


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; raises SettingsError with one line for each that is missing or wrong."""
    try:
        return Settings(**overrides)
    except UnicodeDecodeError as error:
        raise SettingsError("the file .env is not UTF-8; save it again as UTF-8") from error
    except ValidationError as error:
        lines = [line_of(str(problem["loc"][0]), _reason(problem)) for problem in error.errors()]  # type: ignore[arg-type]
    raise SettingsError("\n".join(lines))


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return load_settings()


def _reason(problem: dict[str, Any]) -> str:
    if problem["type"] == "missing":
        return "is missing"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    # The text of the value itself stays out: it may be a secret.
    inside = "".join(f"{part}: " for part in problem["loc"][1:])
    return f"is wrong: {inside}{problem['msg'][0].lower()}{problem['msg'][1:]}"
