"""Validators of settings: each returns the value, or raises ValueError with the remedy."""

import json
import re
from ipaddress import ip_network
from string import Formatter
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationInfo
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from cutout.enums import Reuse

SHORTEST_WEBHOOK_SECRET = 32
HOST_ENTRY = re.compile(r"(http://)?(\*\.)?([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
HOST_NAME = re.compile(r"(\*\.)?[\w.-]+|\[[0-9A-Fa-f:.]+\]")
METRICS_ADDRESS = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
PROXY = re.compile(r"http://([^@:/?#\s]+(:[^@:/?#\s]*)?@)?([\w.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
TEMPLATE_FIELDS = frozenset({"batch", "external_id", "return_form", "job", "producer", "ext"})
# Prefixes of the other objects in the bucket.
KEPT_PREFIXES = ("sources/", "manifests/", "rejects/", "results/", "reports/", "unexpected/", "cutout-check/")


def split(value: object) -> object:
    """Split a text at its commas."""
    if not isinstance(value, str):
        return value
    words = [word.strip() for word in value.split(",")]
    if not all(words):
        raise ValueError("has an empty entry; separate the entries by single commas")
    return tuple(words)


def hosts(entries: tuple[str, ...]) -> tuple[str, ...]:
    """Require each entry to be a host, host:port or *.domain."""
    for host in entries:
        if not HOST_ENTRY.fullmatch(host):
            raise ValueError(f"has the entry {host!r}; write host, host:port or *.domain")
    return entries


def names(entries: tuple[str, ...]) -> tuple[str, ...]:
    """Require each entry to be a host or *.domain, without a port."""
    for host in entries:
        if not HOST_NAME.fullmatch(host):
            raise ValueError(f"has the entry {host!r}; write host or *.domain, without a port")
    return tuple(host.lower() for host in entries)


def networks(entries: tuple[str, ...]) -> tuple[str, ...]:
    """Require each entry to be an IP address or a network."""
    for entry in entries:
        try:
            ip_network(entry)
        except ValueError as error:
            raise ValueError(f"has the entry {entry!r} ({error}); write 10.0.0.7 or 10.0.0.0/24") from None
    return entries


def distinct(keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    """Require that no key occurs twice."""
    if len(set(keys)) < len(keys):
        raise ValueError("names a key twice; name each once")
    return keys


def json_of(value: object) -> object:
    """Parse a text as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"is not JSON ({error}); write {VERDICTS_EXAMPLE}") from None


def auto(value: object) -> object:
    """None for `auto`, which means the learned limit."""
    return None if isinstance(value, str) and value.strip().lower() == AUTO else value


def postgres(value: SecretStr, info: ValidationInfo) -> SecretStr:
    """Require a database URL of Postgres; returns it with SQLAlchemy's driver name, and the password that is
    given apart.
    """
    try:
        url = make_url(value.get_secret_value())
    except (ArgumentError, ValueError):
        raise ValueError("is not a database URL; write postgresql://user:password@host:5432/name") from None
    if url.get_backend_name() != "postgresql":
        raise ValueError(f"names the database {url.get_backend_name()!r}; cutout needs postgresql")
    if "@" in (url.host or ""):
        raise ValueError("has an @ in its user or password; write it as %40")
    apart: SecretStr | None = info.data.get("database_password")
    if apart is not None:
        if url.password is not None:
            raise ValueError(f"has a password, and {PREFIX}DATABASE_PASSWORD is set too; set one")
        url = url.set(password=apart.get_secret_value())
    return SecretStr(url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False))


def redis(value: SecretStr) -> SecretStr:
    """Require a URL of Redis."""
    if not _is_url(value.get_secret_value(), ("redis", "rediss")):
        raise ValueError("is not a Redis URL; write redis://:password@host:6379/0")
    return value


def http(value: str | None) -> str | None:
    """Require an http or https address; returns it without a slash at its end."""
    if value is not None and not _is_url(value, ("http", "https")):
        raise ValueError("is not an address; write https://host (or http://host:port for a local server)")
    return value.rstrip("/") if value else value


def proxy(value: SecretStr | None) -> SecretStr | None:
    """Require http://user:password@host:port of a proxy; the user may be left out."""
    if value is None:
        return None
    url = value.get_secret_value().rstrip("/")
    if not PROXY.fullmatch(url) or not _is_url(url, ("http",)):
        raise ValueError(
            "is no address of a proxy; write http://user:password@host:port, with @ : / in the password as"
            " %40 %3A %2F"
        )
    return SecretStr(url)


def address(value: str | None) -> str | None:
    """Require host:port."""
    if value is not None and not (METRICS_ADDRESS.fullmatch(value) and _is_url(f"http://{value}", ("http",))):
        raise ValueError(f"is {value!r}; write host:port, such as 127.0.0.1:9808")
    return value


def pair(secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    """Require a secret key and its access key together, or neither."""
    access_key = str(info.field_name).replace("secret", "access")
    if (secret is None) != (info.data.get(access_key) is None):
        raise ValueError(f"and {PREFIX}{access_key.upper()} go together; set both or neither")
    return secret


def long_enough(secret: SecretStr | None) -> SecretStr | None:
    """Require a secret of at least SHORTEST_WEBHOOK_SECRET characters."""
    if secret is not None and len(secret.get_secret_value()) < SHORTEST_WEBHOOK_SECRET:
        raise ValueError(
            f"has {len(secret.get_secret_value())} characters, which is too short; make one by"
            " `openssl rand -hex 32`"
        )
    return secret


def lifeboat(value: str | None) -> str | None:
    """Require a directory, or a bucket and prefix."""
    if value and "://" in value and not re.fullmatch(r"s3://[a-z0-9.-]{3,63}(/[\w./-]*)?", value):
        raise ValueError(f"{value!r} is neither a directory nor s3://bucket/prefix")
    return value


def reuse(value: object) -> object:
    """Require one of the values; true means the default and false means off, as in older settings."""
    word = str(value).strip().lower()
    word = {"true": Reuse.PRODUCER, "false": Reuse.OFF}.get(word, word)
    if word not in set(Reuse):
        raise ValueError(f"is {value!r}; write producer, all or off")
    return Reuse(word)


def template(value: str) -> str:
    """Require a template that can be filled in and gives each job its own key."""
    fields = _fields_of(value)
    if "job" not in fields and not {"batch", "external_id"} <= fields:
        raise ValueError(
            f"{value!r} would give two jobs one key; use {{job}}, or {{batch}} together with {{external_id}}"
        )
    if value.startswith("/") or ".." in value.split("/"):
        raise ValueError(f"{value!r} must not begin with / or contain ..")
    if value.startswith(("{external_id}", *KEPT_PREFIXES)):
        raise ValueError(
            f"{value!r} may collide with other objects in the bucket ({' '.join(KEPT_PREFIXES)});"
            " begin it with its own folder, such as cutouts/"
        )
    return value


def _fields_of(value: str) -> set[str]:
    """The names in a template. Formats and attributes are refused: two values could give the same text."""
    try:
        parts = [part for part in Formatter().parse(value) if part[1] is not None]
    except ValueError:
        parts = [("", None, "", None)]
    fields = {str(name) for _, name, form, conversion in parts if not (form or conversion)}
    if len(parts) > 0 and (not fields <= TEMPLATE_FIELDS or any(form or how for _, _, form, how in parts)):
        known = " ".join(f"{{{name}}}" for name in sorted(TEMPLATE_FIELDS))
        raise ValueError(f"{value!r} cannot be filled in; it may use {known}")
    return fields


def _is_url(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        return (
            parts.scheme in schemes
            and bool(parts.hostname)
            and parts.port != 0
            and not re.search(r"\s", value)
        )
    except ValueError:
        return False


PREFIX = "CUTOUT_"
PLAIN_HTTP = "http://"
AUTO = "auto"
VERDICTS_EXAMPLE = '{"PROCESSING_FAILURE": {"verdict": "retry", "tries": 3, "first_seconds": 5}}'
