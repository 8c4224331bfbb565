-- Accounts of the endpoint, learned limits, balances, spent credits, attempts and the cutouts that were bought.

CREATE TABLE accounts (
    name text NOT NULL,
    paused_at timestamptz,
    pause_code text,
    pause_message text,
    probe_at timestamptz,
    credits double precision,
    credits_at timestamptz,
    doubted_job uuid,
    doubted_code text,
    doubted_at timestamptz,
    CONSTRAINT pk_accounts PRIMARY KEY (name),
    CONSTRAINT ck_accounts_a_pause_has_a_reason_and_a_probe
        CHECK (((paused_at IS NULL) = (pause_code IS NULL)) AND ((paused_at IS NULL) = (probe_at IS NULL)))
);

CREATE TABLE limits (
    account text NOT NULL,
    level double precision NOT NULL,
    top double precision,
    open_calls integer NOT NULL,
    waiting integer NOT NULL,
    calls_per_second double precision NOT NULL,
    latency_seconds double precision NOT NULL,
    slow_at timestamptz,
    rests_until timestamptz,
    circuit_until timestamptz,
    seen_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_limits PRIMARY KEY (account),
    CONSTRAINT fk_limits_account FOREIGN KEY (account) REFERENCES accounts(name)
);

CREATE TABLE credit_readings (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    account text NOT NULL,
    read_at timestamptz NOT NULL DEFAULT now(),
    balance double precision NOT NULL,
    CONSTRAINT pk_credit_readings PRIMARY KEY (id),
    CONSTRAINT fk_credit_readings_account FOREIGN KEY (account) REFERENCES accounts(name)
);
CREATE INDEX ix_credit_readings_account_read_at ON credit_readings (account, read_at);

CREATE TABLE spending (
    day date NOT NULL,
    spent integer NOT NULL DEFAULT 0,
    CONSTRAINT pk_spending PRIMARY KEY (day),
    CONSTRAINT ck_spending_spent_is_not_negative
        CHECK (spent >= 0)
);

CREATE TABLE attempts (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    job_id uuid NOT NULL,
    number smallint NOT NULL,
    fence integer NOT NULL,
    worker_id uuid NOT NULL,
    account text NOT NULL,
    image_sha256 bytea NOT NULL,
    outcome text NOT NULL DEFAULT 'unknown',
    begun_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    http_status smallint,
    code text,
    message text,
    request_id text,
    log_id text,
    unknown_at timestamptz,
    lost_at timestamptz,
    raw_answer text,
    in_outage boolean NOT NULL DEFAULT false,
    source_sha256 bytea,
    endpoint text,
    preparation smallint,
    scope text,
    CONSTRAINT pk_attempts PRIMARY KEY (id),
    CONSTRAINT uq_attempts_job_id_number UNIQUE (job_id, number),
    CONSTRAINT fk_attempts_account FOREIGN KEY (account) REFERENCES accounts(name),
    CONSTRAINT fk_attempts_job_id FOREIGN KEY (job_id) REFERENCES jobs(id),
    CONSTRAINT ck_attempts_a_known_outcome_has_an_end
        CHECK (outcome = 'unknown' OR ended_at IS NOT NULL),
    CONSTRAINT ck_attempts_only_what_was_paid_can_be_lost
        CHECK (lost_at IS NULL OR outcome = 'charged'),
    CONSTRAINT ck_attempts_outcome_is_known
        CHECK (outcome IN ('charged', 'not_charged', 'unknown'))
);
CREATE INDEX ix_attempts_begun_at ON attempts (begun_at);
CREATE INDEX ix_attempts_in_doubt ON attempts (source_sha256)
    WHERE (unknown_at IS NOT NULL) OR (lost_at IS NOT NULL);
CREATE INDEX ix_attempts_open ON attempts (begun_at)
    WHERE ended_at IS NULL;

CREATE TABLE bought_results (
    source_sha256 bytea NOT NULL,
    return_form text NOT NULL,
    endpoint text NOT NULL,
    preparation smallint NOT NULL,
    bucket text NOT NULL,
    scope text NOT NULL,
    buyer uuid NOT NULL,
    image_sha256 bytea,
    key text,
    sha256 bytea,
    media_type text,
    size_bytes integer,
    width integer,
    height integer,
    warning text,
    stored_at timestamptz,
    missing_since timestamptz,
    missing_seen_at timestamptz,
    CONSTRAINT pk_bought_results PRIMARY KEY (source_sha256, return_form, endpoint, preparation, bucket, scope),
    CONSTRAINT ck_bought_results_return_form_is_known
        CHECK (return_form IN ('rgba', 'mask', 'whiteBK', 'crop')),
    CONSTRAINT ck_bought_results_stored_under_a_key
        CHECK (((stored_at IS NULL) = (key IS NULL)) AND ((key IS NULL) = (sha256 IS NULL)))
);
CREATE INDEX ix_bought_results_missing ON bought_results (missing_seen_at)
    WHERE missing_seen_at IS NOT NULL;
