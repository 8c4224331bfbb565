"""Fields of the settings, each with its bounds, default and description."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from cutout.enums import Forms, Reuse
from cutout.settings import validators
from cutout.settings.output_fields import FormsField, FullSizeField
from cutout.settings.secret_files import SecretFiles
from cutout.settings.settings_error import SettingsError
from cutout.settings.validators import PREFIX, VERDICTS_EXAMPLE


class LogFormat(StrEnum):
    """Format of a process's log."""

    TEXT = "text"
    JSON = "json"


WordList = Annotated[tuple[str, ...], NoDecode]


class VerdictOverride(BaseModel):
    """Override for one code of the endpoint; missing fields keep the table's values. Times in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    verdict: Literal["retry", "slow", "pause", "refit", "fail", "unknown"] | None = None
    tries: int | None = Field(None, ge=1, le=1000)
    first_seconds: float | None = Field(None, ge=0, le=86_400)
    longest_seconds: float | None = Field(None, ge=0, le=86_400)
    jitter: float | None = Field(None, ge=0, le=1)


class Settings(BaseSettings):
    """Settings of a process. Each description is shown in .env.example."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    database_password: SecretStr | None = Field(
        None, description="Postgres' password, if CUTOUT_DATABASE_URL has none"
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
        description="A cutout's key; needs {job}, or {batch} and {external_id}; may also use {producer}"
        " {return_form} {ext}",
    )

    forms: FormsField = Forms.DERIVED
    full_size: FullSizeField = True
    render_memory_bytes: int = Field(
        2_500_000_000,
        ge=500_000_000,
        description="Most memory of a renderer's child process; one of 80 megapixels takes 1.2 GB",
    )

    endpoint_url: str = Field("https://www.ailabapi.com", description="The endpoint's base, without a path")
    endpoint_api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="The endpoint's API keys, one for each account; needed by worker and dispatcher"
    )
    result_hosts: WordList = Field(
        ("*.ailabtools.com",),
        description="Hosts from which results may be fetched; one written http://host:port may be private",
    )
    calls_per_second: float | None = Field(
        None,
        gt=0,
        le=10_000,
        allow_inf_nan=False,
        description="Most calls a second of all workers together, for each account; auto: learned",
    )
    calls_in_flight: int | None = Field(
        None,
        gt=0,
        le=10_000,
        description="Most open calls of all workers together, for each account; auto: learned, from 3",
    )
    verdicts: Annotated[dict[str, VerdictOverride], NoDecode] = Field(
        {},
        description=f"Overrides for codes of the endpoint, as JSON, e.g. {VERDICTS_EXAMPLE}",
    )
    credit_reserve: int = Field(
        0, ge=0, le=1_000_000_000, description="An account with at most this many credits is paused"
    )
    credits_every_seconds: float = Field(
        60.0,
        ge=1,
        le=86_400,
        description="Seconds between readings of each account's credits, which are free",
    )
    day_budget: int | None = Field(
        None,
        gt=0,
        description="Most credits for the calls of one day (UTC); then calls wait for the next day",
    )
    call_deadline_seconds: float = Field(
        120.0, gt=0, le=3600, description="Seconds without an answer after which a call counts as unknown"
    )
    result_lifetime_seconds: float = Field(
        86_400.0, gt=0, le=86_400, description="How long the endpoint keeps a result, in seconds"
    )
    retry_unknown: int = Field(
        1, ge=0, le=10, description="Calls of unknown outcome that a job may repeat before it is held"
    )
    retry_lost: int = Field(
        0,
        ge=0,
        le=10,
        description="Lost results (paid, never stored) that a job may buy again before it is held",
    )

    reuse: Reuse = Field(
        Reuse.PRODUCER,
        description="Cutouts that a job may reuse: producer, those bought for its own producer; all, any"
        " producer's, by a copy; off, none",
    )

    lifeboat_dir: str | None = Field(
        None,
        description="Place for results that the bucket does not accept in time: a directory that all workers"
        " share, or s3://bucket/prefix",
    )
    lifeboat_seconds: float = Field(
        7200.0, gt=0, le=86_400, description="Seconds before a result expires when it goes into the lifeboat"
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
        description="Directory for a worker's answers of the endpoint while Postgres is unreachable; must"
        " outlive the worker",
    )

    max_source_bytes: int = Field(
        50_000_000, gt=0, le=1_000_000_000, description="Largest source picture, in bytes"
    )
    max_manifest_bytes: int = Field(
        5_000_000_000,
        gt=0,
        le=50_000_000_000,
        description="Largest manifest that is sent to the API or fetched, in bytes",
    )
    max_archive_bytes: int = Field(
        800_000_000,
        gt=0,
        le=50_000_000_000,
        description="Largest zip archive that is sent to the API or fetched, in bytes; an ingester's disk for"
        " temporary files must hold two",
    )
    max_batch_jobs: int = Field(10_000, gt=0, le=1_000_000, description="Most jobs in one POST of a batch")
    source_private_hosts: WordList = Field(
        (),
        description="Hosts on private addresses (host or host:port) that sources may come from, also by http",
    )

    source_fetches_per_host: int = Field(
        8, gt=0, le=1000, description="Most sources that one worker process fetches from one host at a time"
    )

    source_buckets: WordList = Field(
        (), description="Buckets on the same S3 server, besides CUTOUT_S3_BUCKET, that sources may come from"
    )

    egress_proxy: SecretStr | None = Field(
        None,
        description="HTTP proxy for sources, results and webhooks, e.g. http://user:password@host:3128; hosts"
        " on private addresses are reached without it",
    )
    endpoint_proxy: SecretStr | None = Field(
        None,
        description="HTTP proxy for calls of the endpoint; unset, they go directly: a proxy that cuts a call"
        " off leaves its charge unknown",
    )

    worker_threads: int = Field(32, gt=0, le=1000, description="Jobs that one worker process runs at a time")
    prepare_memory_bytes: int = Field(
        2_000_000_000,
        ge=300_000_000,
        le=100_000_000_000,
        description="Most memory of a process that decodes pictures; a worker starts two once it needs them",
    )
    worker_silence_seconds: float = Field(
        30.0, ge=5, le=3600, description="Seconds without a heartbeat after which a worker's jobs are rescued"
    )
    message_lease_seconds: float = Field(
        60.0,
        ge=5,
        le=3600,
        description="Seconds after which a job whose message was not claimed is dispatched again",
    )
    most_calls_per_job: int = Field(
        200, gt=0, le=10_000, description="Calls without a result after which a job is held"
    )
    api_requests_per_second: float = Field(
        200.0,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Most requests a second of one key to one API process, on average over ten seconds",
    )
    api_uploads: int = Field(
        40,
        ge=4,
        le=1000,
        description="Most bodies over 64 kB that one API process receives at a time, a quarter of them from"
        " one producer; each may be in the temporary directory",
    )
    api_hosts: WordList = Field(
        (),
        description="Host names of the API, e.g. cutout.example; unset, any. Health checks may use any host",
    )
    console: bool = Field(
        True, description="Whether the API serves the console, the pages for people, at /console"
    )
    api_trusted_proxies: WordList = Field(
        ("127.0.0.1",),
        description="Addresses or networks of proxies in front of the API, whose X-Forwarded-For and"
        " X-Forwarded-Proto are trusted",
    )
    api_drain_seconds: float = Field(
        5.0,
        ge=0,
        le=600,
        description="Seconds after SIGTERM for which the API accepts requests while /readyz returns 503",
    )
    api_stop_seconds: int = Field(
        50, ge=1, le=3600, description="Seconds after that for which requests may run before they are cut off"
    )
    api_url: str = Field("http://127.0.0.1:8000", description="The API's address for producers")
    api_key: SecretStr | None = Field(
        None,
        description="A producer's key, made by `cutout keys make`; batches that you ingest belong to it",
    )
    webhook_secret: SecretStr | None = Field(
        None,
        description="Master secret of all webhook secrets: 32 random characters or more, the same for API and"
        " dispatcher; unset, there are no webhooks",
    )
    webhook_private_hosts: WordList = Field(
        (),
        description="Hosts on private addresses (host or host:port) that may receive webhooks, also by http",
    )
    webhook_keep_days: int = Field(
        30, gt=0, le=3650, description="Days after which an ended webhook delivery is deleted"
    )
    actions_keep_days: int = Field(
        400, gt=0, le=36_500, description="Days after which the record of an action is deleted"
    )
    redis_prefix: str = Field("cutout:", description="Prefix of all Redis keys")

    log_format: LogFormat = Field(LogFormat.TEXT, description="text, or json: a JSON object a line, with ids")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least level of cutout's own log messages: DEBUG, INFO, WARNING or ERROR"
    )
    log_reads: bool = Field(
        False,
        description="Whether the API logs requests that only read, too, so that a leak can be reconstructed",
    )
    metrics_address: str | None = Field(
        None,
        description="Internal address at which this process serves its metrics, e.g. 127.0.0.1:9808",
    )
    revision: str = Field(
        "", description="Revision of the source that the image was made of, which the metrics name"
    )
    traces_url: str | None = Field(
        None, description="Collector of traces by OTLP over HTTP, e.g. http://collector:4318/v1/traces"
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
    _proxy = field_validator("egress_proxy", "endpoint_proxy")(validators.proxy)
    _address = field_validator("metrics_address")(validators.address)
    _pair = field_validator("s3_secret_key", "lifeboat_s3_secret_key")(validators.pair)
    _long = field_validator("webhook_secret")(validators.long_enough)
    _lifeboat = field_validator("lifeboat_dir")(validators.lifeboat)
    _reuse = field_validator("reuse", mode="before")(validators.reuse)
    _template = field_validator("key_template")(validators.template)

    @property
    def egress(self) -> str | None:
        """The proxy for sources, results and webhooks, with its password."""
        return self.egress_proxy.get_secret_value() if self.egress_proxy else None

    @property
    def egress_to_endpoint(self) -> str | None:
        """The proxy for calls of the endpoint, with its password."""
        return self.endpoint_proxy.get_secret_value() if self.endpoint_proxy else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, the environment and `.env`, in this order; of secrets also files that they name."""
        del file_secret_settings
        sources = (init_settings, env_settings, dotenv_settings)
        return *sources, SecretFiles(settings_cls, sources)

    def require_endpoint_api_keys(self) -> tuple[SecretStr, ...]:
        """The endpoint's keys, one at least; raises SettingsError if none is set."""
        if not self.endpoint_api_keys:
            raise SettingsError(line_of("endpoint_api_keys", "is missing"))
        return self.endpoint_api_keys


def line_of(name: str, reason: str) -> str:
    """The error line of a setting that is missing or wrong."""
    return f"{PREFIX}{name.upper()} {reason} ({Settings.model_fields[name].description})"
