"""Settings, read from the environment and from the file `.env`; every name begins with CUTOUT_."""

from cutout.settings.env_file import (
    example,
    load_settings,
    read_output_settings,
    read_settings,
    written_default,
)
from cutout.settings.fields import LogFormat, Settings, VerdictOverride
from cutout.settings.settings_error import SettingsError
from cutout.settings.validators import AUTO, PLAIN_HTTP, PREFIX

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
    "read_output_settings",
    "read_settings",
    "written_default",
]
