"""Screens that show the whole installation: for operators alone."""

from http import HTTPStatus

from console.faults import PageError
from console.viewer import Viewer


def require_operator(viewer: Viewer) -> None:
    """Raise PageError, 403, for a producer."""
    if not viewer.is_operator:
        raise PageError(
            HTTPStatus.FORBIDDEN,
            "This screen is about the whole installation, and your key is a producer's.",
            "Sign in with an operator's key, or look at “Trouble” and “Money” for your own work.",
        )
