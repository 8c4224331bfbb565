"""The report: one table, and a line for each promise that was broken."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.soak.audit import Findings
from tests.soak.orders import Placed
from tests.soak.struck import Struck
from tests.soak.system import CALLS_IN_FLIGHT

LINES_SHOWN = 5
# So many strikes on workers must meet a call between them.
STRIKES_ENOUGH = 5


@dataclass(frozen=True)
class Report:
    """The findings, and the load and strikes that led to them."""

    command: str
    seconds: float
    findings: Findings
    struck: Sequence[Struck]
    placed: Sequence[Placed]
    wrong: Sequence[str] = ()
    ended: Sequence[str] = ()
    deeds: Counter[str] = field(default_factory=Counter)
    most_in_flight: int = 0

    def broken(self) -> list[str]:
        """A line for each promise that was broken; none if all were kept."""
        found = self.findings
        lines = [
            *_shown("lost", found.lost),
            *_shown("unaccounted", found.unaccounted),
            *_shown("calls that nobody ended", found.never_ended),
            *_shown("doubts without a cause", found.doubts.needless),
            *_shown("calls that the ledger does not have", found.unwritten_calls),
            *_shown("bought again too soon", found.bought_too_soon),
            *_shown("results lost that lived", found.losses.needless),
            *_shown("results used that were spoilt", found.losses.missed),
            *_shown("held without need", found.needlessly_held),
            *_shown("waits without a reason", found.silent),
            *_shown("calls beyond a budget or an approval", found.over_budget),
            *_shown("batches with wrong credits", found.wrong_credits),
            *_shown("calls begun during a pause or outside a window", found.began_outside),
            *_shown("ended otherwise than ordered", found.astray),
            *_shown("wrong", self.wrong),
            *_shown("ended by themselves", self.ended),
        ]
        if found.charged_more_than_once > found.of_these_recorded:
            lines.append(
                f"double charges: {found.charged_more_than_once}, of these recorded as unknown or lost only"
                f" {found.of_these_recorded}"
            )
        if self.most_in_flight > CALLS_IN_FLIGHT:
            lines.append(f"calls at once: {self.most_in_flight}, allowed are {CALLS_IN_FLIGHT}")
        if found.doubts.strikes_on_workers >= STRIKES_ENOUGH and not found.doubts.strikes_met_calls:
            lines.append(
                f"strikes in vain: none of {found.doubts.strikes_on_workers} met a call that was out"
            )
        return lines

    def table(self) -> str:
        """Markdown, to be pasted into a page."""
        found = self.findings
        rows = [
            ("jobs", found.jobs),
            ("succeeded", found.succeeded),
            *_counted("failed", found.failed),
            *_counted("held", found.held),
            ("cancelled, as asked", found.cancelled),
            ("lost", len(found.lost)),
            ("waiting without a reason", len(found.silent)),
            ("charged", found.charged),
            ("charged more than once", found.charged_more_than_once),
            ("of these recorded as unknown or lost", found.of_these_recorded),
            ("bought again before the doubt or loss", len(found.bought_too_soon)),
            ("recorded unknowns", found.doubts.total),
            *_counted("recorded unknowns", found.doubts.causes),
            ("recorded unknowns without a cause", len(found.doubts.needless)),
            ("calls that the ledger does not have", len(found.unwritten_calls)),
            ("strikes that stop or silence a worker", found.doubts.strikes_on_workers),
            ("of these met by calls that were out", found.doubts.strikes_met_calls),
            ("calls out at these strikes", found.doubts.out_at_strikes),
            ("unaccounted charges", len(found.unaccounted)),
            ("calls beyond a budget or an approval", len(found.over_budget)),
            ("batches with wrong credits", len(found.wrong_credits)),
            ("calls begun during a pause or outside a window", len(found.began_outside)),
            (f"most calls at once, of {CALLS_IN_FLIGHT} allowed", self.most_in_flight),
            ("paid results lost, as recorded", found.losses.recorded),
            ("of these for cancelled jobs", found.losses.by_cancelling),
            ("paid results spoilt by an order", found.losses.ordered),
            ("held without need", len(found.needlessly_held)),
            ("latest copy, as a share of its deadline", f"{found.latest_copy:.3f}"),
            ("kills", len(self.struck)),
            *_counted("kills", Counter(strike.kind.value for strike in self.struck)),
            ("ended by themselves, and followed by others", len(self.ended)),
            *_counted("orders", Counter(order.kind.value for order in self.placed if order.struck_at)),
            *_counted("acts of the operator", self.deeds),
        ]
        lines = [f"`{self.command}`, {self.seconds:.0f} s:", "", "| What | Number |", "|---|---:|"]
        return "\n".join([*lines, *(f"| {name} | {number} |" for name, number in rows)])


def _counted(word: str, counts: Counter[str]) -> list[tuple[str, int]]:
    if word not in ("kills", "recorded unknowns") and not counts:
        return [(word, 0)]
    return [(f"{word}: {name}", count) for name, count in counts.most_common()]


def _shown(word: str, lines: Sequence[str]) -> list[str]:
    """At most LINES_SHOWN of the lines in one."""
    if not lines:
        return []
    more = f"; and {len(lines) - LINES_SHOWN} more" if len(lines) > LINES_SHOWN else ""
    return [f"{word}: {len(lines)}: " + "; ".join(lines[:LINES_SHOWN]) + more]
