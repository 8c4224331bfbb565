"""Everything one running sandbox holds."""

import asyncio
import random

from starlette.requests import Request

from sandbox.accounts import Accounts
from sandbox.calls import Calls
from sandbox.cutouts import Cutouts
from sandbox.faults import FaultPlan
from sandbox.latency import Latency
from sandbox.ledger import Ledger
from sandbox.results import Results
from sandbox.settings import Settings
from sandbox.spool import Spool
from sandbox.statistics import Statistics


class Sandbox:
    """The parts of a sandbox. `seed` makes latencies and shares of faults the same in every run."""

    def __init__(self, settings: Settings, credits_of: dict[str, float], seed: int = 0) -> None:
        self.settings = settings
        self.accounts = Accounts(credits_of)
        self.statistics = Statistics()
        # Two generators, so that a change of latency does not move the faults to other calls.
        self.faults = FaultPlan(random.Random(seed))  # noqa: S311 - not for secrets
        self.latency = Latency(random.Random(seed))  # noqa: S311 - not for secrets
        self.stopping = asyncio.Event()
        self._spool = Spool()
        self.ledger = Ledger(self._spool.database)
        self.calls = Calls(self._spool.database)
        self.results = Results(self._spool)
        self.cutouts = Cutouts(self.results)

    def close(self) -> None:
        self._spool.close()


def sandbox_of(request: Request) -> Sandbox:
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox
