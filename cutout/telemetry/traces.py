"""Traces from the POST to the copy. Without CUTOUT_TRACES_URL OpenTelemetry is not even imported."""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from cutout.settings import Settings, SettingsError

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

TRACEPARENT = "traceparent"
SEND_WITHIN_S = 5
NOTHING: AbstractContextManager[None] = nullcontext()

_tracer: "Tracer | None" = None


def start(settings: Settings, service: str) -> None:
    """Send this process's spans if a collector is set; SettingsError without the extra `traces`."""
    global _tracer  # noqa: PLW0603 - one for the process, as in the library
    if settings.traces_url is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(
            f"CUTOUT_TRACES_URL is set, but {error.name} is not installed; install cutout[traces]"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    exporter = OTLPSpanExporter(endpoint=settings.traces_url, timeout=SEND_WITHIN_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("cutout")


def span(name: str) -> AbstractContextManager[Any]:
    """A span under the present one while the context lasts; nothing unless traces are sent.

    Errors are not recorded in spans: their texts may contain addresses.
    """
    if _tracer is None:
        return NOTHING
    return _tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False)


def joined(name: str, traceparent: str | None, attributes: Mapping[str, str]) -> AbstractContextManager[Any]:
    """A span under a span of another process, given by its W3C traceparent."""
    if _tracer is None:
        return NOTHING
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    parent = TraceContextTextMapPropagator().extract({TRACEPARENT: traceparent} if traceparent else {})
    return _tracer.start_as_current_span(
        name, parent, attributes=dict(attributes), record_exception=False, set_status_on_exception=False
    )


def present() -> str | None:
    """The W3C traceparent of the present span; None unless traces are sent."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(TRACEPARENT)
