"""The small reader of docker-compose.yml that these tests rest on."""

import pytest

from tests.deploy.compose import RequiredError, interpolate, seconds

VARIABLES = {"NAME": "value", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$NAME ${NAME}", "value value"),
        ("a${NAME}b", "avalueb"),
        ("$$NAME $${NAME} $$", "$NAME ${NAME} $"),
        ("[${MISSING}]", "[]"),
        ("${MISSING:-127.0.0.1:80}:8000", "127.0.0.1:80:8000"),
        ("${EMPTY:-default} [${EMPTY-default}]", "default []"),
        ("${NAME:-default} ${NAME-default} ${NAME:?why} ${NAME?why}", "value value value value"),
        ("[${EMPTY?why}]", "[]"),
        ("${NAME:+set} [${EMPTY:+set}] ${EMPTY+set} [${MISSING+set}]", "set [] set []"),
    ],
)
def test_interpolation(text: str, expected: str) -> None:
    """Variables are filled in by the rules of Compose's specification."""
    assert interpolate(text, VARIABLES) == expected


@pytest.mark.parametrize("text", ["${MISSING:?say why}", "${MISSING?say why}", "${EMPTY:?say why}"])
def test_required(text: str) -> None:
    """A required variable that is missing, or empty with the colon, is refused with the file's own words."""
    with pytest.raises(RequiredError, match=r"(MISSING|EMPTY): say why"):
        interpolate(text, VARIABLES)


@pytest.mark.parametrize("text", ["a $ b", "${}", "${NAME:x}", "${1}"])
def test_lone_dollar(text: str) -> None:
    """A dollar that begins no variable is an error, as it is to Compose."""
    with pytest.raises(ValueError, match="lone dollar"):
        interpolate(text, VARIABLES)


def test_durations() -> None:
    """A duration is read in seconds, and anything else refused."""
    assert [seconds(text) for text in ("10s", "5m", "1m30s", "1h")] == [10, 300, 90, 3600]
    with pytest.raises(ValueError, match="not a duration"):
        seconds("5 minutes")
