"""The Celery app that `cutout worker` runs. Messages only signal; Postgres decides."""

import logging
import sys
import uuid
from contextlib import ExitStack
from typing import Any

from celery import Celery, signals
from kombu.entity import Queue

from cutout.enums import Step
from cutout.monitoring.probes import probed
from cutout.monitoring.process_metrics import serve_process
from cutout.settings import read_settings
from cutout.telemetry import logs, traces
from cutout.telemetry.loops import watched
from migrations.run import pending
from worker import consumer_loop
from worker.pipeline.context import LOOP, WorkerContext
from worker.pipeline.process import process
from worker.pipeline.serve_reused import complete_reused

# Longest wait of a woken thread for one that computes (Python's default: 5 ms). A call has several such waits
# and, under a ceiling on the rate, counts for as much longer.
GIL_SWITCH_S = 0.001

_settings = read_settings()

app = Celery("cutout", broker=_settings.redis_url.get_secret_value())
app.conf.update(
    # A message counts until its task ends, so a worker takes as many as it has threads.
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    # Jobs whose message could not be published are dispatched again.
    task_publish_retry=False,
    broker_pool_acquire_timeout=5,
    broker_transport="worker.broker:Transport",
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        # A frozen Redis would hold a publisher for minutes.
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "global_keyprefix": _settings.redis_prefix,
        # One list for a queue instead of four: Postgres decides the order.
        "priority_steps": [0],
    },
    # A queue for each step: a copy never waits behind calls.
    task_queues=[Queue(step) for step in Step],
    task_default_queue=Step.CALL,
    task_create_missing_queues=False,
    task_serializer="json",
    accept_content=["json"],
)

app.steps["consumer"].add(consumer_loop.ConsumerTurns)

_contexts: list[WorkerContext] = []
_probes = ExitStack()


# The first is sent before anything is logged, the second instead of Celery's own configuration.
@signals.celeryd_init.connect
@signals.setup_logging.connect
def _configure_logging(**_: Any) -> None:
    logs.configure(read_settings())


@signals.worker_init.connect
def _start(sender: Any, **_: Any) -> None:
    sys.setswitchinterval(GIL_SWITCH_S)
    takes_calls = Step.CALL in sender.app.amqp.queues.consume_from
    context = WorkerContext(read_settings())
    probes = probed(
        read_settings(), pending, loops=[LOOP, consumer_loop.NAME], redis=True, bucket=context.bucket
    )
    _probes.enter_context(probes)
    serve_process("worker" if takes_calls else "copier", read_settings())
    try:
        traces.start(read_settings(), "cutout-worker")
        context.start(call_threads=sender.concurrency if takes_calls else 0)
    except Exception as error:
        # Celery would log the error of a signal's handler and continue without a context.
        logging.getLogger(__name__).exception("the worker cannot start")
        raise SystemExit(1) from error
    _contexts.append(context)


@signals.worker_ready.connect
def _take_messages(sender: Any, **_: Any) -> None:
    _probes.enter_context(watched(consumer_loop.CONSUMER))
    for context in _contexts:
        context.intake.bind(sender)


@signals.worker_shutting_down.connect
def _begin_to_stop(**_: Any) -> None:
    # Sent in a handler of the signal: nothing here may take a lock that the main thread may hold.
    for context in _contexts:
        context.stopping.set()


@signals.worker_shutdown.connect
def _stop(**_: Any) -> None:
    _probes.close()
    while _contexts:
        _contexts.pop().stop()


@app.task(name="cutout.process")
def process_job(job_id: str, fence: int) -> None:
    """Process one job, if it can still be claimed under this fence."""
    process(_contexts[0], uuid.UUID(job_id), fence)


@app.task(name="cutout.serve")
def serve_jobs(dispatched: list[tuple[str, int]]) -> None:
    """End these jobs with cutouts bought before, as far as they are still dispatched under their fence."""
    complete_reused(_contexts[0], [(uuid.UUID(job_id), fence) for job_id, fence in dispatched])
