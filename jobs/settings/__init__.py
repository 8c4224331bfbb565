"""The settings, read from the environment and from a file `.env`; every name begins with CUTOUT_."""

from jobs.settings.fields import LogFormat, Settings, SettingsError, VerdictOverride
from jobs.settings.reading import load_settings, settings
from jobs.settings.words import AUTO, PLAIN_HTTP, PREFIX
from jobs.settings.writing import example, written_default

__all__ = [
    "AUTO",
    "PLAIN_HTTP",
    "PREFIX",
    "LogFormat",
    "Settings",
    "SettingsError",
    "VerdictOverride",
    "example",
    "load_settings",
    "settings",
    "written_default",
]
