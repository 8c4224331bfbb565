"""Conditional requests for the sources of a message, those of one server over few connections.

Whatever is not answered with 304 is left to the ordinary way, which fetches it if it changed: a changed
picture, a redirect, an error, and all that was not asked within the time of a message.
"""

import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

from cutout.network import FetchError, NotModified, Unfinished, fetch
from cutout.network.url_rules import server_of
from cutout.queue.reuse.serve_reused import ReusableJob
from worker.pipeline.context import WorkerContext
from worker.pipeline.sources import SourceBusyError, Web

# For one message, whose thread waits.
ASK_WITHIN_S = 10.0
ANSWER_WITHIN_S = 3.0
CONNECTIONS = 4
WORTH_A_CONNECTION = 25
# A server that does not say "unchanged" so often sends bodies that nobody reads.
MOST_OTHER_ANSWERS = 3
ALL_SERVERS = "every server"


class _Part(NamedTuple):
    """Jobs of one producer whose sources are asked for over one connection to their server."""

    owner: uuid.UUID | None
    server: str
    jobs: list[ReusableJob]


def unchanged_of(context: WorkerContext, jobs: list[ReusableJob]) -> list[ReusableJob]:
    """The jobs whose source's server says that it is unchanged.

    Raises SourceBusyError if too many messages ask by now: these jobs come back soon.
    """
    ends_at = time.monotonic() + ASK_WITHIN_S
    # Counted for the first one's producer: messages of several producers are few.
    with context.asking.turn(ALL_SERVERS, jobs[0].producer_id), ThreadPoolExecutor(CONNECTIONS) as pool:
        asked = pool.map(lambda part: _ask(context, part, ends_at), list(_parts(jobs)))
        return [job for unchanged in asked for job in unchanged]


def _parts(jobs: list[ReusableJob]) -> Iterator[_Part]:
    by_server: defaultdict[tuple[uuid.UUID | None, str], list[ReusableJob]] = defaultdict(list)
    for each in jobs:
        by_server[each.producer_id, server_of(each.address or "")].append(each)
    for (owner, server), its_jobs in by_server.items():
        connections = min(CONNECTIONS, -(-len(its_jobs) // WORTH_A_CONNECTION))
        for n in range(connections):
            yield _Part(owner, server, its_jobs[n::connections])


def _ask(context: WorkerContext, part: _Part, ends_at: float) -> list[ReusableJob]:
    """Ask for each, until the time is over, the server fails, or too much has changed."""
    unchanged: list[ReusableJob] = []
    try:
        with context.hosts.turn(part.server, part.owner, within_s=max(ends_at - time.monotonic(), 0.0)):
            web = Web(context.settings)
            with closing(web.transport):
                others = 0
                for job in part.jobs:
                    left = ends_at - time.monotonic()
                    if context.stopping.is_set() or left <= 0 or others == MOST_OTHER_ANSWERS:
                        break
                    if _is_unchanged(web, job, min(left, ANSWER_WITHIN_S)):
                        unchanged.append(job)
                    else:
                        others += 1
    except (SourceBusyError, Unfinished):
        # The server is busy with others of this producer, or does not answer.
        return unchanged
    return unchanged


def _is_unchanged(web: Web, job: ReusableJob, within_s: float) -> bool:
    """Whether the server answers 304; raises Unfinished if it does not answer."""
    if job.address is None or job.validator is None:
        raise TypeError(f"job {job.job_id} has no remembered source")
    try:
        fetch(
            web.transport,
            job.address,
            # The body is not wanted: the connection is closed as it begins.
            max_bytes=0,
            deadline_s=within_s,
            check_url=web.check,
            etag=job.validator.etag,
            last_modified=job.validator.last_modified,
        )
    except NotModified:
        return True
    except Unfinished:
        raise
    except FetchError:
        pass
    return False
