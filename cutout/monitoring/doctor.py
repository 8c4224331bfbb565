"""All health checks of what a job needs, in the order in which they depend on each other."""

from collections.abc import Callable, Iterator

from sqlalchemy import Engine

from cutout.endpoint.client import call_url
from cutout.monitoring.bucket_contents import check_objects, check_results
from cutout.monitoring.check import Check
from cutout.monitoring.domain_checks import check_audit, check_keys, check_schedules
from cutout.monitoring.endpoint_checks import check_endpoint
from cutout.monitoring.health import check_services
from cutout.monitoring.machine_checks import check_archives, check_formats
from cutout.monitoring.output_checks import check_calibration, check_outputs
from cutout.monitoring.redis_health import check_redis_setup
from cutout.monitoring.webhook_checks import check_endpoints
from cutout.settings import Settings
from cutout.storage import Bucket


def all_checks(
    settings: Settings, engine: Engine, bucket: Bucket, *, pending: Callable[[Engine], bool]
) -> Iterator[Check]:
    """Yield each check as soon as it is made, and none that waits for what was just found not to answer.

    `pending` says whether migrations have to be run: they are outside this package.
    """
    wrong = set()
    for check in check_services(settings, engine, bucket, pending=pending):
        yield check
        if not check.ok:
            wrong.add(check.name)
    has_database = not wrong & {"database", "migrations"}
    if has_database and "bucket" not in wrong:
        yield from check_objects(engine, bucket)
    if "database" not in wrong:
        yield from check_redis_setup(settings, engine)
    yield check_formats()
    yield check_archives(settings)
    yield from check_endpoint(settings)
    if has_database:
        yield from check_schedules(settings, engine)
        yield from check_results(engine)
        yield from check_keys(engine)
        yield from check_audit(engine)
        yield from check_outputs(engine)
        yield from check_endpoints(engine)
        yield from check_calibration(engine, call_url(settings.endpoint_url))
