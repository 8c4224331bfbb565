"""Health checks of outputs: whether somebody makes them, and how the endpoint's own forms were compared."""

from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError

from cutout.models import CALIBRATIONS
from cutout.monitoring.check import Check, failed, is_reported_elsewhere, passed
from cutout.queue.outputs.backlog import Backlog, read_backlog

PATIENCE_S = 120.0
LONG_BACKLOG_S = 24 * 3600
SHORT_S = 600
START = "start `cutout renderer`; outputs cost no credit"
NEVER_CALIBRATED = "how the endpoint's own forms differ from those derived of its RGBA was never measured"


def check_outputs(engine: Engine) -> list[Check]:
    """Check that outputs that wait are made, and say when that will be."""
    try:
        with engine.connect() as connection:
            backlog = read_backlog(connection)
    except DBAPIError as error:
        if is_reported_elsewhere(error):
            return []
        raise
    return [_judge(backlog)]


def check_calibration(engine: Engine, endpoint: str) -> list[Check]:
    """Say whether the endpoint's own forms were compared with the derived ones."""
    made = select(CALIBRATIONS.c.made_at).where(CALIBRATIONS.c.endpoint == endpoint)
    try:
        with engine.connect() as connection:
            made_at = connection.scalar(made)
    except DBAPIError as error:
        if is_reported_elsewhere(error):
            return []
        raise
    if made_at is None:
        remedy = "run `cutout calibrate`; it costs 32 credits"
        return [Check("calibration", ok=True, found=NEVER_CALIBRATED, remedy=remedy, needed=False)]
    found = f"the endpoint's forms were compared on {made_at:%Y-%m-%d}"
    return [Check("calibration", ok=True, found=found, needed=False)]


def _judge(backlog: Backlog) -> Check:
    if not backlog.waiting:
        return passed("outputs")
    waiting = f"{backlog.waiting:,} outputs wait, {_in_words(backlog.busy_s)} of a renderer"
    if backlog.seconds is None:
        if backlog.oldest_s < PATIENCE_S:
            return Check("outputs", ok=True, found=f"{waiting}; none runs yet", needed=False)
        return failed("outputs", f"{waiting}, and none runs", START)
    found = f"{waiting}; {backlog.processes} at a time, ready in about {_in_words(backlog.seconds)}"
    if backlog.seconds > LONG_BACKLOG_S:
        remedy = "run more renderers, each with as many processes as its machine has cores"
        return Check("outputs", ok=True, found=found, remedy=remedy, needed=False)
    return Check("outputs", ok=True, found=found, needed=False)


def _in_words(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} hours" if seconds >= SHORT_S else f"{seconds:,.0f} s"
