"""The process's connections and what it keeps in memory, made once when it starts."""

from dataclasses import dataclass

from sqlalchemy import Engine

from api.last_use import LastUse
from api.rate_limit import RequestLimit
from jobs.settings import Settings
from jobs.storage import Bucket


@dataclass(frozen=True, slots=True)
class Services:
    """What routes work with."""

    settings: Settings
    engine: Engine
    bucket: Bucket
    limit: RequestLimit
    last_use: LastUse
