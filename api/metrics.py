"""What the API knows of itself, for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REQUESTS = Counter("cutout_http_requests", "Requests that were answered", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "cutout_http_request_seconds", "Until the answer began", ["method", "route"], buckets=SECONDS
)
UNDER_WAY = Gauge("cutout_http_requests_under_way", "Requests that are being answered")


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request by its route's template: addresses themselves are without number."""
    REQUESTS.labels(method, route, status).inc()
    REQUEST_SECONDS.labels(method, route).observe(seconds)
