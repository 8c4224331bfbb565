"""The log of a test."""

import logging

import pytest


def errors_in(caplog: pytest.LogCaptureFixture) -> str:
    """The messages that were logged as errors."""
    return "\n".join(line.getMessage() for line in caplog.records if line.levelno >= logging.ERROR)
