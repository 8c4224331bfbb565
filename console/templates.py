"""Templates: everything that they show is escaped, and a name that a view lacks is an error."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from console.shown_text import NONE, finalize, plain
from cutout.billing.totals import DOLLARS_A_CREDIT

SHORT_ID = 8
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
# `what` of a state, for the mark beside its word.
MARKS = {
    "succeeded": "✓",
    "finished": "✓",
    "made": "✓",
    "failed": "✗",
    "held": "▲",
    "cancelled": "⊘",
    "cancelling": "⊘",
    "deleting": "⊘",
    "running": "▶",
    "active": "▶",
    "queued": "○",
    "waiting": "○",
    "paused": "‖",
    "ingesting": "▶",
    "working": "▶",
    "partial": "◐",
    "over_budget": "◒",
    "late": "◷",
    "skipped": "»",
    "coming": "◦",
    "ok": "✓",
    "fault": "✗",
    "open": "▲",
    "unknown": "▲",
}


class Templates:
    """The templates of `console/templates/`."""

    def __init__(self, assets: Mapping[str, str]) -> None:
        self._environment = Environment(
            loader=PackageLoader("console", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=finalize,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals |= {"assets": dict(assets), "with_query": with_query}
        self._environment.filters |= {
            "number": number,
            "time": time_element,
            "duration": duration,
            "short": short_id,
            "state": state_element,
            "size": size,
            "coded": coded,
            "price": price_of,
        }

    def page(self, name: str, values: Mapping[str, Any]) -> str:
        """The whole page."""
        return self._environment.get_template(name).render(values)

    def block(self, name: str, block: str, values: Mapping[str, Any]) -> str | None:
        """One block of it; None if the template has none of this name."""
        template = self._environment.get_template(name)
        rendered = template.blocks.get(block)
        if rendered is None:
            return None
        return self._environment.concat(rendered(template.new_context(dict(values))))


def number(value: float | None) -> str:
    """A number with its thousands apart; a dash for none."""
    if value is None:
        return NONE
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def time_element(moment: datetime | None) -> Markup | str:
    """A moment in UTC as `<time>`; a dash for none."""
    if moment is None:
        return NONE
    text = moment.astimezone(UTC).isoformat(timespec="seconds")
    return Markup(f'<time datetime="{text}">{text[:10]} {text[11:19]}</time>')  # noqa: S704 - digits and signs  # nosec B704


def duration(seconds: float | None) -> str:
    """A time span in its two largest units; a dash for none."""
    if seconds is None:
        return NONE
    whole = max(round(seconds), 0)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S} s"
    if whole < DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S} min"
    return f"{whole // DAY_S} d {whole % DAY_S // HOUR_S} h"


def short_id(value: uuid.UUID) -> str:
    """The last characters of an id: ids of one hour begin alike."""
    return f"…{str(value)[-SHORT_ID:]}"


# A month of schedules has thousands of a few.
@lru_cache(maxsize=256)
def state_element(state: str) -> Markup:
    """A state by its word and a mark, not by colour alone."""
    word = plain(str(state))
    return Markup('<span class="state {}"><span aria-hidden="true">{}</span> {}</span>').format(
        word, MARKS.get(word, "·"), word.replace("_", " ")
    )


def coded(text: str) -> Markup:
    """A text of ours in which `code` is between backquotes."""
    parts = [escape(plain(part)) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 and at + 1 < len(parts) else part
        for at, part in enumerate(parts)
    )


def price_of(credits_: int) -> str:
    """The price of credits in dollars, to a tenth of a cent below a dollar."""
    dollars = credits_ * DOLLARS_A_CREDIT
    return f"${dollars:,.2f}" if dollars >= 1 else f"${dollars:.3f}"


def size(value: int | None) -> str:
    """A number of bytes in the unit that suits it."""
    if value is None:
        return NONE
    for unit, bytes_ in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if value >= bytes_:
            return f"{value / bytes_:.1f} {unit}"
    return f"{value} B"


def address_with(address: str, **fields: Any) -> str:
    """The address with these fields added, without those that are empty."""
    given = [(name, str(value)) for name, value in fields.items() if value not in (None, "")]
    return f"{address}{'&' if '?' in address else '?'}{urlencode(given)}" if given else address


def with_query(address: str, **fields: Any) -> Markup:
    """An address with these fields, as text of a page."""
    return escape(address_with(address, **fields))
