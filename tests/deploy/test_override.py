"""The override of docs/operate/deploy.md that gives secrets as files, merged as Docker Compose merges it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cutout.settings import PREFIX, load_settings
from tests.deploy.compose import OURS, ROOT, environment_of, load, load_services, required_variables

PAGE = ROOT / "docs" / "operate" / "deploy.md"
MOUNTED = "/run/secrets/"
IN_A_FILE = "in-a-file"
WITH_SETTINGS = [name for name in OURS if name != "sandbox"]
WITH_KEY = {"dispatcher", "worker", "copier"}


def _override() -> dict[str, Any]:
    (found,) = re.findall(
        r"<!-- override -->\n```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    override: dict[str, Any] = yaml.safe_load(found)
    return override


def _merged(base: Any, over: Any) -> Any:
    """Mappings member by member, lists one behind the other, anything else replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {
            key: _merged(base[key], value) if key in base else value for key, value in over.items()
        }
    return base + over if isinstance(base, list) and isinstance(over, list) else over


def _services() -> dict[str, dict[str, Any]]:
    filled = load_services(dict.fromkeys(required_variables(), IN_A_FILE))
    services: dict[str, dict[str, Any]] = _merged(filled, _override()["services"])
    return services


SERVICES = _services()


def test_it_changes_services_that_there_are() -> None:
    """And each file that a service is given is declared, and each that is declared is given."""
    assert _override()["services"].keys() <= load()["services"].keys()
    given = {name for service in SERVICES.values() for name in service.get("secrets", [])}
    assert given == _override()["secrets"].keys()


@pytest.mark.parametrize("name", WITH_SETTINGS)
def test_a_process_reads_its_secrets_from_the_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings are those of the files that are mounted, and the endpoint's key goes where it went."""
    for secret in SERVICES[name]["secrets"]:
        (tmp_path / secret).write_text(f"of-{secret}\n")
    for variable, value in environment_of(SERVICES[name], {}).items():
        if variable.startswith(PREFIX):
            monkeypatch.setenv(variable, value.replace(MOUNTED, f"{tmp_path}/"))
    settings = load_settings(_env_file=None)
    url = settings.database_url.get_secret_value()
    assert url.endswith("://cutout:of-postgres-password@postgres:5432/cutout"), url
    keys = [key.get_secret_value() for key in settings.endpoint_api_keys]
    assert keys == (["of-endpoint-keys"] if name in WITH_KEY else [])


@pytest.mark.parametrize("name", ["postgres", *WITH_SETTINGS])
def test_what_stands_for_a_file_is_given_to_nobody(name: str) -> None:
    """Neither as the password of Postgres nor as the endpoint's key; Redis and S3 keep theirs."""
    environment = environment_of(SERVICES[name], {})
    left = {variable for variable, value in environment.items() if IN_A_FILE in value}
    assert left <= {"CUTOUT_REDIS_URL", "CUTOUT_S3_ACCESS_KEY", "CUTOUT_S3_SECRET_KEY"}
    mounted = {value.removeprefix(MOUNTED) for value in environment.values() if value.startswith(MOUNTED)}
    assert mounted == set(SERVICES[name]["secrets"])
