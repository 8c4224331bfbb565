"""The endpoint's properties that its calibration found, as renderers use them."""

import json
import logging
from dataclasses import dataclass

from sqlalchemy import Connection, select

from cutout.models import CALIBRATIONS
from cutout.outputs.calibration import Calibration
from cutout.outputs.enlarge.softness import SOFT

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EndpointProperties:
    """Whether its alpha is sharpened, None to judge each picture; whether its colours are cleaned."""

    sharpen: bool | None = None
    decontaminated: bool = False


def read_properties(connection: Connection, endpoint: str) -> EndpointProperties:
    """The properties of the endpoint at this URL; those assumed if it was never calibrated.

    A calibration of another version is not used: `cutout calibrate` writes a new one.
    """
    found = connection.scalar(select(CALIBRATIONS.c.found).where(CALIBRATIONS.c.endpoint == endpoint))
    if found is None:
        return EndpointProperties()
    try:
        calibration = Calibration.from_json(json.dumps(found))
    except ValueError as error:
        log.warning("the calibration of %s is not used: %s", endpoint, error)
        return EndpointProperties()
    softness = calibration.softness
    is_sharp = softness is not None and softness <= SOFT
    return EndpointProperties(False if is_sharp else None, decontaminated=bool(calibration.is_decontaminated))
