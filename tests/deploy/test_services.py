"""Our services as docker-compose.yml declares them: their commands, environments, health checks and ends."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from sqlalchemy import Engine, make_url, text

from cutout.endpoint.result import ResultDownloader
from cutout.network import HostList
from local import LocalServices
from tests.deploy.compose import LONG_RUNNING, ONE_SHOT, OURS, gigabytes, load_services
from tests.deploy.container import Container, free_port
from tests.deploy.dockerfile import make_tree
from tests.support.machine import scaled

pytestmark = pytest.mark.long(
    "starts every service that docker-compose.yml declares; tests/deploy/test_compose.py reads it"
)

SANDBOX_KEY = "sandbox-key"  # what docker-compose.yml tells to set
DONE_WITHIN_S = 30.0


@dataclass(frozen=True)
class Deployment:
    """The services by name, a second dispatcher among them, and what stands in the operator's `.env`."""

    containers: dict[str, Container]
    variables: dict[str, str]
    api_url: str


@pytest.fixture(scope="module")
def database(admin: Engine) -> Iterator[str]:
    """An empty database without a schema; gives its name."""
    name = f"deploy_{uuid.uuid4().hex}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield name
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="module")
def deployment(
    services: LocalServices, database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Every service, not yet started."""
    postgres, redis = make_url(services.database_url), httpx.URL(services.redis_url)
    api, sandbox = free_port(), free_port()
    variables = {
        "POSTGRES_PASSWORD": postgres.password or "",
        "REDIS_PASSWORD": redis.password,
        "S3_ACCESS_KEY": services.s3.access_key or "",
        "S3_SECRET_KEY": services.s3.secret_key or "",
        "CUTOUT_ENDPOINT_API_KEYS": SANDBOX_KEY,
        "CUTOUT_ENDPOINT_URL": "http://sandbox:9000",
        "CUTOUT_RESULT_HOSTS": "sandbox:9000",
        # The servers are shared with other tests.
        "CUTOUT_S3_BUCKET": f"deploy-{uuid.uuid4().hex}",
        "CUTOUT_REDIS_PREFIX": f"{uuid.uuid4().hex}:",
    }
    (temporary := tmp_path_factory.mktemp("temporary")).chmod(0o700)
    addresses = {
        "/temporary": str(temporary),
        "postgres:5432/cutout": f"127.0.0.1:{postgres.port}/{database}",
        "redis:6379": f"127.0.0.1:{redis.port}",
        "s3:8333": services.s3.endpoint_url.removeprefix("http://"),
        "sandbox:9000": f"127.0.0.1:{sandbox}",
        "0.0.0.0": "127.0.0.1",  # noqa: S104 - what is replaced
        "8000": str(api),
        "9000": str(sandbox),
    }
    declared = load_services(variables)
    directory = tmp_path_factory.mktemp("deployment")
    trees = {
        target: make_tree(target, directory / f"image-{target}")
        for target in {declared[name]["build"]["target"] for name in OURS}
    }
    commands = {name: declared[name] for name in OURS} | {"standby": declared["dispatcher"]}
    containers = {
        # Each container has the port of its probes to itself.
        name: Container(
            service,
            variables,
            addresses | {"9808": str(free_port())},
            directory / name,
            tree=trees[service["build"]["target"]],
        )
        for name, service in commands.items()
    }
    yield Deployment(containers, variables, f"http://127.0.0.1:{api}")
    for container in containers.values():
        container.kill()


@pytest.fixture(scope="module")
def prepared(deployment: Deployment) -> Deployment:
    """The services after those that run once have ended."""
    for name in ONE_SHOT:
        done = deployment.containers[name].run()
        assert done.returncode == 0, done.stderr
    return deployment


@pytest.fixture(scope="module")
def running(prepared: Deployment) -> Deployment:
    """The services once all are healthy; none was before it was started."""
    long_running = {name: c for name, c in prepared.containers.items() if name not in ONE_SHOT}
    early = [name for name, container in long_running.items() if container.check_health()]
    assert not early, f"healthy before they ran: {early}"
    for container in long_running.values():
        container.start()
    for container in long_running.values():
        container.wait_until_healthy()
    return prepared


def test_migrate(prepared: Deployment) -> None:
    """The schema is made."""
    url = prepared.containers["migrate"].environment["CUTOUT_DATABASE_URL"]
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT to_regclass('jobs') IS NOT NULL").fetchone() == (True,)


@pytest.mark.parametrize("name", ONE_SHOT)
def test_runs_again(prepared: Deployment, name: str) -> None:
    """A service that runs once ends with 0 when its work is done already, as at every `docker compose up`."""
    assert prepared.containers[name].run().returncode == 0


def test_nothing_else_is_given(deployment: Deployment) -> None:
    """The processes of this test see what the image and the file declare, and no variable besides."""
    for container in deployment.containers.values():
        surplus = {
            name for name in container.environment if not name.startswith(("CUTOUT_", "PIP_", "PYTHON"))
        }
        assert surplus - {"TMPDIR"} == {"PATH", "HOME"}


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_fits_its_limits(running: Deployment, name: str) -> None:
    """At rest a service takes less than half of its memory and of its threads."""
    service, (memory, threads) = load_services()[name], running.containers[name].use()
    assert memory < gigabytes(service["mem_limit"]) * 1e9 / 2
    assert threads < service["pids_limit"] / 2


@pytest.mark.parametrize("name", [*LONG_RUNNING, "standby"])
def test_healthy(running: Deployment, name: str) -> None:
    """Each service gets healthy by its own check with what it is given."""
    assert running.containers[name].check_health()


def test_a_job_goes_all_the_way(running: Deployment, photo: bytes) -> None:
    """A producer's key made in a container lets a picture in, and its cutout comes out of the bucket."""
    made = running.containers["api"].run("keys", "make", "storefront")
    headers = {"Authorization": f"Bearer {made.stdout.split()[-1]}"}
    with httpx.Client(base_url=running.api_url, headers=headers, timeout=10.0) as client:
        view = client.post("/v1/jobs", files={"image": ("a.jpg", photo)}).raise_for_status().json()
        deadline = time.monotonic() + scaled(DONE_WITHIN_S)
        while view["state"] in ("queued", "running") and time.monotonic() < deadline:
            time.sleep(0.1)
            view = client.get(f"/v1/jobs/{view['id']}").raise_for_status().json()
        assert view["state"] == "succeeded", view["error"]
        cutout = client.get(f"/v1/jobs/{view['id']}/result", follow_redirects=True).raise_for_status()
    assert cutout.content.startswith(b"\x89PNG")


def test_the_sandbox_may_be_fetched_from() -> None:
    """Results of the sandbox, by its name on Docker's network, are let through as the file's head says."""
    with ResultDownloader(HostList(), private=HostList.parse(["sandbox:9000"])) as downloader:
        downloader._check_url(httpx.URL("http://sandbox:9000/results/a.png"))


@pytest.mark.parametrize(
    "name",
    [
        "api",
        "dispatcher",
        "ingester",
        "standby",
        "worker",
        "copier",
        "sandbox",
    ],
)
def test_stops(running: Deployment, name: str) -> None:
    """SIGTERM ends each service within seconds, with 0, and its working directory is as it was."""
    container = running.containers[name]
    assert container.stop() == 0, container.log
    assert not container.left_behind
