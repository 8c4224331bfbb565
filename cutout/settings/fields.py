"""Each setting with its bounds, its default and its meaning."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cutout.enums import Reuse
from cutout.settings import validators
from cutout.settings.validators import PREFIX, VERDICTS_EXAMPLE


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
        description="Where a cutout goes; needs {job}, or {batch} and {external_id}; knows {producer}"
        " {return_form} {ext} as well",
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

    reuse: Reuse = Field(
        Reuse.PRODUCER,
        description="Whose purchases a job is served from: producer, those of its own producer; all, any"
        " producer's, by a copy; off, none",
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
    max_archive_bytes: int = Field(
        800_000_000,
        gt=0,
        le=50_000_000_000,
        description="A zip archive that the API is sent, or fetches, may not be larger, in bytes;"
        " an ingester's disk for temporary files must hold two",
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
    prepare_memory_bytes: int = Field(
        2_000_000_000,
        ge=300_000_000,
        le=100_000_000_000,
        description="Most memory of a process that decodes pictures; a worker starts two once it needs them",
    )
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
    api_uploads: int = Field(
        40,
        ge=4,
        le=1000,
        description="Bodies of more than 64 kB that one API process takes at once, a quarter of them of one"
        " producer; each may rest in the temporary directory",
    )
    api_hosts: WordList = Field(
        (),
        description="Hosts by which the API may be asked for, e.g. cutout.example; unset, by any. Health is"
        " told to all",
    )
    api_trusted_proxies: WordList = Field(
        ("127.0.0.1",),
        description="Addresses or networks of proxies before the API, whose X-Forwarded-For and"
        " X-Forwarded-Proto are believed",
    )
    api_drain_seconds: float = Field(
        5.0,
        ge=0,
        le=600,
        description="After SIGTERM the API goes on for so long while /readyz says 503, then takes no more",
    )
    api_stop_seconds: int = Field(
        50, ge=1, le=3600, description="What the API has under way then may take so long, and is broken off"
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

    _words = field_validator(
        "endpoint_api_keys",
        "result_hosts",
        "source_private_hosts",
        "source_buckets",
        "webhook_private_hosts",
        "api_hosts",
        "api_trusted_proxies",
        mode="before",
    )(validators.split)
    _hosts = field_validator("result_hosts", "source_private_hosts", "webhook_private_hosts")(
        validators.hosts
    )
    _names = field_validator("api_hosts")(validators.names)
    _networks = field_validator("api_trusted_proxies")(validators.networks)
    _distinct = field_validator("endpoint_api_keys")(validators.distinct)
    _json = field_validator("verdicts", mode="before")(validators.json_of)
    _auto = field_validator("calls_per_second", "calls_in_flight", mode="before")(validators.auto)
    _postgres = field_validator("database_url")(validators.postgres)
    _redis = field_validator("redis_url")(validators.redis)
    _http = field_validator(
        "endpoint_url",
        "s3_endpoint_url",
        "s3_public_endpoint_url",
        "lifeboat_s3_endpoint_url",
        "traces_url",
    )(validators.http)
    _address = field_validator("metrics_address")(validators.address)
    _pair = field_validator("s3_secret_key", "lifeboat_s3_secret_key")(validators.pair)
    _long = field_validator("webhook_secret")(validators.long_enough)
    _lifeboat = field_validator("lifeboat_dir")(validators.lifeboat)
    _reuse = field_validator("reuse", mode="before")(validators.reuse)
    _template = field_validator("key_template")(validators.template)

    def require_endpoint_api_keys(self) -> tuple[SecretStr, ...]:
        """The endpoint's keys, one at least; raises SettingsError if none is set."""
        if not self.endpoint_api_keys:
            raise SettingsError(line_of("endpoint_api_keys", "is missing"))
        return self.endpoint_api_keys


def line_of(name: str, reason: str) -> str:
    """What is said of a setting that is missing or wrong."""
    return f"{PREFIX}{name.upper()} {reason} ({Settings.model_fields[name].description})"
