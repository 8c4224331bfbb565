"""Version of the client, which is that of the release of cutout it belongs to."""

__version__ = "0.1.0"
