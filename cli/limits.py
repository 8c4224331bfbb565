"""The endpoint's limit as it stands: learned, in use, and what the account has left."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cli.console import out
from cli.database import open_database, plain_errors
from cutout.billing import accounts
from cutout.billing.recent_calls import slow_answers, slow_codes
from cutout.models import Account, Limit, QueueClock
from cutout.settings import AUTO, Settings, read_settings


def limits() -> None:
    """Show each account's limit, calls in flight and credits.

    It also shows when the endpoint last answered that calls come too fast.
    """
    settings = read_settings()
    names = [accounts.account_name(key.get_secret_value()) for key in settings.require_endpoint_api_keys()]
    with plain_errors(), Session(open_database()) as session:
        now = session.scalars(select(func.now())).one()
        paused_at = session.scalars(select(QueueClock.paused_at)).one()
        if paused_at:
            out.print(f"all calls are paused since {_time(paused_at)}; `cutout resume` lets them go on")
        for name in names:
            _print_account(session, settings, name, now)


def _print_account(session: Session, settings: Settings, name: str, now: datetime) -> None:
    account, limit = session.get(Account, name), session.get(Limit, name)
    out.print(f"account    {name}", style="bold")
    _line(
        "ceilings",
        f"{_ceiling(settings.calls_per_second)} calls/s, {_ceiling(settings.calls_in_flight)} in flight",
    )
    if account is None or limit is None:
        _line("limit", "nothing is known yet; it is learned with the first calls")
    else:
        age = (now - limit.seen_at).total_seconds()
        _line("seen", f"{age:.0f} s ago" if age < 10 else f"{_time(limit.seen_at)}: does a dispatcher lead?")  # noqa: PLR2004
        found = f"ceiling found {limit.top:.1f}" if limit.top is not None else "no ceiling found yet"
        _line("allowed", f"{limit.level:.1f} in flight ({found})")
        _line(
            "in use",
            f"{limit.open_calls} in flight, {limit.waiting} waiting, {limit.calls_per_second:.1f} calls/s",
        )
        _line("latency", f"{limit.latency_seconds:.2f} s a call")
        if limit.rests_until and limit.rests_until > now:
            _line("rests", f"until {_time(limit.rests_until)}, as the endpoint asked")
        if limit.circuit_until:
            due = f"at {_time(limit.circuit_until)}" if limit.circuit_until > now else "now"
            _line("circuit", f"open: the endpoint fails for all; one call tries it again {due}")
    for answer in slow_answers(session, name, slow_codes(settings.verdicts)):
        _line("slow", f"{_time(answer.at)}  {answer.code}  {answer.message or ''}")
    if account is not None:
        _print_credits(session, account, limit)


def _print_credits(session: Session, account: Account, limit: Limit | None) -> None:
    left = accounts.credits_left(session, account.name)
    if left is not None:
        rate = limit.calls_per_second if limit else 0.0
        lasts = f", {left / rate / 3600:,.1f} h at this rate" if rate > 0 else ""
        _line("credits", f"{left:,.0f}{lasts} (read {_time(account.credits_at)})")
    if account.paused_at is None:
        _line("state", "open")
    else:
        _line(
            "state", f"paused since {_time(account.paused_at)}: {account.pause_code}: {account.pause_message}"
        )
        _line("", f"asked again at {_time(account.probe_at)}; continues by itself")


def _line(title: str, words: str) -> None:
    out.print(f"  {title:9}{words}", markup=False)


def _ceiling(value: float | None) -> str:
    return AUTO if value is None else f"{value:g}"


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "never"
