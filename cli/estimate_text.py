"""Text of an estimate: what a batch would cost."""

from collections import Counter
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from cli.console import err, out
from cli.numbers import counted, in_words
from cutout.billing.accounts import credits_left
from cutout.billing.totals import DOLLARS_A_CREDIT
from cutout.ingest import Estimate
from cutout.ingest.estimate import Sample
from cutout.ingest.skipped_files import reason_text
from cutout.queue.outputs.backlog import expect
from cutout.settings import Settings
from cutout.status.call_rate import CallSettings, calls_a_second

SHOWN_REASONS = 5


def print_estimate(
    session: Session, found: Estimate, settings: Settings, rejects: Path, *, outputs: int
) -> None:
    """Print what there is, what was bought before and what would be paid; each job has at most `outputs`."""
    counts = found.counts
    _row("rows", counts.records)
    _row("pictures", counts.pictures)
    _row("rejected", counts.rejects, f"{rejects} ({_reasons(found.reasons)})" if counts.rejects else "")
    _row("duplicates", counts.duplicates)
    _row("skipped", sum(reason["count"] for reason in found.skipped))
    _row("already bought", found.bought, "0 credits")
    if found.sample.missing:
        missing = found.sample.missing_of(found.bought)
        _row("of them missing", missing, _missing(found.sample, missing))
    if found.same_picture:
        _row("same picture", found.same_picture, "0 credits")
    _row("to buy", found.calls, _price(found.calls, _balance(session, settings)))
    if outputs:
        most = expect(session, outputs * counts.jobs)
        work, gigabytes = in_words(most.cpu_seconds), most.size_bytes / 1e9
        _row("outputs, at most", most.outputs, f"0 credits, {work} of a core, {gigabytes:,.2f} GB")
    out.print(f"  {_speed(session, found.calls, settings)}", markup=False)
    print_skipped(found.skipped)
    print_remarks(found.remarks)


def print_skipped(skipped: list[dict[str, Any]]) -> None:
    """Print which files are not taken, a line a reason, on stderr."""
    for reason in skipped:
        err.print(f"skipped {reason_text(reason)}")


def print_remarks(remarks: list[str]) -> None:
    """Print what is to be said of a source, on stderr."""
    for remark in remarks:
        err.print(f"note: {remark}")


def _row(what: str, count: int, more: str = "") -> None:
    out.print(f"  {what:<16}{count:>12,}   {more}".rstrip(), markup=False)


def _reasons(reasons: Counter[str]) -> str:
    shown = [f"{count:,} {reason}" for reason, count in reasons.most_common(SHOWN_REASONS)]
    left = sum(reasons.values()) - sum(count for _, count in reasons.most_common(SHOWN_REASONS))
    return ", ".join([*shown, *([f"{left:,} for other reasons"] if left else [])])


def _missing(sample: Sample, missing: int) -> str:
    seen = f"the bucket lacks {sample.missing} of {sample.checked} that were checked"
    return f"{seen}; bought anew they cost about {counted(missing, 'credit')}"


def _price(calls: int, balance: float | None) -> str:
    known = "balance unknown" if balance is None else f"balance {balance:,.0f}"
    return f"{counted(calls, 'credit')}, about ${calls * DOLLARS_A_CREDIT:,.2f} ({known})"


def _balance(session: Session, settings: Settings) -> float | None:
    """Of all accounts whose credits were read; None if none were."""
    left = [credits_left(session, name) for name in CallSettings.of(settings).accounts]
    read = [credits_ for credits_ in left if credits_ is not None]
    return sum(read) if read else None


def _speed(session: Session, calls: int, settings: Settings) -> str:
    rate = calls_a_second(session, CallSettings.of(settings).accounts, settings.calls_per_second)
    if not rate:
        return "how long it takes is known once some calls were made"
    return f"at {rate:.1f} calls/s{'':<12}about {in_words(calls / rate)}"
