"""Secrets from files: CUTOUT_X_FILE names the file of the secret CUTOUT_X, as platforms mount them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
)

from cutout.settings.settings_error import SettingsError
from cutout.settings.validators import PREFIX

FILE = "_file"
# Settings that may be given as a file: every secret, and the names that go with one.
SECRETS = (
    "database_url",
    "database_password",
    "redis_url",
    "s3_access_key",
    "s3_secret_key",
    "endpoint_api_keys",
    "lifeboat_s3_access_key",
    "lifeboat_s3_secret_key",
    "api_key",
    "webhook_secret",
    "egress_proxy",
    "endpoint_proxy",
)
MOST_BYTES = 65_536


class SecretFiles(PydanticBaseSettingsSource):
    """A source of settings: the files that these other sources name, the first of them before the others."""

    def __init__(self, settings: type[BaseSettings], sources: Sequence[PydanticBaseSettingsSource]) -> None:
        super().__init__(settings)
        self._given: dict[str, Any] = {}
        for source in reversed(sources):
            self._given |= _given_by(source)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The secret of one field, None if no file is named for it; raises SettingsError."""
        del field
        path = self._given.get(field_name + FILE) if field_name in SECRETS else None
        if not path:
            return None, field_name, False
        if self._given.get(field_name):
            raise SettingsError(
                f"{PREFIX}{field_name.upper()} and {_variable(field_name)} are both set; set one of them"
            )
        return _read(Path(path), _variable(field_name)), field_name, False

    def __call__(self) -> dict[str, Any]:
        """The secrets that are given as files. Raises SettingsError for a file of anything else."""
        for name in sorted(self._given):
            if name.endswith(FILE) and name.removesuffix(FILE) not in SECRETS:
                raise SettingsError(_not_a_secret(name.removesuffix(FILE), self.settings_cls))
        fields = self.settings_cls.model_fields
        found = {name: self.get_field_value(field, name)[0] for name, field in fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def _given_by(source: PydanticBaseSettingsSource) -> dict[str, Any]:
    """The values that a source was given, by the names of the settings, those of files too."""
    if isinstance(source, InitSettingsSource):
        return dict(source.init_kwargs)
    if isinstance(source, EnvSettingsSource):
        prefix = PREFIX.lower()
        return {
            name.removeprefix(prefix): value
            for name, value in source.env_vars.items()
            if name.startswith(prefix)
        }
    return {}


def _not_a_secret(name: str, settings: type[BaseSettings]) -> str:
    known = name in settings.model_fields
    why = f"{PREFIX}{name.upper()} is no secret" if known else f"there is no setting {PREFIX}{name.upper()}"
    remedy = f"set {PREFIX}{name.upper()} itself" if known else "correct the name or remove it"
    return f"{_variable(name)} is wrong: {why}; {remedy}"


def _read(path: Path, variable: str) -> str:
    """The file's text without the end of its line. Errors name the path, never what is in it."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SettingsError(
            f"{variable} names {path}, which cannot be read ({error.strerror}); mount the secret there,"
            " readable by the user of the process"
        ) from None
    if len(data) > MOST_BYTES:
        raise SettingsError(
            f"{variable} names {path}, which has more than {MOST_BYTES:,} bytes; name another"
        )
    try:
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SettingsError(f"{variable} names {path}, which is not UTF-8; save it as text") from None
    if not text:
        raise SettingsError(f"{variable} names {path}, which is empty; write the secret into it")
    return text


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}{FILE.upper()}"
