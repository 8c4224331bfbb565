"""The Celery app: messages only signal, Postgres decides. `cutout worker` runs it."""

import logging
import sys
import uuid
from typing import Any

from celery import Celery, signals
from kombu.entity import Queue

from cutout.enums import Step
from cutout.settings import settings
from cutout.telemetry import logs, traces
from cutout.telemetry.metrics_server import serve_metrics
from worker.pipeline.context import WorkerContext
from worker.pipeline.process import process
from worker.pipeline.serve_reused import serve

# So long a thread that Redis or a timer woke waits for one that computes, several times a call (5 ms by
# default): under a ceiling on the rate, a call counts for as much longer.
GIL_SWITCH_S = 0.001

known = settings()

app = Celery("cutout", broker=known.redis_url.get_secret_value())
app.conf.update(
    # Acknowledged late, a message counts until its task ends: a worker takes as many as it has threads.
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    # The dispatcher hands out again what could not be published.
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
        "global_keyprefix": known.redis_prefix,
        # One list a queue instead of four: Postgres makes the order.
        "priority_steps": [0],
    },
    # A queue for each step: a copy never waits behind calls.
    task_queues=[Queue(step) for step in Step],
    task_default_queue=Step.CALL,
    task_create_missing_queues=False,
    task_serializer="json",
    accept_content=["json"],
)

_contexts: list[WorkerContext] = []


# The first is sent before anything is said, the second instead of Celery's own configuration.
@signals.celeryd_init.connect
@signals.setup_logging.connect
def _configure_logging(**_: Any) -> None:
    logs.configure(settings())


@signals.worker_init.connect
def _start(sender: Any, **_: Any) -> None:
    sys.setswitchinterval(GIL_SWITCH_S)
    takes_calls = Step.CALL in sender.app.amqp.queues.consume_from
    context = WorkerContext(settings())
    try:
        traces.start(settings(), "cutout-worker")
        context.start(call_threads=sender.concurrency if takes_calls else 0)
    except Exception as error:
        # Celery would log what a signal's handler raises and go on without a context.
        logging.getLogger(__name__).exception("the worker cannot start")
        raise SystemExit(1) from error
    _contexts.append(context)
    serve_metrics(settings().metrics_address)


@signals.worker_ready.connect
def _take_messages(sender: Any, **_: Any) -> None:
    for context in _contexts:
        context.intake.bind(sender)


@signals.worker_shutting_down.connect
def _begin_to_stop(**_: Any) -> None:
    # Sent from within the signal's handler: nothing here may lock what the main thread may hold.
    for context in _contexts:
        context.stopping.set()


@signals.worker_shutdown.connect
def _stop(**_: Any) -> None:
    while _contexts:
        _contexts.pop().stop()


@app.task(name="cutout.process")
def process_job(job_id: str, fence: int) -> None:
    """Carry one job out, if it is still to be done under this fence."""
    process(_contexts[0], uuid.UUID(job_id), fence)


@app.task(name="cutout.serve")
def serve_jobs(handed_out: list[tuple[str, int]]) -> None:
    """Hand over what was bought before to those of these jobs that still wait for it under their fence."""
    serve(_contexts[0], [(uuid.UUID(job_id), fence) for job_id, fence in handed_out])
