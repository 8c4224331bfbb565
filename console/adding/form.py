"""The form of “Add work” as a page shows it: its values, and the fault of the one that was sent."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from console.adding.sent_form import Fields
from console.handed import OptionError
from console.viewer import Viewer
from cutout.enums import ReturnForm
from cutout.ingest.batch_window import BatchWindow
from cutout.models import PRODUCERS
from cutout.outputs.recipes import PRESETS
from cutout.schedules.batch_windows import request_window
from cutout.schedules.schedule_errors import InvalidScheduleError

MOST_PRODUCERS = 500
FORM_NAMES = {
    ReturnForm.RGBA: "transparent (RGBA)",
    ReturnForm.MASK: "mask",
    ReturnForm.WHITE_BACKGROUND: "on white",
    ReturnForm.CROP: "cropped to the object",
}
# What a form that was not filled in has.
EMPTY: Mapping[str, list[str]] = {
    "return_form": [ReturnForm.RGBA],
    "weight": ["1"],
    "reuse": ["true"],
    "zone": ["UTC"],
}
# The hours of a batch's window are two fields of the form.
HOURS = ("opens", "closes")
# Fields of the form that are options of a batch, by the names of the API.
OPTIONS = ("name", "return_form", "outputs", "weight", "budget", "reuse", "many", "map")


@dataclass(frozen=True, slots=True)
class FormFault:
    """The fault of a form, and the field that has it."""

    text: str
    remedy: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class ShownForm:
    """Values of the form's fields; `token` makes a form that is sent twice one batch."""

    given: Fields
    producers: Sequence[tuple[uuid.UUID, str]]
    fault: FormFault | None = None
    token: uuid.UUID = field(default_factory=uuid.uuid4)

    def one(self, name: str) -> str:
        """The value of a field; empty without one."""
        return next(iter(self.given.get(name, ())), "")

    def has(self, name: str, value: str) -> bool:
        """Whether a field has the value."""
        return value in self.given.get(name, ())

    @property
    def is_open(self) -> bool:
        """Whether one of the options that are folded away was given."""
        names = (*(name for name in OPTIONS if name != "name"), *HOURS, "zone")
        usual = all([*filter(None, self.given.get(name, []))] == EMPTY.get(name, []) for name in names)
        return not usual

    @property
    def forms(self) -> list[tuple[str, str]]:
        return [(form.value, FORM_NAMES[form]) for form in ReturnForm]

    @property
    def presets(self) -> list[str]:
        """Presets of renditions; those that are named as a form of the endpoint are no marketplace's."""
        return [name for name in PRESETS if name not in set(ReturnForm)]


def options_of(fields: Fields) -> dict[str, list[str]]:
    """The options of a batch that were filled in."""
    filled = {name: [value.strip() for value in fields.get(name, ()) if value.strip()] for name in OPTIONS}
    return {name: values for name, values in filled.items() if values}


def window_of(fields: Fields) -> BatchWindow | None:
    """The window that was filled in, if it was. Raises OptionError."""
    opens, closes, zone = ("".join(fields.get(name, ())).strip() for name in (*HOURS, "zone"))
    if not opens and not closes:
        return None
    if not opens or not closes:
        lacks = HOURS[1] if opens else HOURS[0]
        raise OptionError(lacks, "A window has two times: when calls begin, and when they end.")
    try:
        return request_window(f"{opens}-{closes}", zone or "UTC", datetime.now(UTC))
    except InvalidScheduleError as error:
        text = str(error)
        raise OptionError(
            "zone" if error.field == "zone" else HOURS[0], f"{text[:1].upper()}{text[1:]}."
        ) from None


def producers_for(connection: Connection, viewer: Viewer) -> list[tuple[uuid.UUID, str]]:
    """Producers for whom the viewer may add work and has to choose; none for a producer itself."""
    if not viewer.is_operator:
        return []
    columns = PRODUCERS.c.id, PRODUCERS.c.name
    found = connection.execute(select(*columns).order_by(PRODUCERS.c.name).limit(MOST_PRODUCERS))
    return [(row.id, row.name) for row in found]
