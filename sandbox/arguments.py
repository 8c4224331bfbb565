"""The command line of `python -m sandbox`."""

import argparse
import ipaddress
from dataclasses import dataclass
from typing import get_args

from sandbox.envelope import Shape
from sandbox.error_codes import Statuses
from sandbox.settings import Settings

DEFAULT_KEY = "sandbox-key"
DEFAULT_CREDITS = 1_000_000.0

_DESCRIPTION = """\
Serve a stand-in for the paid background removal endpoint on this machine.

It checks keys, credits, limits and pictures, answers with the documented codes, keeps a ledger of every
charge, and really cuts the pictures out. Its control routes make it fail on request."""

_EPILOG = """\
examples:
  python -m sandbox --port 9000
  python -m sandbox --port 0 --latency 0 --key rich=1000 --key poor=0
  python -m sandbox --port 9000 --calls-per-second 5 --calls-in-flight 3

  curl -F image=@photo.jpg -H 'ailabapi-api-key: sandbox-key' \\
      http://127.0.0.1:9000/api/cutout/general/commodity-background-removal
  curl --json '{"kind": "code", "code": "PROCESSING_FAILURE", "next": 3}' \\
      http://127.0.0.1:9000/sandbox/faults
  curl --json '{"kind": "drop_after", "share": 0.1}' http://127.0.0.1:9000/sandbox/faults
  curl --json '{"latency": 0.5, "credits": {"poor": 10}}' http://127.0.0.1:9000/sandbox/settings
  curl http://127.0.0.1:9000/sandbox/ledger

Every control route and the body it takes: http://127.0.0.1:9000/docs"""


@dataclass(frozen=True)
class Arguments:
    host: str
    port: int
    settings: Settings
    credits_of: dict[str, float]
    seed: int


def parse_arguments(command_line: list[str] | None = None) -> Arguments:
    """Read the command line; ends the process with a message if it is wrong."""
    parser = _parser()
    given = parser.parse_args(command_line)
    if not given.allow_remote and not _is_loopback(given.host):
        parser.error(
            f"--host {given.host} opens the sandbox to other machines; add --allow-remote to mean it"
        )
    try:
        settings = Settings(**{name: getattr(given, name) for name in Settings.model_fields})
    except ValueError as wrong:
        parser.error(str(wrong))
    return Arguments(
        host=given.host,
        port=given.port,
        settings=settings,
        credits_of=dict(given.key) if given.key else {DEFAULT_KEY: DEFAULT_CREDITS},
        seed=given.seed,
    )


def _parser() -> argparse.ArgumentParser:
    defaults = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--port", type=int, required=True, help="0 takes a free one; the base URL is printed on one line")
    option("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    option("--allow-remote", action="store_true", help="permit a --host that other machines can reach")
    option(
        "--key",
        type=_key_and_credits,
        action="append",
        metavar="KEY=CREDITS",
        help=f"an account; may be repeated (default {DEFAULT_KEY}={DEFAULT_CREDITS:.0f})",
    )
    option(
        "--latency",
        type=float,
        default=defaults.latency,
        metavar="SECONDS",
        help="median time of a call (default %(default)s); 0 answers at once",
    )
    option(
        "--latency-spread",
        type=float,
        default=defaults.latency_spread,
        metavar="SIGMA",
        help="sigma of the log-normal latency (default %(default)s); 0 makes every call the same",
    )
    option(
        "--url-lifetime",
        type=float,
        default=defaults.url_lifetime,
        metavar="SECONDS",
        help="time until a result URL answers 404 (default %(default).0f, a day)",
    )
    option(
        "--results-url",
        default=defaults.results_url,
        metavar="URL",
        help="base of the result URLs (default: the address that was called)",
    )
    option(
        "--envelope",
        choices=get_args(Shape),
        default=defaults.envelope,
        help="the JSON around every answer: that of the endpoint's page (default), or the three the "
        "service has had",
    )
    option(
        "--statuses",
        choices=get_args(Statuses),
        default=defaults.statuses,
        help="HTTP statuses of the error codes (default %(default)s)",
    )
    option("--calls-per-second", type=float, metavar="N", help="limit of each account (default none)")
    option("--calls-in-flight", type=int, metavar="N", help="limit of each account (default none)")
    option("--seed", type=int, default=0, help="of latencies and shares of faults (default %(default)s)")
    return parser


def _key_and_credits(text: str) -> tuple[str, float]:
    key, _, balance = text.rpartition("=")
    try:
        return _not_empty(key), float(balance)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=CREDITS; write it like my-key=100") from None


def _not_empty(key: str) -> str:
    if not key:
        raise ValueError("an empty key")
    return key


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
