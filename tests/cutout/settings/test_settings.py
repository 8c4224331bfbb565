from pathlib import Path

import pytest

from cutout.settings import Settings, SettingsError, example, load_settings

GIVEN = {
    "database_url": "postgresql://cutout:pw@db:5432/cutout",
    "redis_url": "redis://:pw@redis:6379/0",
    "endpoint_api_keys": "key-1",
}


PAIR = {"s3_access_key": "a", "s3_secret_key": "s3cret"}


def load(**changed: str) -> Settings:
    return load_settings(_env_file=None, **(GIVEN | changed))


class TestSettings:
    def test_need_only_the_database_and_redis(self) -> None:
        """All other settings have defaults."""
        settings = load()
        assert settings.result_hosts == ("*.ailabtools.com",)
        assert settings.endpoint_url == "https://www.ailabapi.com"
        assert settings.database_url.get_secret_value().startswith("postgresql+psycopg://cutout:pw@db")

    def test_are_read_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A variable CUTOUT_X sets x, and a list is split at its commas."""
        for name, value in GIVEN.items():
            monkeypatch.setenv(f"CUTOUT_{name.upper()}", value)
        monkeypatch.setenv("CUTOUT_RESULT_HOSTS", "a.example, *.b.example")
        assert load_settings(_env_file=None).result_hosts == ("a.example", "*.b.example")

    def test_treat_an_empty_variable_as_unset(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """CUTOUT_X= means the default, as compose files write it."""
        monkeypatch.setenv("CUTOUT_CALLS_IN_FLIGHT", "")
        assert load().calls_in_flight is None

    def test_do_not_show_secrets(self) -> None:
        """Neither the text nor the repr of the settings holds a password or key."""
        shown = str(load(**PAIR)) + repr(load(**PAIR))
        assert not [secret for secret in ("pw@", "key-1", "s3cret") if secret in shown]


class TestAMissingOrWrongSetting:
    def test_is_named_with_what_it_is_for(self) -> None:
        """A missing variable is one line with its name and an example."""
        with pytest.raises(SettingsError) as error:
            load_settings(_env_file=None, redis_url="redis://x")
        (line,) = str(error.value).splitlines()
        assert line.startswith("CUTOUT_DATABASE_URL is missing")
        assert "postgresql://" in line

    def test_is_one_line_for_each(self) -> None:
        """Two wrong settings give two lines."""
        with pytest.raises(SettingsError) as error:
            load(calls_in_flight="many", calls_per_second="0")
        assert len(str(error.value).splitlines()) == 2

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("calls_per_second", "0", "greater than 0"),
            ("calls_per_second", "-1", "greater than 0"),
            ("calls_per_second", "nan", "finite"),
            ("calls_per_second", "fast", "valid number"),
            ("calls_in_flight", "0", "greater than 0"),
            ("calls_in_flight", "-3", "greater than 0"),
            ("calls_in_flight", "automatic", "valid integer"),
            ("endpoint_api_keys", "a,b,a", "a key twice"),
            ("verdicts", "fast", "is not JSON"),
            ("verdicts", '{"X": {"verdict": "wait"}}', "X: verdict: input should be 'retry', 'slow'"),
            ("verdicts", '{"X": {"tries": 0}}', "X: tries: input should be greater"),
            ("verdicts", '{"X": {"retries": 1}}', "X: retries: extra inputs"),
            ("verdicts", '["X"]', "valid dictionary"),
            ("credit_reserve", "-1", "greater than or equal to 0"),
            ("day_budget", "0", "greater than 0"),
            ("endpoint_api_keys", "a,,b", "empty entry"),
            ("result_hosts", "a.example,", "empty entry"),
            ("result_hosts", "https://a.example/x", "host:port"),
            ("source_private_hosts", "a b", "host:port"),
            ("database_url", "mysql://x/y", "'mysql'"),
            ("database_url", "not a url", "not a database URL"),
            ("database_url", "postgresql://user:secretword", "not a database URL"),
            ("database_url", "postgresql://u:p@ss@host/db", "%40"),
            ("redis_url", "http://x", "redis://"),
            ("redis_url", "redis://:pw@h:nope/0", "redis://"),
            ("s3_endpoint_url", "http://bad host", "not an address"),
            ("s3_secret_key", "only-one-of-the-two", "both or neither"),
            ("endpoint_url", "www.ailabapi.com", "https://"),
            ("key_template", "cutouts/{nobody}.png", "{external_id}"),
            ("key_template", "cutouts/all.{ext}", "two jobs one key"),
            ("key_template", "cutouts/{external_id}.{ext}", "{batch} together with {external_id}"),
            ("key_template", "{producer}/{external_id}.{ext}", "{batch} together with {external_id}"),
            ("key_template", "cutouts/{batch}.{ext}", "two jobs one key"),
            ("key_template", "cutouts/{{job}}.{ext}", "two jobs one key"),
            ("key_template", "cutouts/{job:.4}", "cannot be filled in"),
            ("key_template", "cutouts/{batch}/{external_id:.1}", "cannot be filled in"),
            ("key_template", "cutouts/{job!r}", "cannot be filled in"),
            ("key_template", "cutouts/{job.int}", "cannot be filled in"),
            ("key_template", "cutouts/{job", "cannot be filled in"),
            ("key_template", "cutouts/{}", "cannot be filled in"),
            ("key_template", "results/{batch}/{external_id}", "its own folder"),
            ("key_template", "sources/{job}", "its own folder"),
            ("key_template", "{external_id}/{batch}", "its own folder"),
            ("reuse", "some", "producer, all or off"),
            ("key_template", "../{job}", ".."),
            ("key_template", "{external_id!q}", "cannot be filled in"),
            ("s3_bucket", "x", "at least 3"),
            ("api_hosts", "cutout.example:8000", "without a port"),
            ("api_hosts", "https://cutout.example", "without a port"),
            ("api_trusted_proxies", "proxy", "10.0.0.0/24"),
            ("api_trusted_proxies", "10.0.0.1/24", "has host bits set"),
            ("api_uploads", "3", "greater than or equal to 4"),
        ],
    )
    def test_says_what_is_wrong(self, name: str, value: str, said: str) -> None:
        """The line names the variable and the remedy."""
        with pytest.raises(SettingsError) as error:
            load(**{name: value})
        assert f"CUTOUT_{name.upper()}" in str(error.value)
        assert said in str(error.value)

    def test_does_not_print_the_value_of_a_secret(self) -> None:
        """A wrong database URL may contain a password, which is left out of the line."""
        with pytest.raises(SettingsError) as error:
            load(database_url="mysql://root:hunter2@db/x")
        assert "hunter2" not in str(error.value)
        with pytest.raises(SettingsError) as error:
            load(database_url="postgresql://root:hunter2")
        assert "hunter2" not in str(error.value)
        with pytest.raises(SettingsError) as error:
            load(s3_access_key="a", database_url="postgresql://root:hun@ter2@db/x")
        assert "ter2" not in str(error.value)

    def test_goes_with_its_other_half(self) -> None:
        """An access key without its secret is reported at the start."""
        with pytest.raises(SettingsError, match="CUTOUT_S3_SECRET_KEY and CUTOUT_S3_ACCESS_KEY go together"):
            load(s3_access_key="a")

    def test_of_the_endpoints_key_is_reported_where_it_is_needed(self) -> None:
        """A process that calls the endpoint reports the missing key."""
        settings = load_settings(
            _env_file=None, database_url=GIVEN["database_url"], redis_url=GIVEN["redis_url"]
        )
        with pytest.raises(SettingsError, match="CUTOUT_ENDPOINT_API_KEYS is missing"):
            settings.require_endpoint_api_keys()


def test_the_example_file_documents_every_setting() -> None:
    """.env.example is generated from the settings."""
    assert (Path(__file__).parents[3] / ".env.example").read_text() == example()


@pytest.mark.parametrize(
    ("value", "meant"),
    [("all", "all"), (" Producer ", "producer"), ("true", "producer"), ("False", "off"), ("off", "off")],
)
def test_reuse_knows_the_words_of_before(value: str, meant: str) -> None:
    """Older values true and false mean producer and off: no reuse across producers."""
    assert load(reuse=value).reuse == meant


@pytest.mark.parametrize(
    "template", ["cutouts/{job}", "c/{producer}/{batch}/{external_id}.{ext}", "{return_form}/{job}.{ext}"]
)
def test_a_template_with_a_key_for_each_job_is_taken(template: str) -> None:
    assert load(key_template=template).key_template == template
