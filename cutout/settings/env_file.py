"""Loading of the settings from the environment and the file `.env`, and the text of .env.example."""

from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from cutout.settings.fields import Settings, line_of
from cutout.settings.output_fields import OutputSettings
from cutout.settings.settings_error import SettingsError
from cutout.settings.validators import AUTO, PREFIX


def load_settings(**overrides: Any) -> Settings:
    """Load the settings; raises SettingsError with one line for each missing or wrong one."""
    return _load(Settings, overrides)


Loaded = TypeVar("Loaded", bound=BaseSettings)


def _load(kind: type[Loaded], overrides: dict[str, Any]) -> Loaded:
    try:
        return kind(**overrides)
    except UnicodeDecodeError as error:
        raise SettingsError("the file .env is not UTF-8; save it again as UTF-8") from error
    except ValidationError as error:
        lines = [line_of(str(problem["loc"][0]), _reason(problem)) for problem in error.errors()]  # type: ignore[arg-type]
    raise SettingsError("\n".join(lines))


@cache
def read_settings() -> Settings:
    """The settings of this process, loaded once."""
    return load_settings()


@cache
def read_output_settings() -> OutputSettings:
    """The defaults of the options for outputs, loaded once; no other setting need be there."""
    return _load(OutputSettings, {})


def _reason(problem: dict[str, Any]) -> str:
    if problem["type"] == "missing":
        return "is missing"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    # The value itself is left out: it may be a secret.
    inside = "".join(f"{part}: " for part in problem["loc"][1:])
    return f"is wrong: {inside}{problem['msg'][0].lower()}{problem['msg'][1:]}"


def example() -> str:
    """The text of .env.example, made from the fields."""
    lines = ["# The settings of cutout. Copy this file to .env, or set the variables in the environment."]
    for name, field in Settings.model_fields.items():
        lines += ["", f"# {field.description}"]
        if field.is_required():
            lines.append(f"{PREFIX}{name.upper()}=")
        else:
            lines.append(f"# {PREFIX}{name.upper()}={written_default(name)}")
    return "\n".join(lines) + "\n"


def written_default(name: str) -> str:
    """A setting's default as the value of its variable; empty if it is unset."""
    default = Settings.model_fields[name].default
    if name in ("calls_per_second", "calls_in_flight"):
        return AUTO
    if isinstance(default, tuple):
        return ",".join(default)
    return "" if default is None or default == {} else str(default)
