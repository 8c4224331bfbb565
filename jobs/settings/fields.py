"""The settings, read from the environment and from a file `.env`; every name begins with CUTOUT_."""

import json
import re
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

PREFIX = "CUTOUT_"
PLAIN_HTTP = "http://"
SHORTEST_WEBHOOK_SECRET = 32
HOST_ENTRY = re.compile(r"(http://)?(\*\.)?([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
METRICS_ADDRESS = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
TEMPLATE_FIELDS = frozenset({"batch", "external_id", "return_form", "job", "ext"})

AUTO = "auto"
VERDICTS_EXAMPLE = '{"PROCESSING_FAILURE": {"verdict": "retry", "tries": 3, "first_seconds": 5}}'


class LogFormat(StrEnum):
    """How a process writes its log."""

    TEXT = "text"
    JSON = "json"


WordList = Annotated[tuple[str, ...], NoDecode]


class SettingsError(Exception):
    """A setting is missing or wrong. One line for each, naming the variable and the remedy."""


class VerdictOverride(BaseModel):
    """What to do about one code of the endpoint; what is not said stays as the table has it. Seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    verdict: Literal["retry", "slow", "pause", "refit", "fail", "unknown"] | None = None
    tries: int | None = Field(None, ge=1, le=1000)
    first_seconds: float | None = Field(None, ge=0, le=86_400)
    longest_seconds: float | None = Field(None, ge=0, le=86_400)
    jitter: float | None = Field(None, ge=0, le=1)


class Settings(BaseSettings):
    """What a process must be told. Each description is the line that .env.example shows."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    database_url: SecretStr = Field(
        description="Postgres 18 or newer, e.g. postgresql://user:password@host:5432/cutout"
    )
    redis_url: SecretStr = Field(
        description="Redis 7 or Valkey 8 and newer, e.g. redis://:password@host:6379/0; may be lost"
    )

    s3_bucket: str = Field(
        "cutouts", min_length=3, max_length=63, description="The bucket for sources and cutouts"
    )
    s3_endpoint_url: str | None = Field(None, description="The S3 server; unset for AWS itself")
    s3_public_endpoint_url: str | None = Field(
        None, description="The S3 server as browsers reach it, for presigned links; unset if it is the same"
    )
    s3_region: str = Field("us-east-1", description="The bucket's region")
    s3_access_key: str | None = Field(None, description="Unset to use the machine's own AWS credentials")
    s3_secret_key: SecretStr | None = Field(
        None, validate_default=True, description="Goes with CUTOUT_S3_ACCESS_KEY"
    )
    key_template: str = Field(
        "cutouts/{batch}/{external_id}.{ext}",
        description="Where a cutout goes; knows {batch} {external_id} {return_form} {job} {ext}",
    )

    endpoint_url: str = Field("https://www.ailabapi.com", description="The endpoint's base, without a path")
    endpoint_api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="The endpoint's API keys, an account each; needed by the worker and the dispatcher"
    )
    result_hosts: WordList = Field(
        ("*.ailabtools.com",),
        description="Hosts that results may be fetched from; one written http://host:port may be private",
    )
    calls_per_second: float | None = Field(
        None,
        gt=0,
        le=10_000,
        allow_inf_nan=False,
        description="All workers together call no faster, for each account; auto: as fast as is learned",
    )
    calls_in_flight: int | None = Field(
        None,
        gt=0,
        le=10_000,
        description="All workers together have no more calls open, for each account; auto: learned, from 3",
    )
    verdicts: Annotated[dict[str, VerdictOverride], NoDecode] = Field(
        {},
        description=f"What else to do about codes of the endpoint, as JSON, e.g. {VERDICTS_EXAMPLE}",
    )
    credit_reserve: int = Field(
        0, ge=0, le=1_000_000_000, description="An account with no more credits than these is paused"
    )
    credits_every_seconds: float = Field(
        60.0, ge=1, le=86_400, description="How often each account's credits are read, which costs none"
    )
    day_budget: int | None = Field(
        None, gt=0, description="Credits that calls of one day (UTC) may cost; then calls wait for the next"
    )
    call_deadline_seconds: float = Field(
        120.0, gt=0, le=3600, description="A call without an answer for so long counts as unknown"
    )
    result_lifetime_seconds: float = Field(
        86_400.0, gt=0, le=86_400, description="The endpoint deletes a result after so long"
    )
    retry_unknown: int = Field(
        1, ge=0, le=10, description="So many calls of unknown outcome a job may repeat before it is held"
    )
    retry_lost: int = Field(
        0, ge=0, le=10, description="So many lost results (paid, never stored) a job may buy again, then held"
    )

    reuse: bool = Field(
        True, description="A picture that was bought before is served from what is stored, in any batch"
    )

    lifeboat_dir: str | None = Field(
        None,
        description="Takes results that the bucket does not take in time: a directory that all workers share,"
        " or s3://bucket/prefix",
    )
    lifeboat_seconds: float = Field(
        7200.0, gt=0, le=86_400, description="So long before a result expires it goes into the lifeboat"
    )
    lifeboat_s3_endpoint_url: str | None = Field(
        None, description="The lifeboat bucket's own S3 server; unset if it is the same"
    )
    lifeboat_s3_access_key: str | None = Field(None, description="Unset if the keys are the same")
    lifeboat_s3_secret_key: SecretStr | None = Field(
        None, validate_default=True, description="Goes with CUTOUT_LIFEBOAT_S3_ACCESS_KEY"
    )
    spool_dir: str = Field(
        ".cutout/spool",
        description="Where a worker keeps answers of the endpoint while Postgres is away; must outlive it",
    )

    max_source_bytes: int = Field(
        50_000_000, gt=0, le=1_000_000_000, description="A source picture may not be larger, in bytes"
    )
    max_manifest_bytes: int = Field(
        5_000_000_000,
        gt=0,
        le=50_000_000_000,
        description="A manifest that the API is sent, or fetches, may not be larger, in bytes",
    )
    max_batch_jobs: int = Field(10_000, gt=0, le=1_000_000, description="Jobs in one POST of a batch")
    source_private_hosts: WordList = Field(
        (),
        description="Hosts on private addresses (host or host:port) that sources may come from, also by http",
    )

    source_fetches_per_host: int = Field(
        8, gt=0, le=1000, description="Sources that one worker process fetches from one host at a time"
    )

    source_buckets: WordList = Field(
        (), description="Buckets on the same S3 server, besides CUTOUT_S3_BUCKET, that sources may come from"
    )

    worker_threads: int = Field(32, gt=0, le=1000, description="Jobs that one worker process carries at once")
    worker_silence_seconds: float = Field(
        30.0, ge=5, le=3600, description="A worker silent for so long is gone and its jobs are rescued"
    )
    message_lease_seconds: float = Field(
        60.0, ge=5, le=3600, description="A message not claimed within is handed out again"
    )
    most_calls_per_job: int = Field(
        200, gt=0, le=10_000, description="A job that called so often without a result is held"
    )
    api_requests_per_second: float = Field(
        200.0,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Requests that one API process takes of one key, on average of ten seconds",
    )
    api_url: str = Field("http://127.0.0.1:8000", description="Where producers reach the API")
    api_key: SecretStr | None = Field(
        None,
        description="A producer's key, made by `cutout keys make`; the batches you ingest are then its own",
    )
    webhook_secret: SecretStr | None = Field(
        None,
        description="Every webhook's secret is derived from it: 32 random characters or more, the same for"
        " API and dispatcher; unset, there are no webhooks",
    )
    webhook_private_hosts: WordList = Field(
        (), description="Hosts on private addresses (host or host:port) that webhooks may go to, also by http"
    )
    webhook_keep_days: int = Field(
        30, gt=0, le=3650, description="A webhook's delivery is forgotten so long after it ended"
    )
    redis_prefix: str = Field("cutout:", description="Goes before every Redis key of ours")

    log_format: LogFormat = Field(LogFormat.TEXT, description="text, or json: a JSON object a line, with ids")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="What of our own is logged: DEBUG, INFO, WARNING or ERROR and worse"
    )
    metrics_address: str | None = Field(
        None,
        description="Where this process serves its metrics for Prometheus, to insiders, e.g. 127.0.0.1:9808",
    )
    traces_url: str | None = Field(
        None, description="Send traces there by OTLP over HTTP, e.g. http://collector:4318/v1/traces"
    )

    @field_validator(
        "endpoint_api_keys",
        "result_hosts",
        "source_private_hosts",
        "source_buckets",
        "webhook_private_hosts",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        words = [word.strip() for word in value.split(",")]
        if not all(words):
            raise ValueError("has an empty entry; separate the entries by single commas")
        return tuple(words)

    @field_validator("result_hosts", "source_private_hosts", "webhook_private_hosts")
    @classmethod
    def _hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not HOST_ENTRY.fullmatch(host):
                raise ValueError(f"has the entry {host!r}; write host, host:port or *.domain")
        return hosts

    @field_validator("endpoint_api_keys")
    @classmethod
    def _distinct(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if len(set(keys)) < len(keys):
            raise ValueError("names a key twice; name each once")
        return keys

    @field_validator("verdicts", mode="before")
    @classmethod
    def _json(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"is not JSON ({error}); write {VERDICTS_EXAMPLE}") from None

    @field_validator("calls_per_second", "calls_in_flight", mode="before")
    @classmethod
    def _auto(cls, value: object) -> object:
        return None if isinstance(value, str) and value.strip().lower() == AUTO else value

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: SecretStr) -> SecretStr:
        try:
            url = make_url(value.get_secret_value())
        except (ArgumentError, ValueError):
            raise ValueError(
                "is not a database URL; write postgresql://user:password@host:5432/name"
            ) from None
        if url.get_backend_name() != "postgresql":
            raise ValueError(f"names the database {url.get_backend_name()!r}; cutout needs postgresql")
        if "@" in (url.host or ""):
            raise ValueError("has an @ in its user or password; write it as %40")
        return SecretStr(url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False))

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr) -> SecretStr:
        if not _is_url(value.get_secret_value(), ("redis", "rediss")):
            raise ValueError("is not a Redis URL; write redis://:password@host:6379/0")
        return value

    @field_validator(
        "endpoint_url",
        "s3_endpoint_url",
        "s3_public_endpoint_url",
        "lifeboat_s3_endpoint_url",
        "traces_url",
    )
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and not _is_url(value, ("http", "https")):
            raise ValueError("is not an address; write https://host (or http://host:port for a local server)")
        return value.rstrip("/") if value else value

    @field_validator("metrics_address")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not (
            METRICS_ADDRESS.fullmatch(value) and _is_url(f"http://{value}", ("http",))
        ):
            raise ValueError(f"is {value!r}; write host:port, such as 127.0.0.1:9808")
        return value

    @field_validator("s3_secret_key", "lifeboat_s3_secret_key")
    @classmethod
    def _pair(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        access_key = str(info.field_name).replace("secret", "access")
        if (secret is None) != (info.data.get(access_key) is None):
            raise ValueError(f"and {PREFIX}{access_key.upper()} go together; set both or neither")
        return secret

    @field_validator("webhook_secret")
    @classmethod
    def _long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < SHORTEST_WEBHOOK_SECRET:
            raise ValueError(
                f"has {len(secret.get_secret_value())} characters; make one up by `openssl rand -hex 32`"
            )
        return secret

    @field_validator("lifeboat_dir")
    @classmethod
    def _lifeboat(cls, value: str | None) -> str | None:
        if value and "://" in value and not re.fullmatch(r"s3://[a-z0-9.-]{3,63}(/[\w./-]*)?", value):
            raise ValueError(f"{value!r} is neither a directory nor s3://bucket/prefix")
        return value

    @field_validator("key_template")
    @classmethod
    def _template(cls, value: str) -> str:
        try:
            value.format_map(dict.fromkeys(TEMPLATE_FIELDS, "x"))
        except (KeyError, ValueError, IndexError, AttributeError):
            known = " ".join(f"{{{name}}}" for name in sorted(TEMPLATE_FIELDS))
            raise ValueError(f"{value!r} cannot be filled in; it may use {known}") from None
        if "{external_id}" not in value and "{job}" not in value:
            raise ValueError(f"{value!r} would give all jobs one key; use {{external_id}} or {{job}}")
        if value.startswith("/") or ".." in value.split("/"):
            raise ValueError(f"{value!r} must not begin with / or climb with ..")
        return value

    def require_endpoint_api_keys(self) -> tuple[SecretStr, ...]:
        """The endpoint's keys, one at least; raises SettingsError if none is set."""
        if not self.endpoint_api_keys:
            raise SettingsError(_line("endpoint_api_keys", "is missing"))
        return self.endpoint_api_keys


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; raises SettingsError with one line for each that is missing or wrong."""
    try:
        return Settings(**overrides)
    except UnicodeDecodeError as error:
        raise SettingsError("the file .env is not UTF-8; save it again as UTF-8") from error
    except ValidationError as error:
        lines = [_line(str(problem["loc"][0]), _reason(problem)) for problem in error.errors()]  # type: ignore[arg-type]
    raise SettingsError("\n".join(lines))


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return load_settings()


def example() -> str:
    """The text of .env.example, made from the fields above."""
    lines = ["# The settings of cutout. Copy this file to .env, or set the variables in the environment."]
    for name, field in Settings.model_fields.items():
        lines += ["", f"# {field.description}"]
        if field.is_required():
            lines.append(f"{PREFIX}{name.upper()}=")
        else:
            lines.append(f"# {PREFIX}{name.upper()}={written_default(name)}")
    return "\n".join(lines) + "\n"


def written_default(name: str) -> str:
    """A setting's default as its variable would say it, empty if it is unset."""
    default = Settings.model_fields[name].default
    if name in ("calls_per_second", "calls_in_flight"):
        return AUTO
    if isinstance(default, tuple):
        return ",".join(default)
    return "" if default is None or default == {} else str(default)


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


def _line(name: str, reason: str) -> str:
    return f"{PREFIX}{name.upper()} {reason} ({Settings.model_fields[name].description})"


def _reason(problem: dict[str, Any]) -> str:
    if problem["type"] == "missing":
        return "is missing"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    # The text of the value itself stays out: it may be a secret.
    inside = "".join(f"{part}: " for part in problem["loc"][1:])
    return f"is wrong: {inside}{problem['msg'][0].lower()}{problem['msg'][1:]}"
