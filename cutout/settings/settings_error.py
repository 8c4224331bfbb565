"""The error of a setting that is missing or wrong."""


class SettingsError(Exception):
    """A setting is missing or wrong. One line for each, naming the variable and the remedy."""
