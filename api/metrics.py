"""Metrics of the API for Prometheus."""

from anyio import CapacityLimiter
from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REQUESTS = Counter("cutout_http_requests", "Requests that were answered", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "cutout_http_request_duration_seconds", "Until the answer began", ["method", "route"], buckets=SECONDS
)
PROBLEMS = Counter(
    "cutout_http_problems",
    "Requests that were answered with a problem document, by its type",
    ["status", "type"],
)
UNDER_WAY = Gauge("cutout_http_requests_under_way", "Requests that are being answered")
LOOP_LAG = Gauge(
    "cutout_event_loop_lag_seconds", "The longest that the event loop came late within the last minute"
)
THREADS = Gauge("cutout_api_threads", "Threads that requests may use", ["pool"])
THREADS_BORROWED = Gauge("cutout_api_threads_borrowed", "Threads that requests use", ["pool"])
THREADS_AWAITED = Gauge("cutout_api_threads_awaited", "Requests that wait for a thread", ["pool"])
PLACES = Gauge("cutout_api_places_taken", "Uploads, waits, event streams and others under way", ["kind"])
REFUSALS = Counter(
    "cutout_api_refusals", "Requests refused because a producer's share or all was taken", ["kind", "reason"]
)
READING_PAUSED = Counter(
    "cutout_api_reading_paused_seconds", "Seconds that bodies waited for their producer's turn to be read"
)


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request by its route's template: addresses themselves are without number."""
    REQUESTS.labels(method, route, status).inc()
    REQUEST_SECONDS.labels(method, route).observe(seconds)


def watch_threads(pool: str, limiter: CapacityLimiter) -> None:
    """Show a pool of threads from now on."""
    THREADS.labels(pool).set_function(lambda: limiter.total_tokens)
    THREADS_BORROWED.labels(pool).set_function(lambda: limiter.borrowed_tokens)
    THREADS_AWAITED.labels(pool).set_function(lambda: limiter.statistics().tasks_waiting)
