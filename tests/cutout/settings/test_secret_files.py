"""Secrets as files."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from cutout.settings import Settings, SettingsError, load_settings
from cutout.settings.secret_files import MOST_BYTES, SECRETS

URLS = {
    "CUTOUT_DATABASE_URL": "postgresql://cutout@db:5432/cutout",
    "CUTOUT_REDIS_URL": "redis://redis:6379/0",
}


@pytest.fixture(autouse=True)
def _urls(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in URLS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("s3cr3t-key\n")
    return path


def load() -> Settings:
    return load_settings(_env_file=None)


class TestASecretFile:
    def test_is_read_without_the_end_of_its_line(self, monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
        """CUTOUT_X_FILE gives CUTOUT_X; lists are split as in the variable."""
        monkeypatch.setenv("CUTOUT_ENDPOINT_API_KEYS_FILE", str(secret))
        assert [key.get_secret_value() for key in load().endpoint_api_keys] == ["s3cr3t-key"]
        secret.write_text("a, b\r\n")
        assert [key.get_secret_value() for key in load().endpoint_api_keys] == ["a", "b"]

    def test_gives_a_whole_address(self, monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
        """Also a setting without a default."""
        monkeypatch.delenv("CUTOUT_DATABASE_URL")
        monkeypatch.setenv("CUTOUT_DATABASE_URL_FILE", str(secret))
        secret.write_text("postgresql://u:p@db/name\n")
        assert make_url(load().database_url.get_secret_value()).password == "p"

    def test_may_be_named_in_the_env_file(self, tmp_path: Path, secret: Path) -> None:
        """As any setting."""
        env_file = tmp_path / ".env"
        env_file.write_text(f"CUTOUT_API_KEY_FILE={secret}\n")
        key = load_settings(_env_file=env_file).api_key
        assert key is not None
        assert key.get_secret_value() == "s3cr3t-key"

    def test_may_be_named_by_an_argument(self, secret: Path) -> None:
        """As `cutout up` gives its settings."""
        key = load_settings(_env_file=None, api_key_file=str(secret)).api_key
        assert key is not None
        assert key.get_secret_value() == "s3cr3t-key"

    def test_beside_the_variable_is_refused(self, monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
        """Both are named, neither is shown; an empty variable is unset."""
        monkeypatch.setenv("CUTOUT_API_KEY_FILE", str(secret))
        monkeypatch.setenv("CUTOUT_API_KEY", "another")
        with pytest.raises(SettingsError) as error:
            load()
        assert "CUTOUT_API_KEY and CUTOUT_API_KEY_FILE are both set" in str(error.value)
        assert "another" not in str(error.value)
        monkeypatch.setenv("CUTOUT_API_KEY", "")
        assert load().api_key is not None

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (None, "cannot be read (No such file or directory)"),
            (b"", "is empty"),
            (b"\n", "is empty"),
            (b"s3cr3t\xff", "is not UTF-8"),
            (b"s3cr3t" * MOST_BYTES, "more than 65,536 bytes"),
        ],
    )
    def test_that_is_no_secret_is_named_and_not_shown(
        self, monkeypatch: pytest.MonkeyPatch, secret: Path, content: bytes | None, said: str
    ) -> None:
        """The error has the variable, the path and the remedy."""
        secret.unlink()
        if content is not None:
            secret.write_bytes(content)
        monkeypatch.setenv("CUTOUT_API_KEY_FILE", str(secret))
        with pytest.raises(SettingsError) as error:
            load()
        assert str(error.value).startswith(f"CUTOUT_API_KEY_FILE names {secret}, which ")
        assert said in str(error.value)
        assert "s3cr3t" not in str(error.value).replace(str(secret), "")

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("S3_BUCKET", "CUTOUT_S3_BUCKET is no secret; set CUTOUT_S3_BUCKET itself"),
            (
                "ENDPOINT_API_KEY",
                "there is no setting CUTOUT_ENDPOINT_API_KEY; correct the name or remove it",
            ),
        ],
    )
    def test_of_what_is_no_secret_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, said: str
    ) -> None:
        """Ignored, it would leave the setting at its default. In `.env` too."""
        refused = f"CUTOUT_{name}_FILE is wrong: {said}"
        env_file = tmp_path / ".env"
        env_file.write_text(f"CUTOUT_{name}_FILE=/run/secrets/x\n")
        with pytest.raises(SettingsError) as error:
            load_settings(_env_file=env_file)
        assert str(error.value) == refused
        monkeypatch.setenv(f"CUTOUT_{name}_FILE", "/run/secrets/x")
        with pytest.raises(SettingsError) as error:
            load()
        assert str(error.value) == refused


def test_every_secret_can_be_a_file() -> None:
    """No setting of a secret type is left out."""
    secrets = {
        name
        for name, field in Settings.model_fields.items()
        if "SecretStr" in str(field.annotation) or SecretStr in get_args(field.annotation)
    }
    assert secrets <= set(SECRETS) <= set(Settings.model_fields)


class TestTheDatabasePassword:
    def test_is_put_into_the_address(self, monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
        """Whatever characters it has."""
        secret.write_text("p@ss/w:rd%\n")
        monkeypatch.setenv("CUTOUT_DATABASE_PASSWORD_FILE", str(secret))
        assert make_url(load().database_url.get_secret_value()).password == "p@ss/w:rd%"

    def test_beside_one_in_the_address_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody could tell which of them counts."""
        monkeypatch.setenv("CUTOUT_DATABASE_URL", "postgresql://cutout:one@db/cutout")
        monkeypatch.setenv("CUTOUT_DATABASE_PASSWORD", "other")
        with pytest.raises(SettingsError) as error:
            load()
        (line,) = str(error.value).splitlines()
        assert "CUTOUT_DATABASE_PASSWORD is set too" in line
        assert "other" not in line
