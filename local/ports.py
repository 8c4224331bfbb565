"""Choose free loopback ports, and keep them for the next start."""

import errno
import json
import secrets
import socket
from collections.abc import Collection
from pathlib import Path

# SeaweedFS takes each of its ports plus 10000 too; no second port can be another's first. Both stay under
# 32768, where Linux begins to hand out ports to outgoing connections: a port that is free now is free still
# when a killed server comes back for it.
LOWEST, HIGHEST, SECOND = 10_240, 20_239, 10_000


def keep_ports(path: Path, count: int, *, with_second: bool = False) -> list[int]:
    """The `count` ports kept in the file when they are free, else new ones, written there.

    With `with_second` each port's number plus 10000 is free as well.
    """
    kept = _read(path)
    if len(kept) != count or not all(_is_free(port, with_second=with_second) for port in kept):
        kept = []
        while len(kept) < count:
            kept.append(_choose(kept, with_second=with_second))
        path.write_text(json.dumps(kept))
    return kept


def _read(path: Path) -> list[int]:
    try:
        kept = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return []
    return [int(port) for port in kept]


def _choose(taken: Collection[int], *, with_second: bool) -> int:
    for _ in range(1000):
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST + 1)
        if port not in taken and _is_free(port, with_second=with_second):
            return port
    raise OSError(errno.EADDRINUSE, f"no free port found on 127.0.0.1 between {LOWEST} and {HIGHEST}")


def _is_free(port: int, *, with_second: bool) -> bool:
    return _can_bind(port) and (not with_second or _can_bind(port + SECOND))


def _can_bind(port: int) -> bool:
    with socket.socket() as listener:
        # As the servers do: connections lately closed do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
