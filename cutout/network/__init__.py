"""Guarded HTTP: every request has a deadline, and can be restricted to public addresses.

`GuardedTransport` keeps no cookies, reads no proxies from the environment and follows no redirects; `fetch`
follows them and checks each hop. Both are used without `httpx.Client`, which logs every URL: a result URL is
a secret.
"""

from cutout.network.blob import IN_MEMORY_BYTES, Blob, gather, mapped, stream_of
from cutout.network.egress_proxy import EgressProxy, egress_proxy
from cutout.network.fetch import Fetched, fetch, fetch_pieces, read_bounded
from cutout.network.fetch_errors import (
    AddressRefused,
    BadStatus,
    DeadlinePassed,
    EgressUnavailable,
    FetchError,
    NotModified,
    NotReached,
    RedirectRefused,
    TooLarge,
    Truncated,
    Unfinished,
    Unreachable,
    UrlRefused,
)
from cutout.network.hosts import HostList, HostPattern, is_local, port_of
from cutout.network.ip_addresses import AddressPolicy, is_public
from cutout.network.patience import Patience
from cutout.network.transport import Exchange, GuardedTransport, Timeouts

__all__ = [
    "IN_MEMORY_BYTES",
    "AddressPolicy",
    "AddressRefused",
    "BadStatus",
    "Blob",
    "DeadlinePassed",
    "EgressProxy",
    "EgressUnavailable",
    "Exchange",
    "FetchError",
    "Fetched",
    "GuardedTransport",
    "HostList",
    "HostPattern",
    "NotModified",
    "NotReached",
    "Patience",
    "RedirectRefused",
    "Timeouts",
    "TooLarge",
    "Truncated",
    "Unfinished",
    "Unreachable",
    "UrlRefused",
    "egress_proxy",
    "fetch",
    "fetch_pieces",
    "gather",
    "is_local",
    "is_public",
    "mapped",
    "port_of",
    "read_bounded",
    "stream_of",
]
