"""Writes the settings as .env.example shows them."""

from jobs.settings.fields import Settings
from jobs.settings.words import AUTO, PREFIX


def example() -> str:
    """The text of .env.example, made from the fields above."""
    lines = ["# The settings of cutout. Copy this file to .env, or set the variables in the environment."]
    for name, field in Settings.model_fields.items():
        lines += ["", f"# {field.description}"]
        if field.is_required():
            lines.append(f"{PREFIX}{name.upper()}=")
        else:
            lines.append(f"# {PREFIX}{name.upper()}={written_default(name)}")
    return "\n".join(lines) + "\n"


def written_default(name: str) -> str:
    """A setting's default as its variable would say it, empty if it is unset."""
    default = Settings.model_fields[name].default
    if name in ("calls_per_second", "calls_in_flight"):
        return AUTO
    if isinstance(default, tuple):
        return ",".join(default)
    return "" if default is None or default == {} else str(default)
