"""A cache of API keys; made-up keys cost the database little and delay no other request."""

import ipaddress
import re
import time
from collections import OrderedDict

from api import metrics
from api.limits.rate_limit import RequestLimit
from api.live.read_pool import ReadPool
from cutout.producers.api_keys import KEY_PREFIX, KnownKey, OperatorKey, find_key
from cutout.telemetry.fresh_cache import GOOD_FOR_S, FreshCache

# 32 random bytes in base64url.
SHAPE = re.compile(re.escape(KEY_PREFIX) + r"[A-Za-z0-9_-]{43}")
# Keys that turn out to be unknown, a second: ten seconds' worth at once.
MISSES_OF_AN_ADDRESS, MISSES_OF_ALL = 5.0, 20.0
EVERYBODY = b""
MOST_MISSES_KEPT = 1000


class TooManyMissesError(Exception):
    """Too many unknown keys were tried; `wait_s` says how long to wait."""

    def __init__(self, wait_s: float) -> None:
        super().__init__()
        self.wait_s = wait_s


class Keys:
    """Valid keys by their hashes. One that was revoked may look for a second more."""

    def __init__(self, looks: ReadPool) -> None:
        self._looks = looks
        self._valid: FreshCache[bytes, KnownKey | OperatorKey] = FreshCache(self._find)
        self._misses: OrderedDict[bytes, float] = OrderedDict()
        self._of_address = RequestLimit(MISSES_OF_AN_ADDRESS)
        self._of_all = RequestLimit(MISSES_OF_ALL)

    async def is_valid(self, key_sha256: bytes, address: str) -> bool:
        """Whether the key was valid when it was last looked up, which a new one is now.

        Raises TooManyMissesError if the address, or all together, tried too many keys that are unknown.
        """
        if self._valid.remembers(key_sha256):
            return True
        if self._missed_lately(key_sha256):
            return False
        if self._valid.is_looked_up(key_sha256):
            return await self._valid.get(key_sha256) is not None
        self.take_try(address)
        found = await self._valid.get(key_sha256)
        if found is None:
            self._note_miss(key_sha256)
            return False
        self.give_back_try(address)
        return True

    def take_try(self, address: str) -> None:
        """Count a try of a key, or of a session, that may be unknown. Raises TooManyMissesError."""
        # The client's address first: failed tries of one client do not use up the allowance of all.
        wait_s = self._of_address.wait_for(network_of(address)) or self._of_all.wait_for(EVERYBODY)
        if wait_s:
            metrics.REFUSALS.labels("keys", "unknown").inc()
            raise TooManyMissesError(wait_s)

    def give_back_try(self, address: str) -> None:
        """Count a try no more: it was right."""
        self._of_address.give_back(network_of(address))
        self._of_all.give_back(EVERYBODY)

    async def get(self, key_sha256: bytes, *, since: float) -> KnownKey | OperatorKey | None:
        """The key if it is valid, looked up not before `since` on the monotonic clock."""
        return await self._valid.get(key_sha256, since=since)

    async def _find(self, key_sha256: bytes) -> KnownKey | OperatorKey | None:
        known = self._valid.remembers(key_sha256)
        return await self._looks.key(lambda connection: find_key(connection, key_sha256), known=known)

    def _missed_lately(self, key_sha256: bytes) -> bool:
        return time.monotonic() - self._misses.get(key_sha256, -GOOD_FOR_S) < GOOD_FOR_S

    def _note_miss(self, key_sha256: bytes) -> None:
        self._misses[key_sha256] = time.monotonic()
        self._misses.move_to_end(key_sha256)
        while len(self._misses) > MOST_MISSES_KEPT:
            self._misses.popitem(last=False)


def network_of(address: str) -> bytes:
    """The network that is counted as one client: an IPv4 address, or an IPv6 network of /64.

    Without an address all are one client.
    """
    if not address:
        return b""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    return ip.packed[:8] if ip.version == 6 else ip.packed  # noqa: PLR2004 - the protocol's number
