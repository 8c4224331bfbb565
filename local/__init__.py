"""Real PostgreSQL, Valkey and SeaweedFS as child processes, for `cutout up`, the demo, tests and benchmarks.

Nothing here is for production: point the settings at servers of your own there.
"""

from local.child import Child
from local.errors import DirectoryInUseError, LocalServiceError, MissingServerError, ServerStartError
from local.forked import ForkServer
from local.pidfile import PidFile
from local.ports import keep_ports
from local.postgres import PostgresServer
from local.seaweed import S3Access, SeaweedServer
from local.secret import keep_secret
from local.services import LocalServices
from local.valkey import ValkeyServer

__all__ = [
    "Child",
    "DirectoryInUseError",
    "ForkServer",
    "LocalServiceError",
    "LocalServices",
    "MissingServerError",
    "PidFile",
    "PostgresServer",
    "S3Access",
    "SeaweedServer",
    "ServerStartError",
    "ValkeyServer",
    "keep_ports",
    "keep_secret",
]
